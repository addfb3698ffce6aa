//! The program; all of it is in the library, so that tests can build the very same one.

fn main() -> std::process::ExitCode {
    muster_cli::main()
}
