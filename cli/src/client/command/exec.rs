//! `muster exec`: a command beside a workload, as if it ran here.

use std::cell::Cell;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::{SinkExt as _, StreamExt as _};
use muster_common::command_end::{CommandEnd, SIGNALLED};
use muster_common::duration::DroveDuration;
use muster_common::exec::{ExecAnswer, ExecRequest};
use muster_common::exec_channel::{CommandFrame, FrameError, SUBPROTOCOL, TerminalSize, UserFrame};
use muster_common::exit::Exit;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::signal::Signal as CommandSignal;
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Caller;
use crate::client::http::{Client, segment, understand};
use crate::client::patience::interrupted;
use crate::client::resolve::{self, ServiceOrInstance};
use crate::client::screen;
use crate::client::terminal::{self, Raw};
use crate::error::CliError;

/// How long it may take until the command is on its way.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Who says nothing for so long, not even that he is there, is gone: he says that three times as often.
const SILENCE: Duration = Duration::from_secs(60);
/// Who is told twice within so long to end, and hears nothing of the cluster in between, means this program.
const INSISTENCE: Duration = Duration::from_secs(5);
/// How much input is read at a time.
const INPUT_BYTES: usize = 16 * 1024;
/// How many pieces of input wait to be sent.
const INPUT_QUEUE: usize = 16;
/// The most input that goes along with a command that has a time limit.
const MAX_ONE_SHOT_INPUT: u64 = 1024 * 1024;
/// How long controllers wait for a user who reads nothing of what they send.
const READ_WITHIN: Duration = Duration::from_secs(30);
const READING: &str = "Output has to be read: what nobody reads for 30 s, as behind a pager that waits, ends the command. \
                       Write it to a file first, or use --timeout for up to 1 MiB of it.";

#[derive(Debug, Args)]
#[command(after_help = READING)]
pub(crate) struct ExecArgs {
    /// Pass on standard input.
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal of its own, of this one's size.
    #[arg(short, long)]
    tty: bool,
    /// A variable for its environment; may be given several times.
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<String>,
    /// Where it is to run.
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// End it after so long, such as 30s, with exit code 124. Its output is shown when it is over, 1 MiB at most.
    #[arg(long, value_name = "DURATION", conflicts_with = "tty")]
    timeout: Option<DroveDuration>,
    /// An instance, or a service: then any healthy instance of it.
    name: String,
    /// What to run, with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn exec(caller: &Caller, args: &ExecArgs) -> Result<ExitCode, CliError> {
    let instance = chosen(&caller.client, &args.name).await?;
    if let Some(limit) = args.timeout {
        return one_shot(&caller.client, &instance, args, limit).await;
    }
    if args.tty && !std::io::stdin().is_terminal() {
        let message = "-t needs a terminal, and standard input is none; leave it out";
        return Err(CliError::new(Exit::Usage, message));
    }
    // Before the terminal's size is told: whatever it becomes later is told then. All other signals are ours until then.
    let resized = signal(SignalKind::window_change()).map_err(|error| unusable(&error))?;
    let mut socket = connect(&caller.client, &instance, args).await?;
    let heard = Cell::new(Instant::now());
    let end = tokio::select! {
        end = converse(&mut socket, resized, args, &heard) => end?,
        end = unanswered(&heard) => end.map_err(|error| unusable(&error))?,
    };
    Ok(ended(&end))
}

/// The instance of this name, or a healthy one of the service of this name.
async fn chosen(client: &Client, name: &str) -> Result<InstanceInfo, CliError> {
    let service = match resolve::service_or_instance(client, name).await? {
        ServiceOrInstance::Service(service) => service,
        ServiceOrInstance::Destroyed(id) => return Err(resolve::gone(&id)),
        ServiceOrInstance::Instance(instance) => return Ok(*instance),
    };
    let instances = resolve::instances(client, &service.id, false).await?;
    instances.into_iter().find(|instance| instance.state == InstanceState::Healthy).ok_or_else(|| {
        CliError::new(
            Exit::Conflict,
            format!(
                "no instance of {0} is healthy; name one of 'muster get instances {0}' to try all the same",
                service.id
            ),
        )
    })
}

