//! Files over real processes and disks: up through one gateway, down through another, while a leader dies and folders go.
//!
//! `QUORATE_FILES_MB` sets the size of the file (20): with 100 the figures of the benchmark are printed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::{AttachFile, Body, EventKind, ServerFrame};
use quorate_proto::rest::{
    ChunkStored, FileState, FilesUse, NewFile, NewMessage, SessionGrant, Upload, Written,
};
use quorate_tests::client::rest::sign_up;
use quorate_tests::harness::{TestCluster, number};
use quorate_tests::load::make_group;
use quorate_tests::scene::{WAIT, caught_up, leader};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A call that carries a file, or waits for an election.
const CALL_WAIT: Duration = Duration::from_secs(60);
/// What is refused for now is asked for again for this long.
const LEADERLESS_WAIT: Duration = Duration::from_secs(20);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(250);
/// A chunk, as the limits have it.
const CHUNK: usize = quorate_proto::limits::CHUNK_BYTES;

/// One person at one gateway.
#[derive(Clone, Copy)]
struct Caller<'a> {
    at: SocketAddr,
    token: &'a str,
}

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn expect(self, status: u16) -> anyhow::Result<Self> {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).into_owned();
        ensure!(self.status == status, "{} instead of {status}: {body}", self.status);
        Ok(self)
    }
}

impl Caller<'_> {
    /// A call, made again under one key where the answer is that it may succeed later: nobody leads just now.
    async fn send(&self, call: Call) -> anyhow::Result<Reply> {
        let call = call.header("authorization", format!("Bearer {}", self.token)).deadline(CALL_WAIT);
        let call = call.header("idempotency-key", Uuid::now_v7().to_string());
        let until = Instant::now() + LEADERLESS_WAIT;
        loop {
            let reply = self.send_once(call.clone()).await?;
            if reply.status != 503 || Instant::now() >= until {
                return Ok(reply);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn send_once(&self, call: Call) -> anyhow::Result<Reply> {
        let answer = call.send(self.at).await?;
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Ok(Reply { status: answer.status().as_u16(), headers, body: answer.body().to_vec() })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(Call::get(path)).await
    }

    async fn begin(&self, name: &str, size: usize) -> anyhow::Result<Upload> {
        let file = NewFile { name: name.to_owned(), size: size as u64 };
        self.send(Call::new("POST", "/api/v1/files").json(&file)).await?.expect(201)?.json()
    }

    async fn put(&self, id: Uuid, number: usize, data: &[u8]) -> anyhow::Result<ChunkStored> {
        let path = format!("/api/v1/files/{id}/chunks/{number}");
        self.send(Call::new("PUT", path).bytes(data.to_vec())).await?.expect(200)?.json()
    }

    async fn commit(&self, id: Uuid, name: &str, size: usize) -> anyhow::Result<FileState> {
        let file = NewFile { name: name.to_owned(), size: size as u64 };
        self.send(Call::new("POST", format!("/api/v1/files/{id}/commit")).json(&file))
            .await?
            .expect(201)?
            .json()
    }

    /// The whole in one call.
    async fn whole(&self, id: Uuid, name: &str, data: &[u8]) -> anyhow::Result<Reply> {
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/files/{id}/content?name={name}");
        self.send(Call::new("PUT", path).bytes(data.to_vec())).await
    }

    async fn state(&self, id: Uuid) -> anyhow::Result<Reply> {
        self.get(&format!("/api/v1/files/{id}")).await
    }

    async fn content(&self, id: Uuid) -> anyhow::Result<Reply> {
        self.get(&format!("/api/v1/files/{id}/content")).await
    }

    async fn show(&self, room: u64, files: &[Uuid]) -> anyhow::Result<Reply> {
        let attach = |file: &Uuid| AttachFile { file: *file, conversation: None, sequence: None };
        let message = NewMessage {
            text: String::new(),
            reply_to: None,
            forward: None,
            first_sent: 0,
            attachments: files.iter().map(attach).collect(),
        };
        let path = format!("/api/v1/conversations/{room}/messages");
        self.send(Call::new("POST", path).json(&message)).await
    }
}

/// Bytes that no two chunks have in common.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

struct Stage {
    room: u64,
    ann: SessionGrant,
    bob: SessionGrant,
    eve: SessionGrant,
    gateways: Vec<SocketAddr>,
}

impl Stage {
    async fn set(test: &TestCluster) -> anyhow::Result<Self> {
        let names = test.cluster.gateways();
        let gateways: Vec<SocketAddr> =
            names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<_, _>>()?;
        let at = gateways[0];
        let (ann, bob, eve) =
            (sign_up(at, "ann").await?, sign_up(at, "bob").await?, sign_up(at, "eve").await?);
        let room = make_group(at, "files", &[&ann, &bob]).await?;
        // The version that has files is reached a step a second.
        let ann_here = Caller { at, token: &ann.access_token };
        let id = Uuid::now_v7();
        wait_until("the cluster to have files", WAIT, || async {
            let reply = ann_here.whole(id, "probe", b"probe").await.map_err(|error| error.to_string())?;
            if reply.status == 201 { Ok(()) } else { Err(format!("{}", reply.status)) }
        })
        .await?;
        Ok(Self { room, ann, bob, eve, gateways })
    }

    fn at<'a>(&self, grant: &'a SessionGrant, gateway: usize) -> Caller<'a> {
        Caller { at: self.gateways[gateway % self.gateways.len()], token: &grant.access_token }
    }
}

