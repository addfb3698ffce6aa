//! The service that `muster dev` runs when it is given no spec: a small HTTP server that says who it
//! is, and can be asked to die.

use std::net::Ipv4Addr;
use std::process;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use muster_common::exit::Exit;
use muster_platform::shutdown::shutdown_signal;
use serde::Deserialize;
use serde_json::json;

use crate::error::CliError;

/// The spec of this service, running `program` (this very binary).
#[must_use]
pub fn spec(program: &str) -> serde_json::Value {
    let check = json!({
        "mode": {"type": "HTTP", "portName": "main", "path": "/health", "successCodes": [200]},
        "timeout": "5s", "interval": "1s", "attempts": 3
    });
    json!({
        "name": "example", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": [program, "example-server"]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
        "tags": {"purpose": "example"}
    })
}

/// How long the answer to `/crash` may take to leave before the process ends.
const LAST_WORDS: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Crash {
    #[serde(default = "Crash::default_code")]
    code: i32,
}

impl Crash {
    fn default_code() -> i32 {
        1
    }
}

/// Serves `GET /`, `/health` and `/crash?code=N` on `$PORT_main` until SIGTERM.
pub(crate) async fn serve() -> Result<(), CliError> {
    let port: u16 = std::env::var("PORT_main").ok().and_then(|port| port.parse().ok()).ok_or_else(|| {
        CliError::new(Exit::Usage, "PORT_main must hold the port to listen on; an executor sets it")
    })?;
    let instance = std::env::var("MUSTER_INSTANCE_ID").unwrap_or_else(|_| "nobody".to_owned());
    let executor = std::env::var("MUSTER_EXECUTOR_ID").unwrap_or_else(|_| "nowhere".to_owned());
    let greeting = format!("hello from {instance} on {executor}, pid {}\n", process::id());
    let router = Router::new()
        .route(
            "/",
            get(move || {
                println!("GET /");
                let greeting = greeting.clone();
                async move { greeting }
            }),
        )
        .route("/health", get(|| async { "ok\n" }))
        .route("/crash", get(crash));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| CliError::failure(format!("cannot listen on 127.0.0.1:{port}: {error}")))?;
    let shutdown = shutdown_signal().map_err(|error| CliError::failure(error.to_string()))?;
    println!("example server: listening on 127.0.0.1:{port}");
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|error| CliError::failure(error.to_string()))?;
    println!("example server: told to stop, bye");
    Ok(())
}

async fn crash(Query(crash): Query<Crash>) -> String {
    println!("example server: asked to crash with exit code {}", crash.code);
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WORDS).await;
        process::exit(crash.code)
    });
    format!("exiting with code {}\n", crash.code)
}
