//! axe-core in a window: what keeps people out, in every view. `tests/axe` fetches it.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use quorate_tests::harness::target_dir;
use serde::Deserialize;

use crate::window::{VIEWS, Window};

/// Rules of WCAG 2.2 A and AA.
const TAGS: &str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']";

/// One rule that is broken, and where.
#[derive(Debug, Deserialize)]
struct Barrier {
    id: String,
    impact: Option<String>,
    help: String,
    places: Vec<String>,
}

impl Barrier {
    fn is_grave(&self) -> bool {
        matches!(self.impact.as_deref(), Some("serious" | "critical"))
    }
}

/// The script, and what it has found so far.
#[derive(Debug)]
pub struct Axe {
    script: String,
    found: Vec<String>,
    looks: usize,
}

impl Axe {
    /// Where the script is, if somebody has fetched it.
    pub fn path() -> Option<PathBuf> {
        let path = target_dir().join("axe/axe.min.js");
        path.is_file().then_some(path)
    }

    pub fn read(path: PathBuf) -> anyhow::Result<Self> {
        let script = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self { script, found: Vec::new(), looks: 0 })
    }

    /// Looks at what the window shows, in both themes, at a desk and on a phone. What is found is told at the end, all of it.
    pub async fn look(&mut self, window: &Window, screen: &str) -> anyhow::Result<()> {
        for view in VIEWS {
            window.view(view).await?;
            for barrier in self.barriers(window).await.with_context(|| format!("axe at {screen}"))? {
                if barrier.is_grave() {
                    let places = barrier.places.join("\n    ");
                    self.found.push(format!(
                        "{screen}, {}: {} ({})\n    {places}",
                        view.name, barrier.help, barrier.id
                    ));
                }
            }
            self.looks += 1;
        }
        window.picture(&format!("axe-{screen}")).await
    }

    /// A page that was loaded anew has no script of a test's.
    async fn barriers(&self, window: &Window) -> anyhow::Result<Vec<Barrier>> {
        let there: bool = window.read("return typeof window.axe === 'object'").await?;
        if !there {
            window.client.execute(&self.script, Vec::new()).await?;
        }
        let script = format!(
            "const done = arguments[arguments.length - 1];
            axe.run(document, {{ runOnly: {TAGS}, resultTypes: ['violations'], preload: false }}).then(
                (results) => done(results.violations.map((rule) => ({{
                    id: rule.id, impact: rule.impact, help: rule.help,
                    places: rule.nodes.map((node) => `${{node.target.join(' ')}}: ${{node.html.slice(0, 160)}}: ${{node.any.concat(node.all, node.none).map((check) => check.message).join('; ')}}`),
                }}))),
                (error) => done(String(error)))"
        );
        let answer = window.client.execute_async(&script, Vec::new()).await?;
        serde_json::from_value(answer.clone()).with_context(|| format!("axe says {answer}"))
    }

    /// Whether anything grave was found.
    pub fn verdict(self) -> anyhow::Result<()> {
        ensure!(self.looks > 0, "axe has looked at nothing");
        let grave = self.found.len();
        ensure!(grave == 0, "axe found {grave} in {} looks:\n{}", self.looks, self.found.join("\n"));
        Ok(())
    }
}
