//! Files between two windows: an image that both see, a file that comes down as it went up, one taken back on its way, and one
//! whose gateway dies in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::{Cluster, Member, wait_until};
use quorate_tests::browser::Driver;
use quorate_tests::client::rest::sign_up;
use uuid::Uuid;

use crate::start;
use crate::window::{PAGE_WAIT, Window};

/// The whole test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(300);
/// The file whose gateway dies: long enough on its way.
const LONG_BYTES: usize = 96 * 1024 * 1024;
/// It is there within this, whatever died meanwhile.
const LONG_WAIT: Duration = Duration::from_secs(120);
/// A small one.
const SHORT_BYTES: usize = 2_500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_from_window_to_window_while_a_gateway_dies() -> anyhow::Result<()> {
    let (test, shots) = start("browser-files").await?;
    let result = match tokio::time::timeout(TEST_WAIT, windows(&test.cluster, &shots)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    test.finish(result).await
}

async fn windows(cluster: &Cluster, shots: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    let folder = tempfile::tempdir()?;
    if let Err(error) = story(cluster, &ana, &ben, folder.path()).await {
        return Err(error.context(ana.evidence().await).context(ben.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn story(cluster: &Cluster, ana: &Window, ben: &Window, folder: &Path) -> anyhow::Result<()> {
    ana.sign_up().await?;
    ben.sign_up().await?;
    cluster_has_files(cluster).await?;
    ana.start_conversation("ben").await?;
    ana.say("Here come some files.").await?;
    ben.open_conversation().await?;
    ben.wait_sent(&["Here come some files."]).await?;

    // An image, made by the page itself, with words: both see it in a box of its shape, and Ben as a whole.
    let picture = picture(ana, folder).await?;
    ana.choose(&[&picture]).await?;
    ana.say("The lake.").await?;
    let drawn = "return [...document.querySelectorAll('[data-testid=picture] img')].map(i =>
        [i.alt, i.complete && i.naturalWidth > 0, i.clientWidth, i.clientHeight])";
    let wanted = vec![("lake.png".to_owned(), true, 320, 160)];
    for window in [ana, ben] {
        window.wait_sent(&["The lake."]).await?;
        window.wait_read("the image", drawn, &wanted).await?;
    }
    ana.wait_read(
        "no file in the tray",
        "return document.querySelectorAll('[data-testid=upload]').length",
        &0,
    )
    .await?;
    ben.shoot("01-image").await?;
    ben.press("[data-testid=picture]").await?;
    let whole = "const i = document.querySelector('[data-testid=lightbox-image]');
        return i && i.complete ? [i.naturalWidth, i.naturalHeight] : null";
    ben.wait_read("the whole image", whole, &Some((800, 400))).await?;
    ben.shoot("02-light-box").await?;
    ben.press("[data-testid=lightbox-close]").await?;
    ben.wait_read("no light box", "return document.querySelector('[data-testid=lightbox]').open", &false)
        .await?;
    if let Some(wide) = ben.phone_overflow().await? {
        anyhow::bail!("{}: {wide}", ben.name);
    }

    // A file without words comes down as it went up.
    let down = folder.join("down");
    std::fs::create_dir(&down)?;
    ben.download_to(&down).await?;
    let (short, bytes) = file(folder, "notes and more.bin", SHORT_BYTES)?;
    ana.choose(&[&short]).await?;
    ready(ana, "notes and more.bin").await?;
    ana.say("").await?;
    same_below(ben, &down, "notes and more.bin", &bytes).await?;

    // One that is taken back on its way is sent by nobody; what was written stays.
    let (long, bytes) = file(folder, "long.bin", LONG_BYTES)?;
    ana.choose(&[&long, &short]).await?;
    under_way(ana).await?;
    ana.press("[data-testid=upload-cancel]").await?;
    let first = "return document.querySelector('[data-testid=upload]')?.dataset.name ?? ''";
    ana.wait_read("the other file alone", first, &"notes and more.bin".to_owned()).await?;
    ana.press("[data-testid=upload-cancel]").await?;
    ana.wait_read("no file", first, &String::new()).await?;

    // Her gateway dies while it is on its way: the message goes when all of it is there.
    let home = ana.gateway().await?;
    ana.choose(&[&long]).await?;
    under_way(ana).await?;
    ana.say("A long one.").await?;
    ana.wait_for("waits-for-files").await?;
    cluster.kill(&Member::Gateway(home.clone())).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.start_member(&Member::Gateway(home))?;
    ana.shoot("03-on-its-way").await?;
    wait_until("the long file to be sent", LONG_WAIT, || async {
        let uploads = ana.uploads().await.map_err(|error| format!("{error:#}"))?;
        if uploads.is_empty() { Ok(()) } else { Err(format!("{uploads:?}")) }
    })
    .await?;
    ana.wait_sent(&["A long one."]).await?;
    ben.wait_sent(&["A long one."]).await?;
    same_below(ben, &down, "long.bin", &bytes).await?;
    ben.shoot("04-cards").await
}

/// Files are there once the cluster has come to the version that knows them.
async fn cluster_has_files(cluster: &Cluster) -> anyhow::Result<()> {
    let name = cluster.gateways().first().context("there is a gateway")?.clone();
    let at = cluster.gateway_address(&name)?;
    let grant = sign_up(at, "probe").await?;
    let path = format!("/api/v1/files/{}/content?name=probe", Uuid::now_v7());
    wait_until("the cluster to have files", PAGE_WAIT, || async {
        let call = Call::new("PUT", path.clone()).bytes(b"probe".to_vec());
        let call = call.header("authorization", format!("Bearer {}", grant.access_token));
        let answer = call.send(at).await.map_err(|error| error.to_string())?;
        if answer.status() == 201 { Ok(()) } else { Err(format!("it says {}", answer.status())) }
    })
    .await?;
    Ok(())
}

/// A picture of 800 by 400 pixels, drawn by a browser.
async fn picture(window: &Window, folder: &Path) -> anyhow::Result<PathBuf> {
    let script = "const c = document.createElement('canvas'); c.width = 800; c.height = 400;
        const x = c.getContext('2d'); x.fillStyle = '#1d6b66'; x.fillRect(0, 0, 800, 400);
        x.fillStyle = '#f0cf85'; x.fillRect(500, 60, 120, 120);
        const b = atob(c.toDataURL('image/png').split(',')[1]);
        return Array.from(b, c => c.charCodeAt(0))";
    let bytes: Vec<u8> = window.read(script).await?;
    ensure!(bytes.starts_with(b"\x89PNG"), "the browser draws no PNG");
    let path = folder.join("lake.png");
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// Bytes that no two chunks have in common.
fn file(folder: &Path, name: &str, count: usize) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    let path = folder.join(name);
    std::fs::write(&path, &bytes)?;
    Ok((path, bytes))
}

async fn ready(window: &Window, name: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} to be there"), PAGE_WAIT, || async {
        let uploads = window.uploads().await.map_err(|error| format!("{error:#}"))?;
        let is_ready = uploads.iter().any(|(of, state)| of == name && state == "ready");
        if is_ready { Ok(()) } else { Err(format!("{uploads:?}")) }
    })
    .await?;
    Ok(())
}

/// Some of the first file is there, and not all.
async fn under_way(window: &Window) -> anyhow::Result<()> {
    wait_until("the file to be under way", PAGE_WAIT, || async {
        let progress = window.upload_progress().await.map_err(|error| format!("{error:#}"))?;
        match progress {
            Some((there, of)) if there > 0 && there < of => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

/// What is kept of this file is what was sent.
async fn same_below(window: &Window, folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    window.press(&format!("[data-testid=file][data-name=\"{name}\"] [data-testid=download]")).await?;
    let path = folder.join(name);
    wait_until(&format!("{name} to be kept"), LONG_WAIT, || async {
        // The browser gives it this name when it is whole.
        let kept = std::fs::read(&path).map_err(|error| error.to_string())?;
        if kept.len() == bytes.len() { Ok(()) } else { Err(format!("{} bytes", kept.len())) }
    })
    .await?;
    ensure!(std::fs::read(&path)? == bytes, "{name} came down as something else");
    Ok(())
}
