//! The REST API as typed calls.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_common::envelope::{Envelope, OfKind, RefusalKind, Status, ValidationErrors};
use muster_common::exit::Exit;
use muster_common::operation::{Accepted, Operation, OperationRequest};
use muster_common::rest::{IDEMPOTENCY_KEY, LAST_EVENT_ID, TOTAL_COUNT};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::config::Token;
use super::patience;
use super::target::Target;
use crate::error::CliError;

/// A controller waits for its leader, a leader for its majority; after that it is not slow but gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Something large may take this long as a whole.
const STREAM_TIMEOUT: Duration = Duration::from_secs(3600);
/// Who listens does so until he has heard enough; silence is judged by the reader of the stream.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Errors of a connection that is being set up are worth another try; a controller may be restarting.
const CONNECT_ATTEMPTS: usize = 3;
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// How much of a list is asked for at a time: some megabytes.
const PAGE: usize = 5_000;

/// What may be done about a call whose connection broke before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// It is made again, at another controller: it changes nothing, or only once.
    AskAgain,
    /// It is an error: it may have been done.
    Tell,
}

/// A cluster's REST API: that of whichever controller answers.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    servers: Arc<[String]>,
    /// Which of them is asked.
    current: Arc<AtomicUsize>,
    token: Option<Token>,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self, CliError> {
        let cannot = |why: String| CliError::failure(format!("cannot make an HTTP client: {why}"));
        let mut headers = HeaderMap::new();
        if let Some(token) = &target.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|error| cannot(error.to_string()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .default_headers(headers)
            .no_proxy()
            .build()
            .map_err(|error| cannot(error.to_string()))?;
        let servers = target.servers.into();
        Ok(Self { http, servers, current: Arc::new(AtomicUsize::new(0)), token: target.token })
    }

    /// Which controller is asked.
    pub(crate) fn server(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed);
        self.servers.get(current % self.servers.len()).map_or("", String::as_str)
    }

    /// The same client, which turns to other controllers by itself.
    pub(crate) fn apart(&self) -> Self {
        let current = Arc::new(AtomicUsize::new(self.current.load(Ordering::Relaxed)));
        Self { current, ..self.clone() }
    }

    /// What lets this client in.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Asks the next controller from now on.
    pub(crate) fn try_another(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// `GET /apis/v1/<path>`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = || self.http.get(self.url(path));
        read(path, self.send(Broken::AskAgain, request).await?).await
    }

    /// The same for what is looked at again and again while it is waited for something, until the deadline.
    pub(crate) async fn get_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Option<Instant>,
    ) -> Result<T, CliError> {
        patience::persist(self, deadline, async || self.get(path).await).await
    }

    /// All elements of a list that is given in pages, `path` with its query, in their order. What comes or goes meanwhile
    /// moves what follows it: nothing is there twice because of that (`id` tells one from another), but whoever is at a
    /// page's end may be missed.
    pub(crate) async fn get_all<T: DeserializeOwned>(
        &self,
        path: &str,
        id: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, CliError> {
        Ok(self.pages(path, PAGE, usize::MAX, id).await?.0)
    }

    /// The first `limit` elements of such a list, and how many it has; a page holds `size`.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        size: usize,
        limit: usize,
        id: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, usize), CliError> {
        let (mut all, mut seen, mut from) = (Vec::new(), BTreeSet::new(), 0);
        loop {
            let path = format!("{path}&from={from}&size={size}");
            let answer = self.send(Broken::AskAgain, || self.http.get(self.url(&path))).await?;
            let total = total(answer.headers());
            let page: Vec<T> = read(&path, answer).await?;
            let count = page.len();
            from += count;
            all.extend(page.into_iter().filter(|one| seen.insert(id(one))));
            // A page that is not full is the last, also where nobody says how long the list is.
            if count < size || all.len() >= limit || total.is_some_and(|total| from >= total) {
                all.truncate(limit);
                return Ok((all, total.unwrap_or(from)));
            }
        }
    }

    /// `POST /apis/v1/<path>`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let request = || self.http.post(self.url(path)).json(body);
        read(path, self.send(Broken::Tell, request).await?).await
    }

    /// `DELETE /apis/v1/<path>`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = || self.http.delete(self.url(path));
        read(path, self.send(Broken::Tell, request).await?).await
    }

    /// The same for a call that takes as long as it is asked to.
    pub(crate) async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        time: Duration,
    ) -> Result<T, CliError> {
        let request = || self.http.post(self.url(path)).json(body).timeout(time + CALL_TIMEOUT);
        read(path, self.send(Broken::Tell, request).await?).await
    }

    /// `POST /apis/v1/<path>` without a body, of which nothing but its success is of interest.
    pub(crate) async fn post_nothing(&self, path: &str) -> Result<(), CliError> {
        let request = || self.http.post(self.url(path));
        read::<Value>(path, self.send(Broken::Tell, request).await?).await.map(drop)
    }

    /// `GET /apis/v1/<path>` as server-sent events, those after `last_id` if that is given.
    pub(crate) async fn listen(
        &self,
        path: &str,
        last_id: Option<&str>,
    ) -> Result<reqwest::Response, CliError> {
        let request = || {
            let request =
                self.http.get(self.url(path)).timeout(LISTEN_TIMEOUT).header(ACCEPT, "text/event-stream");
            match last_id {
                Some(id) => request.header(LAST_EVENT_ID, id),
                None => request,
            }
        };
        let answer = self.send(Broken::AskAgain, request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(read::<Value>(path, answer).await.err().unwrap_or_else(|| {
            CliError::failure(format!("{path} was answered with an error that says it was none"))
        }))
    }

    /// `GET /apis/v1/<path>` of something large, piece by piece; nothing limits it but silence.
    pub(crate) async fn stream(
        &self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), CliError> {
        let request = || self.http.get(self.url(path)).timeout(STREAM_TIMEOUT);
        let mut answer = self.send(Broken::AskAgain, request).await?;
        if !answer.status().is_success() {
            return read::<Value>(path, answer).await.map(drop);
        }
        let broken = |cause: String| CliError::failure(format!("the answer to {path} broke off: {cause}"));
        loop {
            let next = tokio::time::timeout(CALL_TIMEOUT, answer.chunk()).await;
            let next = next.map_err(|_| broken(format!("silence for {} s", CALL_TIMEOUT.as_secs())))?;
            let Some(bytes) = next.map_err(|error| broken(root_cause(&error)))? else { return Ok(()) };
            piece(&bytes).map_err(|error| CliError::failure(format!("cannot write: {error}")))?;
        }
    }

    /// Submits an operation, once: under its key it is the same one however often it must be asked for, and whichever
    /// controller takes it.
    pub(crate) async fn operate(&self, operation: &OperationRequest) -> Result<Accepted, CliError> {
        let path = "localservices/operations";
        let key = Uuid::new_v4().to_string();
        let request = || self.http.post(self.url(path)).header(IDEMPOTENCY_KEY, &key).json(operation);
        let submit = async || read(path, self.send(Broken::AskAgain, request).await?).await;
        patience::persist(self, None, submit).await.map_err(|error| {
            let unknown =
                "it is not known whether the operation was accepted: see 'muster ops' before you ask again";
            if error.is_passing() { error.with(unknown) } else { error }
        })
    }

    /// How far an operation is.
    pub(crate) async fn operation(&self, id: &str) -> Result<Operation, CliError> {
        self.get(&operation_path(id)).await
    }

    /// The same while it is waited for, until the deadline.
    pub(crate) async fn operation_patiently(
        &self,
        id: &str,
        deadline: Option<Instant>,
    ) -> Result<Operation, CliError> {
        self.get_patiently(&operation_path(id), deadline).await
    }

    /// The address of a call.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/apis/v1/{path}", self.server())
    }

    /// Sends; what may have been done is sent again only where that does it no second time.
    async fn send(
        &self,
        broken: Broken,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, CliError> {
        let attempts = CONNECT_ATTEMPTS.max(self.servers.len());
        let mut attempt = 1;
        loop {
            let request = request()
                .build()
                .map_err(|error| CliError::failure(format!("cannot ask {}: {error}", self.server())))?;
            let limit = request.timeout().copied().unwrap_or(CALL_TIMEOUT);
            match self.http.execute(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if attempt < attempts && is_worth_another(&error, broken) => {
                    attempt += 1;
                    self.try_another();
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                Err(error) => return Err(self.unanswered(&error, limit)),
            }
        }
    }

    fn unanswered(&self, error: &reqwest::Error, limit: Duration) -> CliError {
        let (server, cause) = (self.server(), root_cause(error));
        if error.is_connect() {
            return CliError::failure(format!(
                "cannot reach a controller at {}: {cause}; is it running? Name another one with --server, or start a \
                 cluster on this machine with 'muster dev'",
                self.servers.join(", ")
            ))
            .passing();
        }
        if error.is_timeout() {
            let message = format!("{server} did not answer within {limit:?}; try another controller");
            return CliError::new(Exit::Timeout, message).passing();
        }
        CliError::failure(format!(
            "{server} ended the connection before it answered: {cause}; try another controller"
        ))
        .passing()
    }
}

/// Whether another try at another controller may go better, and can do no harm. Silence has taken long enough already:
/// who is patient asks again himself.
fn is_worth_another(error: &reqwest::Error, broken: Broken) -> bool {
    error.is_connect() || (broken == Broken::AskAgain && !error.is_timeout())
}

fn operation_path(id: &str) -> String {
    format!("localservices/operations/{}", segment(id))
}

/// A name as one segment of a path, whatever is in it.
pub(crate) fn segment(name: &str) -> impl Display {
    /// What stands for itself in a path (RFC 3986, §2.3) stays readable.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, ESCAPED)
}

/// How long a list is of which an answer holds a page.
fn total(headers: &HeaderMap) -> Option<usize> {
    headers.get(TOTAL_COUNT)?.to_str().ok()?.parse().ok()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

async fn read<T: DeserializeOwned>(path: &str, answer: reqwest::Response) -> Result<T, CliError> {
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|error| {
        CliError::failure(format!("the answer to {path} broke off: {}", root_cause(&error))).passing()
    })?;
    understand(path, status, &bytes)
}

/// What an answer says: its data, or why it was refused.
pub(crate) fn understand<T: DeserializeOwned>(
    path: &str,
    status: StatusCode,
    bytes: &[u8],
) -> Result<T, CliError> {
    let envelope: Envelope<Value> = serde_json::from_slice(bytes).map_err(|_| {
        let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
        match status {
            StatusCode::UNAUTHORIZED => not_let_in(path),
            StatusCode::FORBIDDEN => not_allowed(path, text.trim()),
            StatusCode::NOT_FOUND => CliError::new(
                Exit::NotFound,
                format!("this cluster knows no call {path}; are its controllers older than this program?"),
            ),
            _ => CliError::failure(format!("{path} answered {status}: {}", text.trim())),
        }
    })?;
    if envelope.status == Status::Failed || !status.is_success() {
        return Err(refusal(status, envelope));
    }
    serde_json::from_value(envelope.data.unwrap_or(Value::Null)).map_err(|error| {
        CliError::failure(format!(
            "cannot understand the answer to {path}: {error}; are both ends of one version?"
        ))
    })
}

/// A refusal's sentence and exit code. Drove's API answers unknown ids with 200 (docs/drove-api.md §1.1).
fn refusal(status: StatusCode, envelope: Envelope<Value>) -> CliError {
    match status {
        StatusCode::UNAUTHORIZED => return not_let_in("this call"),
        StatusCode::FORBIDDEN => return not_allowed("this call", &envelope.message),
        _ => {}
    }
    let of_kind = envelope.data.clone().and_then(|data| serde_json::from_value::<OfKind>(data).ok());
    let bad: Option<ValidationErrors> = envelope.data.and_then(|data| serde_json::from_value(data).ok());
    let exit = match status {
        StatusCode::OK | StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::GONE => Exit::Conflict,
        StatusCode::BAD_REQUEST => bad.as_ref().map_or(Exit::Validation, |bad| bad.kind.exit()),
        StatusCode::GATEWAY_TIMEOUT => Exit::Timeout,
        _ => Exit::Failure,
    };
    let details = bad.map(|bad| bad.validation_errors).unwrap_or_default();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let error = CliError::new(exit, envelope.message);
        let is_undone = of_kind.is_none_or(|data| data.kind != RefusalKind::Unconfirmed);
        return if is_undone { error.passing() } else { error };
    }
    match details.as_slice() {
        [] => CliError::new(exit, envelope.message),
        [only] => CliError::new(exit, only.clone()),
        many => {
            let list: String = many.iter().map(|detail| format!("\n  - {detail}")).collect();
            CliError::new(exit, format!("{}:{list}", envelope.message))
        }
    }
}

