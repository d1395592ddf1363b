//! A real browser for tests and the benchmark: chromedriver, the browsers it starts, and the built page that they open.
//!
//! One process tree, ended as a whole whatever happens. Must not know what is done on the page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use quorate_cluster::http::Call;
use quorate_cluster::process::{self, Bond, ProcessId, find_program};
use quorate_cluster::wait_until;
use serde_json::json;

/// Everything a person waits for on the page comes within this; elections and reconnects included.
pub const PAGE_WAIT: Duration = Duration::from_secs(30);
const START_WAIT: Duration = Duration::from_secs(20);

/// Whether this machine has a browser and what drives it.
pub fn is_installed() -> bool {
    find_program("chromium").is_some() && find_program("chromedriver").is_some()
}

/// The folder with the built page.
///
/// # Errors
/// When it is not built.
pub fn page_dir() -> anyhow::Result<PathBuf> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/page").canonicalize();
    page.context("the page is not built: run `cargo run --release -p quorate-bundle`")
}

/// A running chromedriver.
#[derive(Debug)]
pub struct Driver {
    address: SocketAddr,
    child: Child,
    id: ProcessId,
}

impl Driver {
    /// Starts it on a port that is free and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not answer in time.
    pub async fn start(address: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        let program = find_program("chromedriver").context("chromedriver is not installed")?;
        let mut command = Command::new(program);
        command.arg(format!("--port={}", address.port())).arg("--log-level=WARNING");
        let (child, id) = process::spawn(command, log, Bond::Tied)?;
        let driver = Self { address, child, id };
        wait_until("chromedriver to answer", START_WAIT, || async move {
            let answer = Call::get("/status").send(address).await.map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(format!("it says {}", answer.status())) }
        })
        .await?;
        Ok(driver)
    }

    /// Opens a browser whose profile is in this folder; it ends with the driver at the latest.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(&self, profile: &Path) -> anyhow::Result<Client> {
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            // The browser ends with the pipe, and the pipe with chromedriver, however that ends.
            "--remote-debugging-pipe",
            "--window-size=1280,800",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--user-data-dir={}", profile.display())])
        .collect::<Vec<_>>();
        let capabilities = [
            ("goog:chromeOptions", json!({ "args": arguments })),
            ("goog:loggingPrefs", json!({ "browser": "ALL" })),
        ];
        let capabilities = capabilities.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}", self.address))
            .await
            .context("open a browser")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        process::kill_tree(self.id);
        // Reaped, whether or not it had ended already.
        let _ = self.child.wait();
    }
}

/// Clicks the first of what a selector finds. What is drawn anew meanwhile, or still lies under something else, is tried
/// again: a click that failed has not happened.
///
/// # Errors
/// When it cannot be clicked in time.
pub async fn press(client: &Client, who: &str, css: &str) -> anyhow::Result<()> {
    wait_until(&format!("{who} to click {css}"), PAGE_WAIT, || async {
        let found = client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
        found.click().await.map_err(|error| error.to_string())
    })
    .await?;
    Ok(())
}

/// Puts a text into a field in place of what stood there. A field that is drawn anew meanwhile is filled again.
///
/// # Errors
/// When the text does not stand there in time.
pub async fn fill(client: &Client, who: &str, css: &str, text: &str) -> anyhow::Result<()> {
    wait_until(&format!("{who} to fill {css}"), PAGE_WAIT, || async {
        let field = client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
        field.clear().await.map_err(|error| error.to_string())?;
        field.send_keys(text).await.map_err(|error| error.to_string())?;
        // Found anew: what was typed into a field that is gone stands nowhere.
        let field = client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
        let stands = field.prop("value").await.map_err(|error| error.to_string())?;
        if stands.as_deref() == Some(text) { Ok(()) } else { Err(format!("there stands {stands:?}")) }
    })
    .await?;
    Ok(())
}

/// Waits until something that a selector finds is visible.
///
/// # Errors
/// When it is not in time.
pub async fn wait_for(client: &Client, who: &str, css: &str) -> anyhow::Result<()> {
    wait_until(&format!("{who} to see {css}"), PAGE_WAIT, || async {
        match client.find(Locator::Css(css)).await {
            Ok(element) => match element.is_displayed().await {
                Ok(true) => Ok(()),
                other => Err(format!("it is there, displayed: {other:?}")),
            },
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    Ok(())
}

/// Makes an account in the form that a first visit shows, and waits until the page is that of somebody signed in.
///
/// # Errors
/// When the form does not come, or the page behind it does not.
pub async fn sign_up(client: &Client, name: &str, password: &str) -> anyhow::Result<()> {
    wait_for(client, name, "[data-testid=sign-up]").await?;
    let mut letters = name.chars();
    let display_name: String =
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    for (field, text) in [("name", name), ("display_name", &display_name), ("password", password)] {
        fill(client, name, &format!("[data-testid=sign-up] input[name={field}]"), text).await?;
    }
    press(client, name, "[data-testid=sign-up] button[type=submit]").await?;
    wait_for(client, name, "[data-testid=new-conversation]").await
}
