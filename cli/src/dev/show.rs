//! What `muster dev` writes. Pure, but for asking whether processes live.

use std::fmt::Write as _;
use std::path::Path;

use super::cluster_file::ClusterFile;

/// The roles and their processes, one a line.
pub(crate) fn roles(file: &ClusterFile) -> String {
    let mut text = format!("{:<14} {:<8} {:>8}  {}\n", "ROLE", "STATE", "PID", "ADDRESS");
    for role in &file.roles {
        let process = role.process();
        let state = if process.is_some() { "running" } else { "ended" };
        let pid = process.map_or_else(String::new, |process| process.pid.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<14} {state:<8} {pid:>8}  {}", role.id, role.rest);
    }
    text
}

/// What can be tried on a running cluster.
pub(crate) fn next_steps(file: &ClusterFile, dir: &Path, services: &[String], detached: bool) -> String {
    let server = file.servers().next().unwrap_or_default();
    let option =
        if server == "http://127.0.0.1:4000" { String::new() } else { format!(" --server {server}") };
    let service = services.first().map_or("SERVICE", String::as_str);
    let dir = dir.display();
    let end = if detached { format!("muster dev stop --dir {dir}") } else { "Ctrl-C".to_owned() };
    let rest: Vec<&str> = file.servers().collect();
    format!(
        "\nREST        {}\nDirectory   {dir}\n\nTry, from another terminal:\n  \
         muster get instances{option}\n  \
         muster describe {service}{option}\n  \
         muster logs -f {service}{option}\n  \
         muster restart {service}{option}\n  \
         kill -9 PID of the service; muster get instances {service} --old{option}\n  \
         muster dev kill controller-1 --dir {dir}; muster dev start controller-1 --dir {dir}\n\n\
         {end} stops everything.\n",
        rest.join("  ")
    )
}
