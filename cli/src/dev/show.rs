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
    let service = services.first().map_or("SERVICE", String::as_str);
    let dir = dir.display();
    let end = if detached { format!("muster dev stop --dir {dir}") } else { "Ctrl-C".to_owned() };
    let servers: Vec<&str> = file.servers().collect();
    // All of them: a controller that is killed is one of the things to try.
    format!(
        "\nREST        {}\nDirectory   {dir}\n\nTry, from another terminal:\n  \
         export MUSTER_SERVER={}  # whichever runs is asked\n  \
         muster get instances\n  \
         muster describe {service}\n  \
         muster logs -f {service}\n  \
         muster restart {service}\n  \
         kill -9 PID of the service; muster get instances {service} --old\n  \
         muster dev kill controller-1 --dir {dir}; muster members; muster dev start controller-1 --dir {dir}\n\n\
         {end} stops everything.\n",
        servers.join("  "),
        servers.join(","),
    )
}
