//! One browser window with a profile of its own, seen as a person sees it: forms, rows, messages, a banner.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use quorate_cluster::wait_until;
use quorate_tests::browser::{self, Driver};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use quorate_tests::browser::PAGE_WAIT;

/// The password of everybody.
pub const PASSWORD: &str = "correct horse battery";
/// Enter, as WebDriver writes it.
pub const ENTER: &str = "\u{E007}";

/// What a screenshot is taken as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    width: u32,
    height: u32,
    phone: bool,
    scheme: &'static str,
}

pub(crate) const VIEWS: [View; 4] = [
    View { name: "phone-dark", width: 390, height: 844, phone: true, scheme: "dark" },
    View { name: "phone-light", width: 390, height: 844, phone: true, scheme: "light" },
    View { name: "desktop-dark", width: 1280, height: 800, phone: false, scheme: "dark" },
    // Last, because it is what the test goes on with.
    View { name: "desktop-light", width: 1280, height: 800, phone: false, scheme: "light" },
];

/// A message as the timeline shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Shown {
    /// Absent while it is pending.
    pub sequence: Option<u64>,
    pub state: String,
    pub author: String,
    pub text: String,
}

/// A command of Chrome's own protocol, through WebDriver.
#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({ "cmd": self.command, "params": self.parameters }).to_string()))
    }
}

/// A window and who sits in front of it.
pub struct Window {
    pub name: &'static str,
    pub(crate) client: Client,
    front: SocketAddr,
    shots: PathBuf,
    _profile: TempDir,
}

