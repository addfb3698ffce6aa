//! What the real program tells a scraper.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use muster_tests::agent::{Agent, STEADY, healthy, row, table};
use tokio::time::{Instant, sleep};

use super::PROGRAM;
use muster_tests::controller::{Controller, PATIENCE, Records};

fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer
}

fn value(scraped: &str, series: &str) -> f64 {
    let line = scraped.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {scraped}")).trim().parse().unwrap()
}

/// The first scrape that has a series: a task shows its own once it has begun, which may be after the port is open.
async fn scraped_with(port: u16, series: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scraped = scrape(port);
        if scraped.contains(series) {
            return scraped;
        }
        assert!(Instant::now() < deadline, "no {series} in {scraped}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_scrape_shows_what_the_executor_takes_and_what_waits() {
    let controller = Controller::start().await;
    let agent = Agent::new(PROGRAM, &controller);
    agent.until_it_listens().await;
    let scraped = scraped_with(agent.port, r#"{queue="runner_events"}"#).await;
    for (series, at_least) in [
        ("process_resident_memory_bytes", 1e6),
        ("process_virtual_memory_bytes", 1e6),
        ("process_cpu_seconds_total", 0.0),
        ("process_open_fds", 3.0),
        ("process_max_fds", 3.0),
        ("process_start_time_seconds", 1e9),
    ] {
        let value = value(&scraped, series);
        assert!(value >= at_least, "{series} {value}");
    }
    for queue in ["supervisor", "runner_events"] {
        let waiting = value(&scraped, &format!(r#"muster_executor_queue_depth{{queue="{queue}"}}"#));
        assert!((0.0..=1024.0).contains(&waiting), "{queue} {waiting}");
    }
    // The same process, whenever it is asked.
    let start = value(&scraped, "process_start_time_seconds");
    let again = value(&scrape(agent.port), "process_start_time_seconds");
    assert!((start - again).abs() < 1.0, "{start} {again}");
}

#[tokio::test]
async fn a_scrape_shows_where_the_time_of_a_start_went() {
    let controller = Controller::start().await;
    let agent = Agent::new(PROGRAM, &controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let scraped = scrape(agent.port);
    for step in ["prepare", "spawn"] {
        let series = format!(r#"muster_executor_start_seconds_count{{runner="PROCESS",step="{step}"}}"#);
        assert!(value(&scraped, &series) >= 1.0, "{series}");
    }
    controller.set_table(table(2, vec![]));
    let is_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("it is over", is_over).await;
}
