//! TLS at the gateway: who is refused, what is agreed on, and a certificate that is replaced under way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// Writes a new certificate of its own authority, valid up to the first day of a year, and its key.
fn issue(dir: &Path, to_year: i32) -> (PathBuf, PathBuf) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(to_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let paths = (dir.join("edge.pem"), dir.join("edge.key"));
    std::fs::write(&paths.1, key.serialize_pem()).unwrap();
    std::fs::write(&paths.0, certificate.pem()).unwrap();
    paths
}

async fn secure(dir: &Path) -> Gateway {
    let (certificate, key) = issue(dir, 2090);
    Gateway::start(|config| {
        config.tls_certificate_file = Some(certificate);
        config.tls_key_file = Some(key);
    })
    .await
}

/// A handshake as a browser makes it: trusting what lies in the file, with these versions.
async fn shake(
    gateway: &Gateway,
    dir: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("edge.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(WAIT, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("in time")
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes at once without a farewell of TLS is no failure here.
    let _ = timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn browsers_come_by_tls_1_2_and_1_3_and_nobody_comes_without() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = secure(dir.path()).await;
    let versions = [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ];
    for (version, agreed) in versions {
        let mut stream = shake(&gateway, dir.path(), &[version]).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.protocol_version(), Some(agreed));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = get(&mut stream, "/healthz").await.to_lowercase();
        assert!(answer.starts_with("http/1.1 200 "), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=63072000"), "{answer}");
    }
    // A socket over it, on the same accept path.
    let stream = shake(&gateway, dir.path(), &[&rustls::version::TLS13]).await.unwrap();
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "quorate.v1.json".parse().unwrap());
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    socket.send(Message::text("{")).await.unwrap();
    let first = timeout(WAIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(first.to_text().unwrap().contains("4400"), "{first:?}");

    let plain = gateway.get("/healthz").await;
    assert!(!plain.starts_with("HTTP/1.1 "), "plain HTTP was answered: {plain}");
}

/// The first record of a handshake that offers this version and nothing newer.
fn client_hello(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    hello.push(0);
    // Ciphers that servers of that time spoke, and two that this one does.
    let ciphers = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x13, 0xc0, 0x09, 0x00, 0x2f, 0x00, 0x35, 0x00, 0x0a];
    hello.extend(u16::try_from(ciphers.len()).unwrap().to_be_bytes());
    hello.extend(ciphers);
    hello.extend([1, 0]);
    // What a client of TLS 1.2 needs beside: signature algorithms, groups, point formats.
    let extensions: [&[u8]; 3] = [
        &[0x00, 0x0d, 0, 8, 0, 6, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01],
        &[0x00, 0x0a, 0, 6, 0, 4, 0x00, 0x1d, 0x00, 0x17],
        &[0x00, 0x0b, 0, 2, 1, 0],
    ];
    let extensions = extensions.concat();
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    message.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    record.extend(message);
    record
}

#[tokio::test]
async fn old_protocols_are_refused_and_a_silent_handshake_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = secure(dir.path()).await;
    for (what, version) in [("SSL 3.0", 0), ("TLS 1.0", 1), ("TLS 1.1", 2)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(&client_hello(version)).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("refused in time");
        // One fatal alert, which says that it is about the version.
        assert!(answer.len() >= 7 && answer[0] == 21 && answer[5..7] == [2, 70], "{what}: {answer:x?}");
    }
    // The same words for TLS 1.2 are taken.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(&client_hello(3)).await.unwrap();
    let mut first = [0; 1];
    timeout(WAIT, stream.read_exact(&mut first)).await.expect("an answer in time").unwrap();
    assert_eq!(first, [22], "the handshake goes on");
    // The silent hold nobody up.
    let mut mute = Vec::new();
    for _ in 0..300 {
        mute.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    assert!(
        shake(&gateway, dir.path(), &[&rustls::version::TLS13]).await.is_ok(),
        "others come in beside 300"
    );
    drop(mute);
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(WAIT, silent.read_to_end(&mut answer)).await.expect("ended within the handshake's time");
    assert!(shake(&gateway, dir.path(), &[&rustls::version::TLS13]).await.is_ok(), "and others come in");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_a_wrong_one_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = secure(dir.path()).await;
    let both = [&rustls::version::TLS13, &rustls::version::TLS12];
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut open = shake(&gateway, dir.path(), &both).await.unwrap();
    let first = shown(&open);
    issue(dir.path(), 2091);
    let deadline = tokio::time::Instant::now() + WAIT;
    // The client trusts the new one alone: it comes in once that is shown.
    let second = loop {
        match shake(&gateway, dir.path(), &both).await {
            Ok(stream) => break shown(&stream),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "never shown: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_ne!(first, second);
    assert!(get(&mut open, "/healthz").await.starts_with("HTTP/1.1 200 "), "what was open lives on");
    // A file that is none is not used: twice as long as it takes to look.
    let good = std::fs::read(dir.path().join("edge.pem")).unwrap();
    std::fs::write(dir.path().join("edge.pem"), "not PEM").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    std::fs::write(dir.path().join("edge.pem"), good).unwrap();
    assert_eq!(shown(&shake(&gateway, dir.path(), &both).await.unwrap()), second);
}

#[test]
fn what_is_wrong_with_a_certificate_is_one_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = issue(dir.path(), 2021);
    let file = |text: &str| {
        let path = dir.path().join("gateway.toml");
        let text = format!("cluster = \"c\"\nname = \"a\"\nreplicas = [\"127.0.0.1:7101\"]\n{text}");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (certificate.display(), key.display());
    for (text, says) in [
        (format!("tls_certificate_file = \"{certificate}\"\n"), "belong together"),
        (format!("tls_certificate_file = \"{certificate}\"\ntls_key_file = \"{key}\"\n"), "has expired"),
        (format!("tls_certificate_file = \"{key}\"\ntls_key_file = \"{key}\"\n"), "no certificate in PEM"),
        (
            format!("tls_certificate_file = \"{certificate}\"\ntls_key_file = \"/none\"\n"),
            "cannot read tls_key_file",
        ),
    ] {
        let (code, _, stderr) = binary(&["run", "--config", &file(&text)]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(says) && stderr.trim_end().lines().count() == 1, "{says}: {stderr}");
    }
}
