//! Both ends of a connection: TLS where there are credentials, plain TCP on loopback where there are none.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tonic::Status;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::credentials::Credentials;
use crate::role::Role;

/// A stranger that connects and says nothing is let go after this.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(3);
/// Handshakes at the same time; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
/// Connections that wait for the server to take them.
const ACCEPTED_MAX: usize = 16;
/// After a failed accept (no file descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of an accepted connection: in the extensions of every request that comes over it.
#[derive(Debug, Clone)]
pub struct Caller {
    address: SocketAddr,
    /// `None` on a connection without certificates, which is on loopback.
    roles: Option<Arc<[Role]>>,
}

impl Caller {
    /// Lets a call through only if its caller has one of these roles; a call over a connection without certificates is on
    /// loopback and passes.
    ///
    /// # Errors
    /// PERMISSION_DENIED, with a line in the log.
    pub fn must_be(extensions: &tonic::Extensions, allowed: &[Role]) -> Result<(), Status> {
        let Some(caller) = extensions.get::<Self>() else {
            return Err(Status::permission_denied("the connection says nothing of its caller"));
        };
        let Some(roles) = &caller.roles else { return Ok(()) };
        if roles.iter().any(|role| allowed.contains(role)) {
            return Ok(());
        }
        let names = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ");
        let (is, needs) = (names(roles), names(allowed));
        tracing::warn!(from = %caller.address, is, needs, "refused a call: the caller's certificate has another role");
        Err(Status::permission_denied(format!(
            "this call needs a certificate of {needs}, the caller's is of {is:?}"
        )))
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    caller: Caller,
}

impl Connected for Accepted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The connections that come in, each after its handshake; one that fails there is a line in the log and nothing more.
/// Ends, and closes the listener, when what it returns is dropped.
pub fn incoming(
    listener: TcpListener,
    credentials: Option<Credentials>,
) -> ReceiverStream<std::io::Result<Accepted>> {
    let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(&listener, credentials.as_ref(), &accepted) => {}
            () = accepted.closed() => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(
    listener: &TcpListener,
    credentials: Option<&Credentials>,
    accepted: &mpsc::Sender<std::io::Result<Accepted>>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without it Nagle and delayed ACKs together hold answers back for 40 ms.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let Some(credentials) = credentials else {
            let caller = Caller { address, roles: None };
            if accepted.send(Ok(Accepted { stream: Either::Left(stream), caller })).await.is_err() {
                return;
            }
            continue;
        };
        let acceptor = TlsAcceptor::from(credentials.server());
        let accepted = accepted.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let roles = certificates.first().map(Role::of).unwrap_or_default();
                    let caller = Caller { address, roles: Some(roles.into()) };
                    drop(place);
                    // The server has stopped: the connection goes with it.
                    let _ =
                        accepted.send(Ok(Accepted { stream: Either::Right(Box::new(stream)), caller })).await;
                }
                // Nothing was said: a look whether anybody listens.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(from = %address, "a connection ended before its handshake");
                }
                Ok(Err(error)) => tracing::warn!(from = %address, %error, "refused a connection"),
                Err(_) => tracing::warn!(from = %address, "refused a connection: no handshake in time"),
            }
        });
    }
}

/// A channel to a replica, made when it is first used and again when it breaks; over TLS where there are credentials. The
/// endpoint's address begins with `http` either way.
pub fn channel(endpoint: &Endpoint, credentials: Option<Credentials>) -> Channel {
    let Some(credentials) = credentials else { return endpoint.connect_lazy() };
    endpoint.connect_with_connector_lazy(tower::service_fn(move |to: Uri| connect(to, credentials.clone())))
}

async fn connect(
    to: Uri,
    credentials: Credentials,
) -> std::io::Result<TokioIo<client::TlsStream<TcpStream>>> {
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, what.to_owned());
    let host = to.host().ok_or_else(|| invalid("the address has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = to.port_u16().ok_or_else(|| invalid("the address has no port"))?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(Role::Replica.name()).map_err(|_| invalid("no server name"))?;
    let stream = TlsConnector::from(credentials.client()).connect(name, stream).await?;
    Ok(TokioIo::new(stream))
}
