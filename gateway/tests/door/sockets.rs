//! The WebSocket protocol (RFC 6455) on the product's own accept path, byte by byte, through the test-only echo: framing,
//! fragments, UTF-8, close codes, limits. The suite that others wrote is run by `tests/autobahn`.

use super::*;

const MIB: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A connection that writes any bytes and reads frames.
struct Wire(TcpStream);

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

/// A client's frame: the first byte as given, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

impl Wire {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: quorate.v1.json\r\n\r\n",
            gateway.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(WAIT, stream.read_u8()).await.expect("an upgrade in time").unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Self(stream)
    }

    async fn say(&mut self, bytes: &[u8]) {
        // The other end may be closing already; what it answers is what counts.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next frame; `None` when the connection ends without one.
    async fn hear(&mut self) -> Option<Frame> {
        let read = async {
            let first = self.0.read_u8().await?;
            let length = match self.0.read_u8().await? {
                126 => u64::from(self.0.read_u16().await?),
                127 => self.0.read_u64().await?,
                length => u64::from(length),
            };
            assert!(length <= 32 * MIB as u64, "a masked or endless frame");
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await?;
            std::io::Result::Ok(Frame { first, payload })
        };
        timeout(WAIT, read).await.expect("an answer in time").ok()
    }

    /// What comes next is a close with this code, and then the end.
    async fn expect_close(&mut self, what: &str, codes: &[u16]) {
        let mut last = self.hear().await.unwrap_or_else(|| panic!("{what}: no close frame"));
        // A session says `bye` in words before.
        while last.first == 0x81 {
            last = self.hear().await.unwrap_or_else(|| panic!("{what}: no close frame"));
        }
        assert_eq!(last.first, 0x88, "{what}: {last:?}");
        let code = u16::from_be_bytes([last.payload[0], last.payload[1]]);
        assert!(codes.contains(&code), "{what}: closed with {code}");
        assert_eq!(self.hear().await, None, "{what}: something after the close");
    }

    async fn expect_echo(&mut self, what: &str, first: u8, payload: &[u8]) {
        let heard = self.hear().await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(heard.first, first, "{what}");
        assert!(heard.payload == payload, "{what}: another payload");
    }
}

async fn echo(bytes_max: usize) -> Gateway {
    Gateway::start(|config| config.debug_echo_bytes_max = bytes_max).await
}

async fn wire(gateway: &Gateway) -> Wire {
    Wire::open(gateway, "/debug/echo").await
}

#[tokio::test]
async fn the_echo_of_the_conformance_tests_is_absent_unless_it_is_asked_for() {
    let gateway = Gateway::start(|_| {}).await;
    let refused = gateway.dial_at("/debug/echo", &[]).await;
    assert!(matches!(refused, Err(Error::Http(ref response)) if response.status() == 404));
    let (_, printed, _) =
        binary(&["run", "--cluster", "c", "--name", "a", "--replica", "127.0.0.1:7101", "--print-config"]);
    let table: toml::Table = toml::from_str(&printed).unwrap();
    assert_eq!(table["debug_echo_bytes_max"].as_integer(), Some(0));
}

#[tokio::test]
async fn messages_of_every_length_form_come_back_whole_or_in_fragments() {
    let gateway = echo(2 * MIB).await;
    let mut wire = wire(&gateway).await;
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, MIB] {
        let payload = vec![0xfe; length];
        wire.say(&frame(0x82, &payload)).await;
        wire.expect_echo(&format!("binary of {length}"), 0x82, &payload).await;
        let text = vec![b'*'; length];
        wire.say(&frame(0x81, &text)).await;
        wire.expect_echo(&format!("text of {length}"), 0x81, &text).await;
    }
    // Fragments with pings between, chopped into single bytes on the way.
    let mut bytes = frame(0x01, b"frag");
    bytes.extend(frame(0x89, b"are you there"));
    bytes.extend(frame(0x00, b"men"));
    bytes.extend(frame(0x80, b"ts"));
    for byte in bytes {
        wire.say(&[byte]).await;
    }
    wire.expect_echo("a ping between fragments", 0x8a, b"are you there").await;
    wire.expect_echo("fragments", 0x81, b"fragments").await;
}

#[tokio::test]
async fn ten_thousand_fragments_and_a_thousand_pings_are_one_message_and_their_pongs() {
    let gateway = echo(MIB).await;
    let mut wire = wire(&gateway).await;
    let mut bytes = frame(0x01, b"a");
    for _ in 0..9_998 {
        bytes.extend(frame(0x00, b"a"));
    }
    bytes.extend(frame(0x80, b"a"));
    wire.say(&bytes).await;
    wire.expect_echo("10,000 fragments", 0x81, &[b'a'; 10_000]).await;
    // One at a time: a server may answer the newest ping alone when several wait.
    for number in 0..1_000u32 {
        let payload = number.to_be_bytes();
        wire.say(&frame(0x89, &payload)).await;
        wire.expect_echo("a ping", 0x8a, &payload).await;
    }
    wire.say(&frame(0x8a, b"a pong that nobody asked for")).await;
    wire.say(&frame(0x81, b"still here")).await;
    wire.expect_echo("after all that", 0x81, b"still here").await;
}

