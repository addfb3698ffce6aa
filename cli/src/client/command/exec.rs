//! `muster exec`: a command beside a workload, as if it ran here.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::{SinkExt as _, StreamExt as _};
use muster_common::command_end::CommandEnd;
use muster_common::duration::DroveDuration;
use muster_common::exec::{ExecAnswer, ExecRequest};
use muster_common::exec_channel::{CommandFrame, FrameError, SUBPROTOCOL, TerminalSize, UserFrame};
use muster_common::exit::Exit;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::signal::Signal as CommandSignal;
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Caller;
use crate::client::http::{Client, segment, understand};
use crate::client::terminal::{self, Raw};
use crate::client::{resolve, screen};
use crate::error::CliError;

/// How long it may take until the command is on its way.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much input is read at a time.
const INPUT_BYTES: usize = 16 * 1024;
/// How many pieces of input wait to be sent.
const INPUT_QUEUE: usize = 16;
/// The most input that goes along with a command that has a time limit.
const MAX_ONE_SHOT_INPUT: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Pass on standard input.
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal of its own, of this one's size.
    #[arg(short, long)]
    tty: bool,
    /// A variable for its environment; may be given several times.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
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
    let end = converse(&mut socket, resized, args).await?;
    if let Some(error) = end.error() {
        eprintln!("muster: {error}");
    }
    Ok(ExitCode::from(end.shell_code()))
}

/// The instance of this name, or a healthy one of the service of this name.
async fn chosen(client: &Client, name: &str) -> Result<InstanceInfo, CliError> {
    let service = match resolve::service(client, name).await {
        Ok(service) => service,
        Err(missing) if missing.exit == Exit::NotFound => {
            return match resolve::instance(client, name).await {
                Err(error) if error.exit == Exit::NotFound => Err(missing),
                found => found,
            };
        }
        Err(error) => return Err(error),
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

async fn one_shot(
    client: &Client,
    instance: &InstanceInfo,
    args: &ExecArgs,
    limit: DroveDuration,
) -> Result<ExitCode, CliError> {
    let bad = |variable: &String| {
        CliError::new(Exit::Usage, format!("--env {variable} is not of the form NAME=VALUE"))
    };
    let variables = args.env.iter().map(|variable| {
        let (name, value) = variable.split_once('=').ok_or_else(|| bad(variable))?;
        Ok::<_, CliError>((name.to_owned(), value.to_owned()))
    });
    let request = ExecRequest {
        command: args.command.clone(),
        stdin: if args.interactive { whole_input()? } else { String::new() },
        env: variables.collect::<Result<_, _>>()?,
        workdir: args.workdir.clone().unwrap_or_default(),
        timeout: Some(limit),
    };
    let outcome: ExecAnswer = client.post_within(&path(instance), &request, limit.as_duration()).await?;
    screen::write(&outcome.stdout)?;
    eprint!("{}", outcome.stderr);
    if outcome.truncated {
        eprintln!("muster: there was more output than is shown");
    }
    if outcome.timed_out {
        eprintln!("muster: the command was ended after {limit}");
    }
    Ok(ExitCode::from(outcome.end().shell_code()))
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

fn query(args: &ExecArgs) -> String {
    let mut parts: Vec<String> =
        args.command.iter().map(|word| format!("command={}", segment(word))).collect();
    parts.push(format!("tty={}", args.tty));
    if let Some((rows, columns)) = terminal::size().filter(|_| args.tty) {
        parts.push(format!("rows={rows}&columns={columns}"));
    }
    parts.push(format!("stdin={}", args.interactive));
    parts.extend(args.env.iter().map(|variable| format!("env={}", segment(variable))));
    parts.extend(args.workdir.iter().map(|dir| format!("workdir={}", segment(dir))));
    parts.join("&")
}

async fn connect(client: &Client, instance: &InstanceInfo, args: &ExecArgs) -> Result<Socket, CliError> {
    let path = path(instance);
    let url = format!("{}?{}", client.url(&path).replacen("http://", "ws://", 1), query(args));
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
async fn converse(socket: &mut Socket, resized: Signal, args: &ExecArgs) -> Result<CommandEnd, CliError> {
    let mut signals = Signals::listen(resized).map_err(|error| unusable(&error))?;
    // Restored when this ends, whichever way.
    let _raw = if args.tty { Some(Raw::begin().map_err(|error| unusable(&error))?) } else { None };
    let mut input = if args.interactive { Some(stdin()) } else { None };
    loop {
        tokio::select! {
            biased;
            said = signals.next(args.tty) => if let Some(said) = said
                && let Err(error) = say(socket, &said).await
            {
                return Ok(broken(&error));
            },
            message = socket.next() => {
                if let Some(end) = heard(message)? {
                    return Ok(end);
                }
            }
            bytes = next_of(&mut input) => {
                // Nothing is the end of the input.
                let bytes = bytes.unwrap_or_else(|| { input = None; Vec::new() });
                if let Err(error) = say(socket, &UserFrame::Input(&bytes)).await {
                    return Ok(broken(&error));
                }
            }
        }
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
fn heard(message: Option<Result<Message, WebSocketError>>) -> Result<Option<CommandEnd>, CliError> {
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
        Some(Ok(Message::Close(_))) | None => Ok(Some(broken(&"the cluster ended it without a last word"))),
        Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Err(error)) => Ok(Some(broken(&error))),
    }
}

fn broken(why: &dyn std::fmt::Display) -> CommandEnd {
    CommandEnd::unseen(format!("the connection to the command broke, and the command is ended: {why}"))
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
