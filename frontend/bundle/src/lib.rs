//! The page as files: builds the wasm, binds it, names the assets by their content, writes `index.html`, compresses.
//!
//! Owns: what the folder that a gateway serves looks like. Must not know: what the page does, or how it is served beyond
//! this: `index.html` may change, and everything under `assets/` never does, because its name carries its hash.
//!
//! ```text
//! dist/page/index.html                      no-cache
//! dist/page/assets/<name>-<hash>.{js,wasm,css,svg}   immutable; each with .br and .gz beside it
//! ```

mod assets;
mod build;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

pub use report::{Report, Size};

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
    /// Take this wasm instead of building one.
    pub wasm: Option<PathBuf>,
    /// 0 to 11.
    pub brotli_quality: u32,
    /// Runs instead of `cargo`: the way around a toolchain without the wasm target (`QUORATE_WEB_CARGO`).
    pub cargo: Option<OsString>,
}

/// Builds the page.
///
/// # Errors
/// In words for the person at the terminal: the wasm target is missing, the build failed, a file cannot be written.
pub fn bundle(options: &Options) -> anyhow::Result<Report> {
    let page = options.root.join("frontend/web/page");
    ensure!(page.join("index.html").is_file(), "{} is not Quorate's repository", options.root.display());
    let wasm = match &options.wasm {
        Some(wasm) => wasm.clone(),
        None => build::wasm(options)?,
    };
    let bound = build::bind(&wasm)?;
    let out = options.root.join(&options.out);
    let staging = staging_beside(&out)?;
    let report = assets::write(&staging, &page, &bound, options.brotli_quality)?;
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