fn path(instance: &InstanceInfo) -> String {
    format!(
        "localservices/{}/instances/{}/exec",
        segment(&instance.service_id),
        segment(&instance.instance_id)
    )
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("is not of the form NAME=VALUE".to_owned()),
    }
}

async fn one_shot(
    client: &Client,
    instance: &InstanceInfo,
    args: &ExecArgs,
    limit: DroveDuration,
) -> Result<ExitCode, CliError> {
    let variables = args.env.iter().filter_map(|variable| variable.split_once('='));
    let request = ExecRequest {
        command: args.command.clone(),
        stdin: if args.interactive { whole_input()? } else { String::new() },
        env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        workdir: args.workdir.clone().unwrap_or_default(),
        timeout: Some(limit),
    };
    let outcome: ExecAnswer = client.post_within(&path(instance), &request, limit.as_duration()).await?;
    screen::write(&outcome.stdout)?;
    eprint!("{}", outcome.stderr);
    if outcome.truncated {
        eprintln!("muster: there was more output than is shown");
    }
    let end = outcome.end();
    if end == CommandEnd::TimedOut {
        eprintln!("muster: the command was ended after {limit}");
        return Ok(ExitCode::from(end.shell_code()));
    }
    Ok(ended(&end))
}

/// The command's own exit code; why it has none is said.
fn ended(end: &CommandEnd) -> ExitCode {
    if let Some(error) = end.error() {
        eprintln!("muster: {error}");
    }
    ExitCode::from(end.shell_code())
}

fn whole_input() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_ONE_SHOT_INPUT + 1).read_to_string(&mut text);
    read.map_err(|error| CliError::new(Exit::Usage, format!("cannot read standard input: {error}")))?;
    if text.len() as u64 > MAX_ONE_SHOT_INPUT {
        let message = format!("standard input has more than {MAX_ONE_SHOT_INPUT} bytes; leave out --timeout");
        return Err(CliError::new(Exit::Usage, message));
    }
    Ok(text)
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is asked for; a command at a terminal is told which one, unless the caller says another.
fn query(args: &ExecArgs, own_terminal: Option<&str>) -> String {
    let mut parts: Vec<String> =
        args.command.iter().map(|word| format!("command={}", segment(word))).collect();
    parts.push(format!("tty={}", args.tty));
    if let Some((rows, columns)) = terminal::size().filter(|_| args.tty) {
        parts.push(format!("rows={rows}&columns={columns}"));
    }
    parts.push(format!("stdin={}", args.interactive));
    let names_terminal = args.env.iter().any(|variable| variable.starts_with("TERM="));
    let terminal = own_terminal.filter(|_| args.tty && !names_terminal).map(|name| format!("TERM={name}"));
    parts.extend(args.env.iter().chain(&terminal).map(|variable| format!("env={}", segment(variable))));
    parts.extend(args.workdir.iter().map(|dir| format!("workdir={}", segment(dir))));
    parts.join("&")
}

async fn connect(client: &Client, instance: &InstanceInfo, args: &ExecArgs) -> Result<Socket, CliError> {
    let path = path(instance);
    let own_terminal = std::env::var("TERM").ok().filter(|name| !name.is_empty());
    let query = query(args, own_terminal.as_deref());
    let url = format!("{}?{query}", client.url(&path).replacen("http://", "ws://", 1));
    let wrong =
        |error: &dyn std::fmt::Display| CliError::failure(format!("cannot ask for a command: {error}"));
    let mut request = url.into_client_request().map_err(|error| wrong(&error))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = client.token() {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    match timeout(CONNECT_TIMEOUT, connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WebSocketError::Http(answer))) => {
            let body = answer.body().clone().unwrap_or_default();
            let refused = understand::<serde_json::Value>(&path, answer.status(), &body).err();
            Err(refused.unwrap_or_else(|| wrong(&"the cluster does not speak WebSocket for it")))
        }
        Ok(Err(error)) => Err(CliError::failure(format!(
            "cannot run a command at {} through {}: {error}",
            instance.instance_id,
            client.server()
        ))),
        Err(_) => Err(CliError::new(
            Exit::Timeout,
            format!("{} did not answer within {} s", instance.executor_id, CONNECT_TIMEOUT.as_secs()),
        )),
    }
}

/// Signals that are for the command when it has no terminal, which would make them of keys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    resized: Signal,
}

