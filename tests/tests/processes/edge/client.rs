//! A client in another language, written from the specification alone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_tests::harness::TestCluster;
use quorate_tests::skip::skip;
use serde_json::Value;

use super::{cluster, nothing_broke};

/// The whole of it takes five seconds.
const CLIENT_WAIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_python_chats_drops_and_resumes() -> anyhow::Result<()> {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        skip("a_client_in_python_chats_drops_and_resumes", "python3 is not installed");
        return Ok(());
    }
    let test = cluster("python", toml::Table::new()).await?;
    let result = python(&test).await;
    test.finish(result).await
}

async fn python(test: &TestCluster) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("client.py");
    let mut command = tokio::process::Command::new("python3");
    command.arg("-B").arg(script).kill_on_drop(true);
    for name in test.cluster.gateways() {
        command.arg(test.cluster.gateway_address(&name)?.to_string());
    }
    let output = tokio::time::timeout(CLIENT_WAIT, command.output()).await.context("it did not end")??;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {said} {errors}", output.status);
    let report: Value = serde_json::from_str(&said).context("one line of JSON")?;
    ensure!(report["drops"].as_u64() > Some(0) && report["messages"].as_u64() > Some(30), "{report}");
    println!("{report}");
    nothing_broke(test)
}
