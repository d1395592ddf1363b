//! Sizes, for people and for limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};

/// One file's sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Its path in the page's folder.
    pub name: String,
    /// As it is.
    pub raw: u64,
    /// Its `.br`.
    pub brotli: u64,
    /// Its `.gz`.
    pub gzip: u64,
}

/// What a browser must have before it can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// What it is called in `limits.json`.
    pub name: &'static str,
    /// Addresses of its files.
    pub files: Vec<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each file without its compressed siblings.
    pub sizes: Vec<Size>,
    /// The chat and the desk, each its JavaScript and wasm; the first paint of the chat, its HTML and CSS.
    pub loads: Vec<Load>,
}

impl Report {
    /// A load's bytes in brotli.
    pub fn brotli_bytes(&self, load: &Load) -> u64 {
        let is_of =
            |size: &&Size| load.files.iter().any(|address| address.strip_prefix('/') == Some(&size.name));
        self.sizes.iter().filter(is_of).map(|size| size.brotli).sum()
    }

    /// Holds the loads against the limits in this file: each load has one, in bytes of brotli.
    ///
    /// # Errors
    /// Every load that is over its limit, with what to do about it.
    pub(crate) fn check(&self, limits: &Path) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(limits).with_context(|| format!("reading {}", limits.display()))?;
        let bytes_max: BTreeMap<String, u64> =
            serde_json::from_str(&text).with_context(|| format!("reading {}", limits.display()))?;
        let mut over = Vec::new();
        for load in &self.loads {
            let bytes_max = bytes_max.get(load.name);
            let bytes_max =
                bytes_max.with_context(|| format!("{} has no limit for {}", limits.display(), load.name))?;
            let bytes = self.brotli_bytes(load);
            if bytes > *bytes_max {
                over.push(format!(
                    "the {} has {bytes} bytes in brotli, {} over its limit of {bytes_max}",
                    load.name,
                    bytes - bytes_max
                ));
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        bail!("{}; make it smaller, or raise the limit in {} and say why", over.join("; "), limits.display());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.sizes.iter().map(|size| size.name.len()).max().unwrap_or(0);
        write!(f, "{:width$}  {:>9} {:>9} {:>9}", "file", "bytes", "brotli", "gzip")?;
        for size in &self.sizes {
            write!(f, "\n{:width$}  {:>9} {:>9} {:>9}", size.name, size.raw, size.brotli, size.gzip)?;
        }
        for load in &self.loads {
            write!(f, "\nThe {} in brotli: {} bytes", load.name, self.brotli_bytes(load))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(chat_bytes: u64) -> Report {
        let size =
            |name: &str, brotli| Size { name: name.to_owned(), raw: brotli * 3, brotli, gzip: brotli * 2 };
        Report {
            sizes: vec![size("assets/a.wasm", chat_bytes), size("assets/a.js", 40), size("desk.html", 9)],
            loads: vec![Load { name: "chat", files: vec!["/assets/a.wasm".into(), "/assets/a.js".into()] }],
        }
    }

    #[test]
    fn a_load_over_its_limit_is_refused_in_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = folder.path().join("limits.json");
        std::fs::write(&limits, "{\"chat\": 100}").expect("limits");
        report(60).check(&limits).expect("it fits to the byte");
        let why = report(61).check(&limits).expect_err("a byte too much").to_string();
        assert!(why.contains("the chat has 101 bytes in brotli, 1 over its limit of 100"), "{why}");
        std::fs::write(&limits, "{}").expect("limits");
        let why = report(1).check(&limits).expect_err("no limit").to_string();
        assert!(why.contains("no limit for chat"), "{why}");
    }

    #[test]
    fn the_limits_of_the_page_name_each_load() {
        let limits = Path::new(env!("CARGO_MANIFEST_DIR")).join("limits.json");
        let load = |name| Load { name, files: Vec::new() };
        let loads = vec![load("chat"), load("desk"), load("first paint")];
        Report { sizes: Vec::new(), loads }.check(&limits).expect("a limit each");
    }
}
