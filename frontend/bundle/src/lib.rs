//! The page as files: builds the two wasm programs, binds them, names the assets by their content, writes the documents that load
//! them, compresses.
//!
//! Owns: what the folder that a gateway serves looks like. Must not know: what the page does, or how it is served beyond
//! this: documents may change, and everything under `assets/` never does, because its name carries its hash.
//!
//! ```text
//! dist/page/{index,desk}.html               no-cache
//! dist/page/worker.js, worker-off.js, manifest.webmanifest   no-cache: their addresses are fixed
//! dist/page/assets/<name>-<hash>.{js,wasm,css,svg,png,json}   immutable; each with .br and .gz beside it
//! ```

mod assets;
mod build;
mod icon;
mod manifest;
mod order;
mod report;
mod words;
mod worker;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

pub use report::{Load, Report, Size};

/// What to build, from where, to where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder to write; replaced as a whole once everything has succeeded.
    pub out: PathBuf,
    /// Cargo profile of the wasm build.
    pub profile: String,
    /// Cargo's target folder.
    pub target_dir: PathBuf,
    /// The repository.
    pub root: PathBuf,
    /// Take the wasm files in this folder instead of building them.
    pub wasm: Option<PathBuf>,
    /// 0 to 11.
    pub brotli_quality: u32,
    /// Runs instead of `cargo`: the way around a toolchain without the wasm target (`QUORATE_WEB_CARGO`).
    pub cargo: Option<OsString>,
}

/// The profile of a page that people load.
const WEB_PROFILE: &str = "web";
/// The brotli quality of one, which is the best.
pub const BROTLI_QUALITY_MAX: u32 = 11;

impl Options {
    /// Whether the page is made as small as it gets: others are held against no limit.
    fn is_whole(&self) -> bool {
        self.profile == WEB_PROFILE && self.wasm.is_none() && self.brotli_quality == BROTLI_QUALITY_MAX
    }
}

/// Builds the page.
///
/// # Errors
/// In words for the person at the terminal: the wasm target is missing, the build failed, the page is larger than `limits.json` lets
/// it be, a file cannot be written.
pub fn bundle(options: &Options) -> anyhow::Result<Report> {
    let page = options.root.join("frontend/web/page");
    ensure!(page.join("index.html").is_file(), "{} is not Quorate's repository", options.root.display());
    let wasm = match &options.wasm {
        Some(wasm) => wasm.clone(),
        None => build::wasm(options)?,
    };
    let [chat, desk] = build::PROGRAMS.map(|program| build::bind(&wasm, program));
    let bound = assets::Programs { chat: chat?, desk: desk? };
    let out = options.root.join(&options.out);
    let staging = staging_beside(&out)?;
    let report = assets::write(&staging, &page, &bound, options.brotli_quality)?;
    if options.is_whole() {
        let checked = report.check(&options.root.join("frontend/bundle/limits.json"));
        if checked.is_err() {
            // What is served stays; the refused page need not.
            let _ = std::fs::remove_dir_all(&staging);
        }
        checked?;
    }
    replace(&staging, &out)?;
    Ok(report)
}

/// A fresh folder beside `out`, on the same file system, so that the final rename is one step.
fn staging_beside(out: &Path) -> anyhow::Result<PathBuf> {
    let Some(name) = out.file_name() else { bail!("--out {} names no folder", out.display()) };
    let mut staging_name = OsString::from(".");
    staging_name.push(name);
    staging_name.push(format!(".{}", std::process::id()));
    let staging = out.with_file_name(staging_name);
    if staging.exists() {
        std::fs::remove_dir_all(&staging).with_context(|| format!("clearing {}", staging.display()))?;
    }
    std::fs::create_dir_all(staging.join("assets"))
        .with_context(|| format!("making {}", staging.display()))?;
    Ok(staging)
}

/// Puts the finished folder in its place. Only a folder that a former run made is replaced.
fn replace(staging: &Path, out: &Path) -> anyhow::Result<()> {
    if out.exists() {
        let empty = out.is_dir() && out.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        let ours = out.join("index.html").is_file() && out.join("assets").is_dir();
        ensure!(
            empty || ours,
            "{} exists and is not a page of a former run; choose another --out",
            out.display()
        );
        std::fs::remove_dir_all(out).with_context(|| format!("replacing {}", out.display()))?;
    }
    std::fs::rename(staging, out).with_context(|| format!("putting the page into {}", out.display()))
}
