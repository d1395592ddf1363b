//! No secret of anybody in any log or data file of a run.

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_tests::harness::TestCluster;
use quorate_tests::load;

use super::device::{Device, try_sign_in};
use super::start;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_or_data_file() -> anyhow::Result<()> {
    let test = start("accounts-secrets", |mut spec| {
        // The most that an operator would turn on.
        spec.environment
            .insert("RUST_LOG".to_owned(), "info,quorate_gateway=trace,quorate_replica=trace".to_owned());
        spec
    })
    .await?;
    let result = run(&test).await;
    test.finish(result).await
}

async fn run(test: &TestCluster) -> anyhow::Result<()> {
    let names = test.cluster.gateways();
    let gateways =
        names.iter().map(|name| test.cluster.gateway_address(name)).collect::<Result<Vec<_>, _>>()?;
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    let mut note = |what: &str, secret: &[u8]| secrets.push((what.to_owned(), secret.to_vec()));
    let mut cookie = |what: &str, cookie: &str| -> anyhow::Result<()> {
        let (_, secret) = cookie.split_once('.').context("a cookie")?;
        let raw = URL_SAFE_NO_PAD.decode(secret)?;
        note(&format!("{what}, as text"), secret.as_bytes());
        note(&format!("{what}, family"), &raw[..16]);
        note(&format!("{what}, secret"), &raw[16..]);
        Ok(())
    };
    let (first, second) = ("a password that nobody has", "another that nobody has");
    let mut device = Device::sign_up(gateways[0], "findable", first).await?;
    let mut tokens = vec![device.grant.access_token.clone()];
    cookie("cookie of the sign-up", &device.cookie)?;
    for gateway in &gateways {
        device.refresh(*gateway).await?;
        cookie("cookie of a refresh", &device.cookie)?;
        tokens.push(device.grant.access_token.clone());
    }
    load::make_group(gateways[1], "a room", &[&device.grant]).await?;
    let typed = "typed into the wrong field";
    try_sign_in(gateways[2], typed, "a wrong password that was typed", "x", Some(&device.cookie))
        .await?
        .expect(401)?;
    try_sign_in(gateways[2], "findable", "one more wrong password", "x", None).await?.expect(401)?;
    device.set_password(gateways[1], first, second).await?.expect(204)?;
    let offered = test.cluster.operate(&["admin", "offer"]).await?.trim().to_owned();
    for secret in
        [first, second, typed, "a wrong password that was typed", "one more wrong password", &offered]
    {
        note(secret, secret.as_bytes());
    }
    for token in &tokens {
        let signature = token.rsplit('.').next().context("a signature")?;
        note("an access token's signature", signature.as_bytes());
    }
    // What is on disk must be looked at, and not only what is still in memory.
    test.cluster.shut_down().await?;
    let mut files = Vec::new();
    walk(test.cluster.layout().dir(), &mut files)?;
    let (mut bytes, mut found_name) = (0, 0);
    for path in &files {
        let content = std::fs::read(path)?;
        bytes += content.len();
        // The log is not enough: what the search does not find in a checkpoint, packed for instance, would pass unseen.
        let is_checkpoint = path.components().any(|part| part.as_os_str() == "state");
        found_name += usize::from(is_checkpoint && contains(&content, b"findable"));
        for (what, secret) in &secrets {
            ensure!(!contains(&content, secret), "{what} is in {}", path.display());
        }
    }
    println!("{} secrets looked for in {} files, {bytes} bytes", secrets.len(), files.len());
    let replicas = usize::from(test.cluster.replicas());
    ensure!(
        found_name >= replicas,
        "the user's name is in {found_name} files of {replicas} checkpoints only"
    );
    Ok(())
}

fn walk(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return false };
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
