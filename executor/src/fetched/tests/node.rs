//! Files that this node fetches before a start, from real servers.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::servers::{endless, server, tls_server};
use super::*;

/// What is put into the plan, or why there is no start.
async fn fetched(port: u16, more: &Value) -> Result<Vec<u8>, StartError> {
    let mut http = json!({"hostname": "localhost", "port": port, "connectionTimeout": "20s",
        "operationTimeout": "20s"});
    http.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan(0);
    let mut spec = LocalServiceSpec::clone(&plan.spec);
    spec.configs = serde_json::from_value(json!([
        {"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/etc/fetched", "http": http}
    ]))
    .unwrap();
    plan.spec = Arc::new(spec);
    let filled = Fetched::new(World::system(), dir.path(), Script::of([])).put_into(plan).await?;
    Ok(content_of(&filled.spec.configs[0].source))
}

async fn placed(port: u16, more: Value) -> Vec<u8> {
    fetched(port, &more).await.unwrap()
}

async fn refusal(port: u16, more: Value) -> String {
    match fetched(port, &more).await.unwrap_err() {
        StartError::Failed { step: "place config", why } => checked(why),
        other => panic!("{other}"),
    }
}

/// Why there was no answer, which is charged to nobody.
async fn silence(port: u16, more: Value) -> String {
    match fetched(port, &more).await.unwrap_err() {
        StartError::RunnerUnavailable(why) => checked(why),
        other @ StartError::Failed { .. } => panic!("{other}"),
    }
}

fn checked(why: String) -> String {
    assert!(why.starts_with("/etc/fetched: cannot fetch http"), "{why}");
    assert!(!why.contains("hush"), "{why}");
    why
}

#[tokio::test]
async fn a_file_is_fetched_with_what_the_spec_says() {
    let (port, mut asked) = server("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhere\n").await;
    let content = placed(
        port,
        json!({"path": "/files/a?token=hush", "verb": "POST", "payload": "{}", "successCodes": [200, 201],
            "username": "me", "password": "hush", "headers": {"X-Team": "platform"}}),
    )
    .await;
    assert_eq!(content, b"here\n");
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("POST /files/a?token=hush HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
    let request = request.to_lowercase();
    for line in ["authorization: basic bwu6ahvzaa==", "x-team: platform", &format!("host: localhost:{port}")]
    {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {request}");
    }
}

#[tokio::test]
async fn a_file_may_come_over_tls() {
    let (port, _asked) = tls_server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").await;
    assert_eq!(placed(port, json!({"protocol": "HTTPS", "insecure": true})).await, b"here");
    let why = silence(port, json!({"protocol": "HTTPS", "password": "hush"})).await;
    assert!(why.contains("TLS") && why.contains(&format!("https://localhost:{port}/:")), "{why}");
}

#[tokio::test]
async fn another_status_is_no_file() {
    let (port, _asked) = server("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nhush").await;
    let why = refusal(port, json!({"path": "/a?token=hush", "authHeader": "Bearer hush"})).await;
    assert!(why.contains("status 404 Not Found") && why.contains("[200]"), "{why}");
    assert!(why.contains(&format!("http://localhost:{port}/a:")), "{why}");

    let (port, _asked) =
        server("HTTP/1.1 302 Found\r\nLocation: http://localhost/hush\r\nContent-Length: 0\r\n\r\n").await;
    let why = refusal(port, json!({})).await;
    assert!(why.contains("status 302") && why.contains("redirects are not followed"), "{why}");
}

#[tokio::test]
async fn only_a_whole_answer_of_bearable_size_is_a_file() {
    let limit = 8 << 20;
    let why = refusal(endless().await, json!({})).await;
    assert!(why.contains(&format!("larger than {limit} bytes")), "{why}");
    // One that says so is not read at all.
    let (port, _asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\nbegin").await;
    let why = refusal(port, json!({})).await;
    assert!(why.contains(&format!("larger than {limit} bytes")), "{why}");

    let (port, _asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhush").await;
    let why = silence(port, json!({})).await;
    assert!(why.contains("the answer broke off") || why.contains("the call failed"), "{why}");
}

#[tokio::test]
async fn a_server_that_hangs_or_is_away_holds_nobody_up() {
    // Takes the connection, says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let why = silence(port, json!({"operationTimeout": "200ms"})).await;
    assert!(why.contains("no whole answer within 200ms"), "{why}");
    let why = silence(port, json!({"connectionTimeout": "200ms", "protocol": "HTTPS"})).await;
    assert!(why.contains("no connection within 200ms"), "{why}");
    drop(listener);
    let why = silence(port, json!({})).await;
    assert!(why.contains("refused"), "{why}");
}

/// Only the paused clock ends the wait: whatever the call allows, the start ends with the reason.
#[tokio::test(start_paused = true)]
async fn a_call_that_may_take_an_hour_takes_no_longer_than_a_start_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let begun = Instant::now();
    let why = silence(port, json!({"connectionTimeout": "1h", "operationTimeout": "1h"})).await;
    assert!(why.contains("no whole answer within the 75s that a start has for its files"), "{why}");
    assert!(begun.elapsed() < crate::limits::START);
}