#[tokio::test]
async fn what_the_framing_forbids_is_closed_1002() {
    let gateway = echo(MIB).await;
    let with = |parts: &[(u8, &[u8])]| -> Vec<u8> {
        parts.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
    };
    let long = [b'p'; 126];
    let mut unmasked = frame(0x81, b"hi");
    unmasked[1] &= 0x7f;
    for (what, bytes) in [
        ("reserved bit 1", with(&[(0xc1, b"x")])),
        ("reserved bit 2", with(&[(0xa1, b"x")])),
        ("reserved bit 3", with(&[(0x91, b"x")])),
        ("opcode 3", with(&[(0x83, b"x")])),
        ("opcode 7", with(&[(0x87, b"x")])),
        ("opcode 11", with(&[(0x8b, b"x")])),
        ("opcode 15", with(&[(0x8f, b"x")])),
        ("a ping of 126 bytes", with(&[(0x89, &long)])),
        ("a pong of 126 bytes", with(&[(0x8a, &long)])),
        ("a close of 126 bytes", with(&[(0x88, &long)])),
        ("a fragmented ping", with(&[(0x09, b"x")])),
        ("a fragmented close", with(&[(0x08, b"")])),
        ("a continuation of nothing", with(&[(0x80, b"x")])),
        ("a new message inside another", with(&[(0x01, b"x"), (0x81, b"y")])),
        ("a close of one byte", with(&[(0x88, b"x")])),
        ("a frame without a mask", unmasked),
    ] {
        let mut wire = wire(&gateway).await;
        wire.say(&bytes).await;
        wire.expect_close(what, &[1002]).await;
    }
}

#[tokio::test]
async fn text_that_is_no_utf_8_is_closed_1007() {
    let gateway = echo(MIB).await;
    let bad: [&[u8]; 9] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xfe",
        b"cut \xe2\x82",
    ];
    for text in bad {
        let mut whole = wire(&gateway).await;
        whole.say(&frame(0x81, text)).await;
        whole.expect_close(&format!("{text:x?}"), &[1007]).await;
        let mut halves = wire(&gateway).await;
        let (one, two) = text.split_at(text.len() / 2);
        halves.say(&[frame(0x01, one), frame(0x80, two)].concat()).await;
        halves.expect_close(&format!("{text:x?} in halves"), &[1007]).await;
    }
    // A character cut between fragments is one character.
    let mut good = wire(&gateway).await;
    let text = "hé € 𐍈 \u{10ffff} \u{fffe}".as_bytes();
    for byte in 0..text.len() {
        let first = if byte == 0 { 0x01 } else { 0x00 };
        good.say(&frame(first, &text[byte..=byte])).await;
    }
    good.say(&frame(0x80, b"")).await;
    good.expect_echo("characters in pieces", 0x81, text).await;
    let mut reason = wire(&gateway).await;
    reason.say(&frame(0x88, b"\x03\xe8\xc0\xaf")).await;
    reason.expect_close("a reason that is no UTF-8", &[1002, 1007]).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_an_invalid_one_with_1002() {
    let gateway = echo(MIB).await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999u16] {
        let mut wire = wire(&gateway).await;
        wire.say(&frame(0x88, &[&code.to_be_bytes()[..], b"bye"].concat())).await;
        wire.expect_close(&format!("close {code}"), &[code]).await;
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535u16] {
        let mut wire = wire(&gateway).await;
        wire.say(&frame(0x88, &code.to_be_bytes())).await;
        wire.expect_close(&format!("close {code}"), &[1002]).await;
    }
    let mut empty = wire(&gateway).await;
    empty.say(&frame(0x88, b"")).await;
    let answer = empty.hear().await.expect("a close frame");
    assert_eq!(answer.first, 0x88);
    assert_eq!(empty.hear().await, None);
}

#[tokio::test]
async fn what_is_too_large_is_closed_1009_as_soon_as_its_length_is_known() {
    let gateway = Gateway::start(|_| {}).await;
    let over = [b'x'; 65_537];
    let fragments = [frame(0x01, &over[..40_000]), frame(0x80, &over[..40_000])].concat();
    for (what, bytes) in [
        ("one byte too many", frame(0x81, &over)),
        ("fragments too long together", fragments),
        // Nothing but the header comes: nothing may be waited for, nor set aside.
        ("a frame of 2^62 bytes", header(0x81, 1 << 62)),
        ("a frame of 2^63 - 1 bytes", header(0x81, (1 << 63) - 1)),
        ("a frame of 1 MiB", header(0x82, MIB as u64)),
    ] {
        let mut wire = Wire::open(&gateway, "/ws").await;
        wire.say(&bytes).await;
        wire.expect_close(what, &[1009]).await;
    }
}