impl Window {
    /// Opens a browser with an empty profile at the balancer.
    pub async fn open(
        driver: &Driver,
        front: SocketAddr,
        name: &'static str,
        shots: &Path,
    ) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("quorate-browser-").tempdir()?;
        let client = driver.open(profile.path()).await?;
        let window = Self { name, client, front, shots: shots.to_owned(), _profile: profile };
        window.view(VIEWS[3]).await?;
        window.client.goto(&format!("http://{front}/")).await?;
        Ok(window)
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.client.close().await.context("close the browser")
    }

    // ---- what a person does ----

    /// Makes an account in the form that a first visit shows.
    pub async fn sign_up(&self) -> anyhow::Result<()> {
        browser::sign_up(&self.client, self.name, PASSWORD).await
    }

    /// Starts a direct conversation by user name.
    pub async fn start_conversation(&self, with: &str) -> anyhow::Result<()> {
        self.press("[data-testid=new-conversation]").await?;
        self.wait_for("people").await?;
        self.fill("[data-testid=people]", with).await?;
        // What was found is drawn anew with the next answer.
        self.press(&format!("[data-testid=person][data-name={with}]")).await?;
        self.press("[data-testid=start-conversation]").await?;
        self.wait_for("composer").await
    }

    /// Opens the only conversation there is, once it is there.
    pub async fn open_conversation(&self) -> anyhow::Result<()> {
        self.press("[data-testid=conversation-row]").await?;
        self.wait_for("composer").await
    }

    /// Types a message and presses Enter; does not wait for anything.
    pub async fn say(&self, text: &str) -> anyhow::Result<()> {
        self.keys("[data-testid=composer]", &format!("{text}{ENTER}")).await
    }

    /// Types one letter and leaves it there.
    pub async fn type_letter(&self) -> anyhow::Result<()> {
        self.keys("[data-testid=composer]", "a").await
    }

    /// Takes back what was typed.
    pub async fn clear_composer(&self) -> anyhow::Result<()> {
        let script = "const c = document.querySelector('[data-testid=composer]'); c.value = '';
            c.dispatchEvent(new Event('input', { bubbles: true }))";
        self.client.execute(script, Vec::new()).await.map(drop).context("clear the composer")
    }

    pub async fn reload(&self) -> anyhow::Result<()> {
        self.client.refresh().await.context("reload")
    }

    // ---- what a person sees ----

    /// The messages of the open conversation, from top to bottom.
    pub async fn messages(&self) -> anyhow::Result<Vec<Shown>> {
        let script = "return [...document.querySelectorAll('[data-testid=message]')].map(m => ({
            sequence: m.dataset.sequence ? Number(m.dataset.sequence) : null,
            state: m.dataset.state, author: m.dataset.author,
            text: m.querySelector('.text')?.textContent ?? '' }))";
        serde_json::from_value(self.client.execute(script, Vec::new()).await?).context("read the timeline")
    }

    /// Waits until these texts are all there, each once and sent, in this window.
    pub async fn wait_sent(&self, texts: &[&str]) -> anyhow::Result<()> {
        let reason = format!("{} to see {texts:?}, each once and sent", self.name);
        wait_until(&reason, PAGE_WAIT, || async {
            let messages = self.messages().await.map_err(|error| format!("{error:#}"))?;
            let once = |text: &&str| {
                messages.iter().filter(|m| m.text == **text).count() == 1
                    && messages.iter().any(|m| m.text == **text && m.state == "sent")
            };
            if texts.iter().all(once) { Ok(()) } else { Err(format!("the timeline is {messages:#?}")) }
        })
        .await?;
        Ok(())
    }

    /// What the page says of the moment: who types, how the other is, and how far the last own message has come.
    pub async fn moment(&self) -> anyhow::Result<(String, String, String)> {
        let script = "const all = q => [...document.querySelectorAll(q)].pop();
            return [document.querySelector('[data-testid=typing]')?.textContent ?? '',
                document.querySelector('[data-testid=presence]')?.dataset.presence ?? '',
                all('.message.own [data-testid=tick]')?.dataset.reach ?? '']";
        serde_json::from_value(self.client.execute(script, Vec::new()).await?).context("read the moment")
    }

    /// The gateway of this window's session, read in the details drawer, which is closed again.
    pub async fn gateway(&self) -> anyhow::Result<String> {
        Ok(self.details().await?.0)
    }

    /// How many sockets this page has opened since it was loaded.
    pub async fn sockets(&self) -> anyhow::Result<u64> {
        Ok(self.details().await?.1)
    }

    async fn details(&self) -> anyhow::Result<(String, u64)> {
        self.press("[data-testid=details-toggle]").await?;
        self.wait_for("details").await?;
        let script = "const d = document.querySelector('[data-testid=details]').dataset;
            return [d.gateway, Number(d.sockets)]";
        let read = serde_json::from_value(self.client.execute(script, Vec::new()).await?)?;
        self.press("[data-testid=details-toggle]").await?;
        self.wait_count("[data-testid=details]", 0).await?;
        Ok(read)
    }

    /// What the banner says, if it is there.
    pub async fn banner(&self) -> anyhow::Result<Option<String>> {
        let script = "return document.querySelector('[data-testid=banner]')?.textContent ?? null";
        serde_json::from_value(self.client.execute(script, Vec::new()).await?).context("read the banner")
    }

    /// Waits until the banner says this, or with `None` until there is none.
    pub async fn wait_banner(&self, wanted: Option<&str>) -> anyhow::Result<()> {
        let reason = format!("{}'s banner to be {wanted:?}", self.name);
        wait_until(&reason, PAGE_WAIT, || async {
            let banner = self.banner().await.map_err(|error| format!("{error:#}"))?;
            let there = match (wanted, &banner) {
                (Some(words), Some(text)) => text.contains(words),
                (None, None) => true,
                _ => false,
            };
            if there { Ok(()) } else { Err(format!("it is {banner:?}")) }
        })
        .await?;
        Ok(())
    }

    /// Waits until something with this `data-testid` is visible.
    pub async fn wait_for(&self, testid: &str) -> anyhow::Result<()> {
        browser::wait_for(&self.client, self.name, &format!("[data-testid={testid}]")).await
    }

    /// Gives files to the input behind the paperclip, as a person's choice would.
    pub async fn choose(&self, paths: &[&Path]) -> anyhow::Result<()> {
        let paths = paths.iter().map(|path| path.to_str().context("a path is text"));
        let lines = paths.collect::<anyhow::Result<Vec<_>>>()?.join("\n");
        let input = wait_until(&format!("{} to find the file input", self.name), PAGE_WAIT, || async {
            let found = self.client.find(Locator::Css("[data-testid=file-input]")).await;
            found.map_err(|error| error.to_string())
        })
        .await?;
        input.send_keys(&lines).await.with_context(|| format!("{} chooses {lines}", self.name))
    }

    /// Files above the composer: name and state.
    pub async fn uploads(&self) -> anyhow::Result<Vec<(String, String)>> {
        let script = "return [...document.querySelectorAll('[data-testid=upload]')]
            .map(u => [u.dataset.name, u.dataset.state])";
        serde_json::from_value(self.client.execute(script, Vec::new()).await?).context("read the uploads")
    }

    /// How much of the first file above the composer is there, and how large it is.
    pub async fn upload_progress(&self) -> anyhow::Result<Option<(u64, u64)>> {
        let script = "const p = document.querySelector('[data-testid=upload] progress');
            return p && [p.value, p.max]";
        let read: Option<(f64, f64)> =
            serde_json::from_value(self.client.execute(script, Vec::new()).await?)?;
        Ok(read.map(|(there, of)| (there as u64, of as u64)))
    }

    /// Runs a script of the page and reads what it returns.
    pub async fn read<T: serde::de::DeserializeOwned>(&self, script: &str) -> anyhow::Result<T> {
        let value = self.client.execute(script, Vec::new()).await?;
        serde_json::from_value(value).with_context(|| format!("read {script}"))
    }

    /// Waits until a script of the page returns this.
    pub async fn wait_read<T>(&self, what: &str, script: &str, wanted: &T) -> anyhow::Result<()>
    where
        T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        wait_until(&format!("{} to see {what}", self.name), PAGE_WAIT, || async {
            let read: T = self.read(script).await.map_err(|error| format!("{error:#}"))?;
            if read == *wanted { Ok(()) } else { Err(format!("it is {read:?}")) }
        })
        .await?;
        Ok(())
    }

    /// The browser suspends the page, as a phone does with one behind others, or lets it go on.
    pub async fn suspend(&self, asleep: bool) -> anyhow::Result<()> {
        let parameters = json!({ "state": if asleep { "frozen" } else { "active" } });
        self.dev_tools("Page.setWebLifecycleState", parameters).await
    }

    /// Where the browser keeps what is downloaded.
    pub async fn download_to(&self, folder: &Path) -> anyhow::Result<()> {
        let parameters = json!({ "behavior": "allow", "downloadPath": folder });
        self.dev_tools("Page.setDownloadBehavior", parameters).await
    }

    // ---- evidence ----

    /// Pictures of the window as it is: desktop and phone, light and dark.
    pub async fn shoot(&self, step: &str) -> anyhow::Result<()> {
        for view in VIEWS {
            self.view(view).await?;
            let picture = self.client.screenshot().await?;
            ensure!(picture.starts_with(b"\x89PNG"), "a screenshot is no PNG");
            std::fs::write(self.shots.join(format!("{step}-{}-{}.png", self.name, view.name)), picture)?;
        }
        Ok(())
    }

    /// One picture, at desktop width.
    pub async fn picture(&self, step: &str) -> anyhow::Result<()> {
        let picture = self.client.screenshot().await?;
        Ok(std::fs::write(self.shots.join(format!("{step}-{}-desktop-light.png", self.name)), picture)?)
    }

    /// Whether anything is wider than a phone's screen, in words; a person would have to scroll sideways.
    pub async fn phone_overflow(&self) -> anyhow::Result<Option<String>> {
        self.view(VIEWS[1]).await?;
        let script = "const w = document.documentElement; return w.scrollWidth > w.clientWidth
            ? `the page is ${w.scrollWidth} px wide on a screen of ${w.clientWidth} px` : null";
        let wide = serde_json::from_value(self.client.execute(script, Vec::new()).await?)?;
        self.view(VIEWS[3]).await?;
        Ok(wide)
    }

    /// One picture and the page's console, when something went wrong.
    pub async fn evidence(&self) -> String {
        let path = self.shots.join(format!("failure-{}.png", self.name));
        if let Ok(picture) = self.client.screenshot().await {
            // The failure itself matters more than a full disk.
            let _ = std::fs::write(&path, picture);
        }
        format!("{}'s window at http://{}: {}", self.name, self.front, path.display())
    }

    /// Everything this many times as large, in the window of a desk.
    pub async fn zoom(&self, times: u32) -> anyhow::Result<()> {
        let View { width, height, .. } = VIEWS[3];
        let metrics = json!({ "width": width / times, "height": height / times, "deviceScaleFactor": times, "mobile": false });
        self.dev_tools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Has the window look so.
    pub(crate) async fn view(&self, view: View) -> anyhow::Result<()> {
        let metrics = json!({ "width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": view.phone });
        self.dev_tools("Emulation.setDeviceMetricsOverride", metrics).await?;
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": view.scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.dev_tools("Emulation.setEmulatedMedia", media).await?;
        // Two frames: one to lay out, one to paint.
        let script =
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(null)))";
        self.client.execute_async(script, Vec::new()).await?;
        Ok(())
    }

    async fn dev_tools(&self, command: &'static str, parameters: Value) -> anyhow::Result<()> {
        self.client.issue_cmd(DevTools { command, parameters }).await.with_context(|| command.to_owned())?;
        Ok(())
    }
}
