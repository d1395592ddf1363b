//! `quorate-bundle`: builds the page into a folder that a gateway serves.
//!
//! The life of a run: build the wasm, bind it, gather the assets under names that carry their hash, write the documents
//! that refer to them, compress, report. Each step ends with a clear line where it fails.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use quorate_bundle::{BROTLI_QUALITY_MAX, Options, bundle};

/// Builds the page into a folder that a gateway serves.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Flags {
    /// Folder to write; replaced as a whole once the build has succeeded.
    #[arg(long, default_value = "dist/page")]
    out: PathBuf,
    /// Cargo profile of the wasm build.
    #[arg(long, default_value = "web")]
    profile: String,
    /// Cargo's target folder; its own, so that it never waits for a host build.
    #[arg(long, default_value = "target/web")]
    target_dir: PathBuf,
    /// The repository.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Take the wasm files in this folder instead of building them.
    #[arg(long)]
    wasm: Option<PathBuf>,
    /// Brotli quality, 0 to 11. The page is 4 % smaller with 11 than with 10, for some seconds more; less serves while one develops.
    /// Only a page of the profile `web` with the best is held against the limits in `frontend/bundle/limits.json`.
    #[arg(long, default_value_t = BROTLI_QUALITY_MAX, value_parser = clap::value_parser!(u32).range(..=i64::from(BROTLI_QUALITY_MAX)))]
    brotli_quality: u32,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let options = Options {
        out: flags.out,
        profile: flags.profile,
        target_dir: flags.target_dir,
        root: flags.root,
        wasm: flags.wasm,
        brotli_quality: flags.brotli_quality,
        cargo: std::env::var_os("QUORATE_WEB_CARGO"),
    };
    match bundle(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("quorate-bundle: {error:#}");
            ExitCode::from(2)
        }
    }
}