impl Signals {
    fn listen(resized: Signal) -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            resized,
        })
    }

    /// What is to be said because of the next one.
    async fn next(&mut self, has_terminal: bool) -> Option<UserFrame<'static>> {
        tokio::select! {
            _ = self.interrupt.recv() => Some(UserFrame::Signal(CommandSignal::INTERRUPT)),
            _ = self.terminate.recv() => Some(UserFrame::Signal(CommandSignal::TERMINATE)),
            _ = self.hang_up.recv() => Some(UserFrame::Signal(CommandSignal::HANG_UP)),
            _ = self.quit.recv() => Some(UserFrame::Signal(CommandSignal::QUIT)),
            _ = self.resized.recv() => if has_terminal { resized() } else { None },
        }
    }
}

fn resized() -> Option<UserFrame<'static>> {
    terminal::size().map(|(rows, columns)| UserFrame::Resize(TerminalSize { rows, columns }))
}

/// Passes on what is typed and what is answered, until the command is over.
async fn converse(
    socket: &mut Socket,
    resized: Signal,
    args: &ExecArgs,
    heard_at: &Cell<Instant>,
) -> Result<CommandEnd, CliError> {
    let mut signals = Signals::listen(resized).map_err(|error| unusable(&error))?;
    // Restored when this ends, whichever way. Where nobody reads the keys they make signals, as they do without a terminal
    // of the command's own: nothing else could end it.
    let _raw = if args.tty && args.interactive {
        Some(Raw::begin().map_err(|error| unusable(&error))?)
    } else {
        None
    };
    let mut input = if args.interactive { Some(stdin()) } else { None };
    let mut longest_write = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            said = signals.next(args.tty) => if let Some(said) = said
                && let Err(error) = say(socket, &said).await
            {
                return Ok(broken(&error, longest_write));
            },
            message = socket.next() => {
                heard_at.set(Instant::now());
                let begun = Instant::now();
                if let Some(end) = heard(message, longest_write)? {
                    return Ok(end);
                }
                longest_write = longest_write.max(begun.elapsed());
            }
            bytes = next_of(&mut input) => {
                // Nothing is the end of the input.
                let bytes = bytes.unwrap_or_else(|| { input = None; Vec::new() });
                if let Err(error) = say(socket, &UserFrame::Input(&bytes)).await {
                    return Ok(broken(&error, longest_write));
                }
            }
        }
    }
}

/// How it ends when nothing is heard any more of who runs the command.
async fn unanswered(heard_at: &Cell<Instant>) -> std::io::Result<CommandEnd> {
    tokio::select! {
        () = silence(heard_at) => Ok(broken(&format!("nothing was heard for {SILENCE:?}"), Duration::ZERO)),
        number = insisted(heard_at) => {
            let why = "ended without an answer of the command, which is ended as soon as its cluster finds out";
            Ok(CommandEnd::Failed { code: SIGNALLED + number?, why: why.to_owned() })
        }
    }
}

/// Lasts until nothing was heard for too long.
async fn silence(heard_at: &Cell<Instant>) {
    while heard_at.get().elapsed() < SILENCE {
        sleep_until(heard_at.get() + SILENCE).await;
    }
}

/// Lasts until this program was told twice to end, and heard nothing in between; the number of the last signal.
async fn insisted(heard_at: &Cell<Instant>) -> std::io::Result<u8> {
    let mut told: Option<Instant> = None;
    loop {
        let number = interrupted().await?;
        let insists = |first: Instant| heard_at.get() <= first && first.elapsed() <= INSISTENCE;
        if told.is_some_and(insists) {
            return Ok(number);
        }
        told = Some(Instant::now());
    }
}