fn not_let_in(call: &str) -> CliError {
    CliError::new(
        Exit::Auth,
        format!(
            "the cluster does not know who asks for {call}: no token was sent, or one that it does not know; get one \
             of your administrator and run 'muster login', or put it into MUSTER_TOKEN"
        ),
    )
}

fn not_allowed(call: &str, answer: &str) -> CliError {
    let answer = if answer.is_empty() { String::new() } else { format!(" ({answer})") };
    CliError::new(
        Exit::Auth,
        format!(
            "your role does not allow {call}{answer}; ask somebody whose role does, or for another token"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::extract::Query;
    use serde_json::json;

    use super::*;
    use crate::client::samples::serve;

    #[test]
    fn refusals_have_the_exit_code_of_their_kind() {
        let refused = |status: StatusCode, errors: &[&str], kind: &str| {
            let data = json!({"validationErrors": errors, "kind": kind});
            refusal(status, Envelope::failed("Command validation failure", Some(data)))
        };
        for (kind, exit) in
            [("INVALID", Exit::Validation), ("NOT_FOUND", Exit::NotFound), ("CONFLICT", Exit::Conflict)]
        {
            let error = refused(StatusCode::BAD_REQUEST, &["no"], kind);
            assert_eq!((error.exit, error.message.as_str()), (exit, "no"));
        }
        assert_eq!(refusal(StatusCode::OK, Envelope::failed("Not found", None)).exit, Exit::NotFound);
        let several = refused(StatusCode::BAD_REQUEST, &["one", "two"], "INVALID");
        assert_eq!(several.message, "Command validation failure:\n  - one\n  - two");
    }

    #[test]
    fn who_is_not_let_in_is_told_what_to_do() {
        let answer = |status, body: &[u8]| understand::<Value>("cluster", status, body).unwrap_err();
        let unknown = answer(StatusCode::UNAUTHORIZED, b"Credentials are required to access this resource.");
        assert_eq!(unknown.exit, Exit::Auth);
        assert!(unknown.message.contains("muster login"), "{unknown}");
        let forbidden = answer(StatusCode::FORBIDDEN, br#"{"status":"FAILED","message":"needs ROOT"}"#);
        assert_eq!(forbidden.exit, Exit::Auth);
        assert!(forbidden.message.contains("needs ROOT"), "{forbidden}");
        let missing = answer(StatusCode::NOT_FOUND, b"");
        assert_eq!(missing.exit, Exit::NotFound);
        assert!(missing.message.contains("older"), "{missing}");
        let busy = answer(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"FAILED","message":"no leader"}"#);
        assert!(busy.is_passing() && busy.exit == Exit::Failure);
        let unknown = br#"{"status":"FAILED","data":{"kind":"UNCONFIRMED"},"message":"look first"}"#;
        let unknown = answer(StatusCode::SERVICE_UNAVAILABLE, unknown);
        assert!(!unknown.is_passing() && unknown.exit == Exit::Failure, "it may have been done");
    }

    /// A controller that is killed while it is at work on each call: it takes the call and breaks the connection. Counts them.
    async fn breaking() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut begin = [0; 1024];
                tokio::io::AsyncReadExt::read(&mut stream, &mut begin).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        (server, count)
    }

    /// A controller that has no leader at the first call, then accepts; what it was told as key each time.
    async fn accepting() -> (String, Arc<Mutex<Vec<String>>>) {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&keys);
        let submit = async move |headers: HeaderMap| {
            let mut keys = heard.lock().unwrap();
            keys.push(headers[IDEMPOTENCY_KEY].to_str().unwrap().to_owned());
            if keys.len() == 1 {
                let answer: Envelope<Value> = Envelope::failed("no leader", None);
                return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(answer));
            }
            let accepted = json!({"serviceId": "web-1", "operationId": "OP-1"});
            (StatusCode::OK, axum::Json(Envelope::success(accepted)))
        };
        let path = "/apis/v1/localservices/operations";
        let route = axum::routing::post(submit).get(async || axum::Json(Envelope::success(json!([]))));
        (serve(axum::Router::new().route(path, route)).await, keys)
    }

    #[tokio::test]
    async fn an_operation_is_asked_for_under_one_key_until_a_controller_takes_it() {
        let ((broken, count), (whole, keys)) = (breaking().await, accepting().await);
        let client = Client::new(Target { servers: vec![broken, whole], token: None }).unwrap();
        let restart = OperationRequest::Activate { service_id: "web-1".to_owned() };
        assert_eq!(client.operate(&restart).await.unwrap().operation_id.as_str(), "OP-1");
        let first = keys.lock().unwrap().clone();
        assert!(count.load(Ordering::Relaxed) >= 1 && first.len() == 2, "{first:?}");
        assert_eq!(first[0], first[1]);
        client.operate(&restart).await.unwrap();
        assert_ne!(keys.lock().unwrap()[2], first[0], "another command is another operation");
    }

    #[tokio::test]
    async fn what_changes_nothing_is_asked_again_when_a_connection_breaks_and_nothing_else_is() {
        let ((broken, count), (whole, _)) = (breaking().await, accepting().await);
        let path = "localservices/operations";
        let client = Client::new(Target { servers: vec![broken, whole], token: None }).unwrap();
        assert_eq!(client.get::<Vec<Value>>(path).await.unwrap(), Vec::<Value>::new());
        let asked = count.swap(0, Ordering::Relaxed);
        client.try_another();
        let error = client.post::<Value>(path, &json!({})).await.unwrap_err();
        assert_eq!((asked, count.load(Ordering::Relaxed)), (1, 1));
        assert!(error.message.contains("ended the connection before it answered"), "{error}");
    }

    #[tokio::test]
    async fn a_call_that_is_not_answered_in_time_names_its_own_limit() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let servers = vec![format!("http://{}", listener.local_addr().unwrap())];
        let client = Client::new(Target { servers, token: None }).unwrap();
        let request = || client.http.get(client.url("cluster")).timeout(Duration::from_millis(10));
        let error = client.send(Broken::AskAgain, request).await.unwrap_err();
        assert_eq!(error.exit, Exit::Timeout);
        assert!(error.is_passing() && error.message.contains("within 10ms"), "{error}");
    }

    #[tokio::test]
    async fn a_list_in_pages_is_put_together_and_nothing_of_it_is_there_twice() {
        const TOTAL: usize = 2 * PAGE + 1;
        let page = async |Query(query): Query<BTreeMap<String, String>>| {
            let number = |name: &str| query[name].parse::<usize>().unwrap();
            // Between two pages one came before all others.
            let begin = number("from").saturating_sub(1);
            let numbers: Vec<usize> = (begin..TOTAL).take(number("size")).collect();
            let total = TOTAL + usize::from(number("from") > 0);
            ([(TOTAL_COUNT, total.to_string())], axum::Json(Envelope::success(numbers)))
        };
        let server = serve(axum::Router::new().route("/apis/v1/numbers", axum::routing::get(page))).await;
        let client = Client::new(Target { servers: vec![server], token: None }).unwrap();
        let all = client.get_all("numbers?old=true", usize::to_string).await.unwrap();
        assert_eq!(all, (0..TOTAL).collect::<Vec<_>>());
        let (first, total) = client.pages("numbers?old=true", 3, 4, usize::to_string).await.unwrap();
        assert_eq!((first, total), (vec![0, 1, 2, 3], TOTAL + 1), "so many as are wanted, of so many");
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(segment("example-1").to_string(), "example-1");
        assert_eq!(segment("a/../b?c").to_string(), "a%2F..%2Fb%3Fc");
    }
}
