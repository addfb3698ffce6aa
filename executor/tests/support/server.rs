//! Small servers that answer what they are told to.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Answers every connection with `answer` and tells what was asked.
pub(crate) async fn server(answer: &'static str) -> (u16, mpsc::Receiver<String>) {
    serve(answer, |stream: TcpStream| async { Some(stream) }).await
}

/// The same over TLS, with a certificate that nobody vouches for.
pub(crate) async fn tls_server(answer: &'static str) -> (u16, mpsc::Receiver<String>) {
    let acceptor = self_signed(&[]);
    serve(answer, move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await
}

async fn serve<S, Opening>(
    answer: &'static str,
    open: impl Fn(TcpStream) -> Opening + Send + 'static,
) -> (u16, mpsc::Receiver<String>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    Opening: Future<Output = Option<S>> + Send,
{
    let (listener, port) = listener().await;
    let (sender, asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Some(mut stream) = open(stream).await else { continue };
            let mut request = vec![0; 4096];
            let Ok(count) = stream.read(&mut request).await else { continue };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            if sender.send(String::from_utf8_lossy(&request[..count]).into_owned()).await.is_err() {
                return;
            }
        }
    });
    (port, asked)
}

/// Answers one connection with a body that never ends.
pub(crate) async fn endless() -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // An answer that comes before its question is not HTTP.
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    port
}

/// Answers one connection with the beginning of a body, and says no more while the caller is there.
pub(crate) async fn left_open() -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
        // Ends when the caller hangs up.
        while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
    });
    port
}

/// A certificate for `localhost` that nobody vouches for.
pub(crate) fn self_signed(protocols: &[&[u8]]) -> TlsAcceptor {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
