//! A client of the REST API inside a simulation.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_platform::World;
use serde_json::Value;

/// How long one call may take, in simulated time.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// One call; the answer is its status and its JSON (null where there is none).
pub async fn call(
    world: &World,
    address: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(StatusCode, Value)> {
    tokio::time::timeout(CALL_TIMEOUT, exchange(world, address, method, path, body))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {address} to {path}")))?
}

async fn exchange(
    world: &World,
    address: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> io::Result<(StatusCode, Value)> {
    let stream = TokioIo::new(world.network.connect(address).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(bytes)))
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
