//! The program under test: the very same code as `muster`, built where cargo tells tests its path.

fn main() -> std::process::ExitCode {
    muster_cli::main()
}