fn chunk_path(test: &TestCluster, replica: u16, hash: &str) -> PathBuf {
    test.cluster.layout().replica(replica).join("files").join(&hash[..2]).join(hash)
}

async fn holds_all(test: &TestCluster, replica: u16, hashes: &[String]) -> anyhow::Result<()> {
    wait_until(&format!("replica {replica} to have every chunk"), WAIT, || async {
        let missing = hashes.iter().filter(|hash| !chunk_path(test, replica, hash).exists()).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", hashes.len())) }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_up_and_down_whole_while_a_leader_dies_and_folders_go() -> anyhow::Result<()> {
    let test = TestCluster::start("files").await?;
    let result = up_and_down(&test).await;
    test.finish(result).await
}

async fn up_and_down(test: &TestCluster) -> anyhow::Result<()> {
    let stage = Stage::set(test).await?;
    let size = number("QUORATE_FILES_MB", 20) * 1_000_000 + 123;
    let data = noise(size);
    let chunks: Vec<&[u8]> = data.chunks(CHUNK).collect();

    // Up through one gateway; the leader dies in the middle.
    let upload = stage.at(&stage.ann, 0).begin("../holiday.bin", size).await?;
    ensure!((upload.chunk_bytes, upload.chunks) == (CHUNK, chunks.len() as u64), "{upload:?}");
    let mut hashes = Vec::new();
    let third = chunks.len() / 3;
    for (number, chunk) in chunks[..third].iter().enumerate() {
        let stored = stage.at(&stage.ann, 0).put(upload.id, number, chunk).await?;
        ensure!(stored.replicas > usize::from(test.cluster.replicas()) / 2, "no majority: {stored:?}");
        hashes.push(stored.hash);
    }
    let (victim, _) = leader(test).await?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    test.recorder.mark(format!("killed replica {victim}, the leader, after {third} chunks"));
    for (number, chunk) in chunks.iter().enumerate().skip(third).take(third) {
        hashes.push(stage.at(&stage.ann, 1).put(upload.id, number, chunk).await?.hash);
    }

    // The client is cut off. Another gateway knows what is there, to her and to nobody else.
    let there = wait_until("every acknowledged chunk to be on a majority that lives", WAIT, || async {
        let reply = stage.at(&stage.ann, 2).state(upload.id).await.map_err(|error| error.to_string())?;
        let state: FileState =
            reply.expect(200).and_then(|reply| reply.json()).map_err(|error| format!("{error:#}"))?;
        let FileState::Uploading { chunks: there } = state else { return Err(format!("{state:?}")) };
        // The dead replica may have been of the majority of one; the others that were sent it have it in a moment.
        let missing = there.iter().map(|chunk| &chunk.hash).ne(hashes.iter());
        if missing { Err(format!("acknowledged chunks are missing: {there:?}")) } else { Ok(there) }
    })
    .await?;
    stage.at(&stage.bob, 2).state(upload.id).await?.expect(404)?;
    let early = NewFile { name: "x".to_owned(), size: size as u64 };
    let path = format!("/api/v1/files/{}/commit", upload.id);
    stage.at(&stage.ann, 2).send(Call::new("POST", path).json(&early)).await?.expect(422)?;
    let taken = format!("/api/v1/files/{}/chunks/0", upload.id);
    stage.at(&stage.eve, 2).send(Call::new("PUT", taken).bytes(b"x".to_vec())).await?.expect(409)?;
    for (number, chunk) in chunks.iter().enumerate().skip(there.len()) {
        hashes.push(stage.at(&stage.ann, 2).put(upload.id, number, chunk).await?.hash);
    }
    let state = stage.at(&stage.ann, 0).commit(upload.id, "../holiday.bin", size).await?;
    let FileState::Committed { file, own: true, .. } = &state else { anyhow::bail!("{state:?}") };
    ensure!((file.name.as_str(), file.size) == ("holiday.bin", size as u64), "{file:?}");
    let again = stage.at(&stage.ann, 1).commit(upload.id, "../holiday.bin", size).await?;
    ensure!(again == state, "a repetition is harmless: {again:?}");

    // Nobody sees it before it is shown, and then those who may.
    let id = upload.id;
    stage.at(&stage.bob, 0).content(id).await?.expect(404)?;
    let shown = stage.at(&stage.ann, 0).show(stage.room, &[id]).await?.expect(201)?;
    let Written::Ack(shown) = shown.json()?;
    stage.at(&stage.eve, 1).show(stage.room, &[id]).await?.expect(404)?;
    for gateway in 0..stage.gateways.len() {
        for denied in [format!("{id}"), format!("{id}/content"), format!("{id}/thumbnail")] {
            stage.at(&stage.eve, gateway).get(&format!("/api/v1/files/{denied}")).await?.expect(404)?;
        }
    }
    let path = format!("/api/v1/conversations/{}/messages?min_index={}", stage.room, shown.index);
    let pages = stage.at(&stage.bob, 1).get(&path).await?;
    let Body::Page { messages, .. } = pages.json::<ServerFrame>()?.body else { anyhow::bail!("no page") };
    let shown = messages.iter().find_map(|event| match &event.kind {
        EventKind::Message(message) => message.attachments.first().cloned(),
        _ => None,
    });
    ensure!(shown.as_ref() == Some(file), "the message shows {shown:?}");
    for gateway in 0..stage.gateways.len() {
        let reply = stage.at(&stage.bob, gateway).content(id).await?.expect(200)?;
        ensure!(reply.body == data, "{} other bytes at gateway {gateway}", reply.body.len());
    }
    ranges(&stage, id, &data).await?;

    // The replica that was dead when most of it came has everything a while after it is back.
    test.cluster.start_member(&Member::Replica(victim))?;
    caught_up(test, victim).await?;
    holds_all(test, victim, &hashes).await?;
    // A folder that is emptied is filled again, and a chunk that rots is served by nobody.
    let emptied =
        test.cluster.replica_ids().into_iter().find(|id| *id != victim).context("another replica")?;
    let folder = test.cluster.layout().replica(emptied).join("files");
    std::fs::remove_dir_all(&folder)?;
    for replica in test.cluster.replica_ids() {
        if replica != emptied {
            std::fs::write(chunk_path(test, replica, &hashes[1]), noise(CHUNK - 1))?;
            break;
        }
    }
    test.recorder.mark(format!("emptied the files of replica {emptied}, changed a chunk of another"));
    for gateway in 0..stage.gateways.len() {
        let reply = stage.at(&stage.bob, gateway).content(id).await?.expect(200)?;
        ensure!(reply.body == data, "other bytes at gateway {gateway} after the loss");
    }
    holds_all(test, emptied, &hashes).await
}

async fn ranges(stage: &Stage, id: Uuid, data: &[u8]) -> anyhow::Result<()> {
    let bob = stage.at(&stage.bob, 0);
    let path = format!("/api/v1/files/{id}/content");
    let get = async |range: &str, more: &[(&str, &str)]| {
        let mut call = Call::get(path.clone()).header("range", range);
        for (name, value) in more {
            call = call.header(name, *value);
        }
        bob.send(call).await
    };
    let size = data.len();
    let etag = bob.send(Call::new("HEAD", path.clone())).await?.expect(200)?;
    ensure!(etag.body.is_empty() && etag.header("content-length") == size.to_string(), "HEAD");
    let etag = etag.header("etag").to_owned();
    for (range, begin, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=-5".to_owned(), size - 5, size),
        (format!("bytes={}-{}", CHUNK - 3, CHUNK + 3), CHUNK - 3, CHUNK + 4),
        (format!("bytes={}-", 3 * CHUNK), 3 * CHUNK, size),
        (format!("bytes=7-{}", 10 * size), 7, size),
    ] {
        let reply = get(&range, &[]).await?.expect(206)?;
        ensure!(reply.body == data[begin..end], "{range}: {} bytes", reply.body.len());
        ensure!(reply.header("content-range") == format!("bytes {begin}-{}/{size}", end - 1), "{range}");
    }
    let reply = get(&format!("bytes={size}-"), &[]).await?.expect(416)?;
    ensure!(reply.header("content-range") == format!("bytes */{size}"), "{}", reply.header("content-range"));
    ensure!(get("bytes=0-0", &[("if-range", &etag)]).await?.status == 206, "If-Range of what is there");
    ensure!(get("bytes=0-0", &[("if-range", "\"other\"")]).await?.body == data, "If-Range of something else");
    ensure!(get("bytes=0-0", &[("if-none-match", &etag)]).await?.status == 304, "If-None-Match");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_claims_to_be_is_not_believed() -> anyhow::Result<()> {
    let test = TestCluster::start("files-claims").await?;
    let result = claims(&test).await;
    test.finish(result).await
}

/// A picture of one pixel, with a text where cameras write things.
const PIXEL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
    \0\0\0\x06tEXtsecret\xfb\xa9^\xd1\
    \0\0\0\x0dIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82<script>alert(1)</script>";

async fn claims(test: &TestCluster) -> anyhow::Result<()> {
    let stage = Stage::set(test).await?;
    let ann = stage.at(&stage.ann, 0);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for (name, data, kind, disposition) in [
        ("a.svg", &svg[..], "text/plain; charset=utf-8", "attachment; filename=\"a.svg\""),
        (
            "page.html",
            b"<!doctype html><script>alert(1)</script>",
            "text/plain; charset=utf-8",
            "attachment;",
        ),
        ("picture.png", b"<html><script>alert(1)</script>", "text/plain; charset=utf-8", "attachment;"),
        ("both.gif", b"GIF89a/*<script>*/=1;alert(1)", "application/octet-stream", "attachment;"),
        ("../../etc/passwd", b"\0\x01", "application/octet-stream", "attachment; filename=\"passwd\""),
        (
            "a\r\nSet-Cookie: b=c",
            b"\0",
            "application/octet-stream",
            "attachment; filename=\"aSet-Cookie: b=c\"",
        ),
        (
            "\"; x=\u{202e}gnp.exe",
            b"\0",
            "application/octet-stream",
            "attachment; filename=\"__ x=gnp.exe\"; filename*=",
        ),
        ("", b"", "application/octet-stream", "attachment; filename=\"file\""),
        // What the gateway looks for in what hyper says by itself.
        ("answer", b"HTTP/1.1 404 Not Found\r\n\r\n", "text/plain; charset=utf-8", "attachment;"),
        ("pixel", PIXEL, "image/png", "inline; filename=\"pixel\""),
    ] {
        let id = Uuid::new_v4();
        let made = ann.whole(id, name, data).await?.expect(201)?.json::<FileState>()?;
        // Once more: the same bytes are the same file; those of an image are others once its metadata is gone.
        let again = stage.at(&stage.ann, 1).whole(id, name, data).await?;
        ensure!(again.status == if data == PIXEL { 409 } else { 201 }, "{name:?}: {}", again.status);
        stage.at(&stage.ann, 1).whole(id, name, b"others").await?.expect(409)?;
        let reply = stage.at(&stage.ann, 2).content(id).await?.expect(200)?;
        ensure!(reply.header("content-type") == kind, "{name:?}: {}", reply.header("content-type"));
        let told = reply.header("content-disposition");
        ensure!(told.starts_with(disposition), "{name:?}: {told}");
        ensure!(reply.header("x-content-type-options") == "nosniff", "{name:?}");
        ensure!(reply.header("content-security-policy") == "default-src 'none'; sandbox", "{name:?}");
        ensure!(reply.header("set-cookie").is_empty(), "{name:?}");
        if data == PIXEL {
            let FileState::Committed { file, .. } = &made else { anyhow::bail!("{made:?}") };
            ensure!((file.width, file.height, file.thumbnail) == (Some(1), Some(1), true), "{file:?}");
            let has = |part: &[u8]| reply.body.windows(part.len()).any(|window| window == part);
            ensure!(!has(b"secret") && !has(b"<script>") && has(b"IDAT"), "what it tells of is gone");
            let small = ann.get(&format!("/api/v1/files/{id}/thumbnail")).await?.expect(200)?;
            ensure!(
                small.header("content-type") == "image/png" && small.body.starts_with(b"\x89PNG"),
                "small"
            );
            let saved = ann.get(&format!("/api/v1/files/{id}/content?download=true")).await?.expect(200)?;
            ensure!(saved.header("content-disposition").starts_with("attachment;"), "saved");
        } else {
            ensure!(reply.body == data, "{name:?}: other bytes");
            ann.get(&format!("/api/v1/files/{id}/thumbnail")).await?.expect(404)?;
        }
    }
    bounds(&stage).await
}

async fn bounds(stage: &Stage) -> anyhow::Result<()> {
    let ann = stage.at(&stage.ann, 0);
    let id = Uuid::new_v4();
    let put = async |number: &str, data: Vec<u8>| {
        ann.send(Call::new("PUT", format!("/api/v1/files/{id}/chunks/{number}")).bytes(data)).await
    };
    put("0", vec![0; CHUNK + 1]).await?.expect(413)?;
    put("0", Vec::new()).await?.expect(422)?;
    put("512", vec![0]).await?.expect(413)?;
    put("x", vec![0]).await?.expect(404)?;
    ann.state(id).await?.expect(404)?;
    let file = |size: u64| NewFile { name: "x".to_owned(), size };
    let begin = |size| Call::new("POST", "/api/v1/files").json(&file(size));
    ann.send(begin(quorate_proto::limits::FILE_BYTES_MAX + 1)).await?.expect(413)?;
    let stranger = Caller { token: "none", ..ann };
    stranger.send(begin(1)).await?.expect(401)?;
    stranger.whole(id, "x", &[0; 100]).await?.expect(401)?;
    // One's own file goes, unless a message shows it.
    let before: FilesUse = ann.get("/api/v1/files").await?.expect(200)?.json()?;
    ann.whole(id, "x", &[7; 100]).await?.expect(201)?;
    let used: FilesUse = ann.get("/api/v1/files").await?.expect(200)?.json()?;
    ensure!((used.bytes, used.files) == (before.bytes + 100, before.files + 1), "{before:?}, {used:?}");
    let delete = |id: Uuid| Call::new("DELETE", format!("/api/v1/files/{id}"));
    stage.at(&stage.bob, 1).send(delete(id)).await?.expect(404)?;
    ann.send(delete(id)).await?.expect(204)?;
    ann.content(id).await?.expect(404)?;
    ann.whole(id, "x", &[7; 100]).await?.expect(201)?;
    ann.show(stage.room, &[id]).await?.expect(201)?;
    ann.send(delete(id)).await?.expect(403)?;
    stage.at(&stage.bob, 2).content(id).await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_large_file() -> anyhow::Result<()> {
    let test = TestCluster::start("files-figures").await?;
    let result = figures(&test).await;
    test.finish(result).await
}

async fn figures(test: &TestCluster) -> anyhow::Result<()> {
    let stage = Stage::set(test).await?;
    let megabytes = number("QUORATE_FILES_MB", 20);
    let data = noise(megabytes * 1_000_000);
    let id = Uuid::new_v4();
    let began = Instant::now();
    stage.at(&stage.ann, 0).whole(id, "large.bin", &data).await?.expect(201)?;
    let up = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let reply = stage.at(&stage.ann, 1).content(id).await?.expect(200)?;
    let down = began.elapsed().as_secs_f64();
    ensure!(reply.body == data, "other bytes");
    let rate = |seconds: f64| megabytes as f64 / seconds;
    println!(
        "{megabytes} MB up, durable on a majority: {up:.2} s ({:.0} MB/s); down: {down:.2} s ({:.0} MB/s)",
        rate(up),
        rate(down)
    );
    Ok(())
}