/// The next piece of the input; for ever nothing where there is none.
async fn next_of(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn say(socket: &mut Socket, said: &UserFrame<'_>) -> Result<(), WebSocketError> {
    socket.send(Message::binary(said.encode())).await
}

/// Shows what was said, and tells when it was the last word.
fn heard(
    message: Option<Result<Message, WebSocketError>>,
    longest_write: Duration,
) -> Result<Option<CommandEnd>, CliError> {
    match message {
        Some(Ok(Message::Binary(bytes))) => match CommandFrame::decode(&bytes) {
            Ok(CommandFrame::Stdout(bytes)) => screen::write_bytes(bytes).map(|()| None),
            Ok(CommandFrame::Stderr(bytes)) => {
                let mut stderr = std::io::stderr().lock();
                // Who does not read errors misses them.
                let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
                Ok(None)
            }
            Ok(CommandFrame::End(end)) => Ok(Some(end)),
            // What only a later version says.
            Err(FrameError::NoChannel | FrameError::UnknownChannel { .. }) => Ok(None),
            Err(error @ (FrameError::Malformed { .. } | FrameError::UnknownSignal(_))) => {
                Ok(Some(CommandEnd::unseen(format!("its end cannot be understood: {error}"))))
            }
        },
        Some(Ok(Message::Close(_))) | None => {
            Ok(Some(broken(&"the cluster ended it without a last word", longest_write)))
        }
        Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Err(error)) => Ok(Some(broken(&error, longest_write))),
    }
}

fn broken(why: &dyn std::fmt::Display, longest_write: Duration) -> CommandEnd {
    let unread = if longest_write < READ_WITHIN {
        String::new()
    } else {
        let (waited, limit) = (longest_write.as_secs(), READ_WITHIN.as_secs());
        format!(
            "; its output was not read here for {waited} s, and {limit} s are the most that is waited for"
        )
    };
    CommandEnd::unseen(format!(
        "the connection to the command broke, and the command is ended: {why}{unread}"
    ))
}

fn unusable(error: &std::io::Error) -> CliError {
    CliError::failure(format!("cannot use this terminal: {error}"))
}

/// Standard input, piece by piece. Read in a thread of its own, which ends with the program: nothing else ends a read of a
/// terminal.
fn stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; INPUT_BYTES];
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use muster_common::command_end::NOT_SEEN;

    use super::*;

    #[test]
    fn who_did_not_read_is_told_that_this_is_why_his_command_was_ended() {
        let why = |longest_write| broken(&"it was reset", longest_write).error().unwrap().to_owned();
        let said = "the connection to the command broke, and the command is ended: it was reset";
        assert_eq!(why(Duration::from_secs(2)), said);
        let unread = "; its output was not read here for 40 s, and 30 s are the most that is waited for";
        assert_eq!(why(Duration::from_secs(40)), format!("{said}{unread}"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_for_a_minute_is_gone_and_whatever_is_heard_puts_that_off() {
        let heard_at = Cell::new(Instant::now());
        let begun = Instant::now();
        {
            let mut end = std::pin::pin!(unanswered(&heard_at));
            for _ in 0..5 {
                assert!(timeout(Duration::from_secs(59), &mut end).await.is_err(), "a ping came in time");
                heard_at.set(Instant::now());
            }
            let end = end.await.unwrap();
            assert_eq!(end.shell_code(), NOT_SEEN);
            assert!(end.error().unwrap().contains("60s"));
        }
        assert_eq!(begun.elapsed().as_secs(), 5 * 59 + 60);
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExecArgs,
    }

    fn read(line: &[&str]) -> Result<ExecArgs, clap::Error> {
        Line::try_parse_from([&["exec"], line].concat()).map(|line| line.args)
    }

    #[test]
    fn a_command_at_a_terminal_is_told_which_one_unless_another_is_said() {
        for (line, terminal) in [
            (&["-t", "web", "top"][..], Some("&env=TERM%3Dxterm&")),
            (&["-t", "-e", "TERM=vt100", "web", "top"], Some("&env=TERM%3Dvt100&")),
            (&["web", "top"], None),
        ] {
            let query = query(&read(line).unwrap(), Some("xterm")) + "&";
            assert_eq!(query.matches("env=").count(), usize::from(terminal.is_some()), "{line:?}: {query}");
            assert!(terminal.is_none_or(|terminal| query.contains(terminal)), "{line:?}: {query}");
        }
        assert!(!query(&read(&["-t", "web", "top"]).unwrap(), None).contains("env="));
    }

    #[test]
    fn a_variable_without_a_value_is_refused_before_anybody_is_asked() {
        for line in [&["-e", "FOO", "web", "env"][..], &["--timeout", "1s", "-e", "=x", "web", "env"]] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains("is not of the form NAME=VALUE"), "{error}");
        }
        assert_eq!(read(&["-e", "FOO=", "web", "env"]).unwrap().env, ["FOO="]);
    }
}
