//! From sources to wasm and its JavaScript glue.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::Options;

const TARGET: &str = "wasm32-unknown-unknown";

/// The glue and the wasm that it loads.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) js: String,
    pub(crate) wasm: Vec<u8>,
}

/// Builds the page's wasm with cargo.
pub(crate) fn wasm(options: &Options) -> anyhow::Result<PathBuf> {
    let cargo = options.cargo.clone().unwrap_or_else(|| "cargo".into());
    if options.cargo.is_none() && !target_installed(&options.root) {
        bail!(
            "the target {TARGET} is not installed; run `rustup target add {TARGET}`, \
             or set QUORATE_WEB_CARGO to a cargo that has it (deploy/up arranges either)"
        );
    }
    let status = Command::new(&cargo)
        .args(["build", "-p", "quorate-web", "--target", TARGET, "--profile", &options.profile])
        .arg("--target-dir")
        .arg(&options.target_dir)
        .current_dir(&options.root)
        .status()
        .with_context(|| format!("running {}", cargo.to_string_lossy()))?;
    ensure!(status.success(), "the wasm build failed ({status}); the lines above say why");
    let folder = if options.profile == "dev" { "debug" } else { &options.profile };
    let wasm = options.root.join(&options.target_dir).join(TARGET).join(folder).join("quorate-web.wasm");
    ensure!(wasm.is_file(), "the build succeeded, but {} is not there", wasm.display());
    Ok(wasm)
}

/// Whether the compiler that cargo would use has a standard library for the target.
fn target_installed(root: &Path) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).current_dir(root).output();
    answer.is_ok_and(|output| {
        let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let has_core = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        };
        output.status.success() && libdir.read_dir().is_ok_and(|mut entries| entries.any(has_core))
    })
}

/// What `wasm-bindgen --target web` does, as a library call.
pub(crate) fn bind(wasm: &Path) -> anyhow::Result<Bound> {
    let mut output = Bindgen::new()
        .input_path(wasm)
        .out_name("quorate")
        .web(true)
        .context("choosing the web target")?
        .typescript(false)
        // Names and producers are a tenth of the file and of no use to a browser. Never strip with cargo: it drops
        // `target_features`, which wasm-bindgen reads.
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .with_context(|| format!("binding {}", wasm.display()))?;
    // A crate without inline JavaScript may still be listed, with nothing in it.
    let inline: Vec<&String> =
        output.snippets().iter().filter(|(_, parts)| !parts.is_empty()).map(|(name, _)| name).collect();
    let modules: Vec<&String> = output.local_modules().keys().collect();
    ensure!(
        inline.is_empty() && modules.is_empty(),
        "a dependency of the page brings JavaScript of its own, which the bundler does not serve: {inline:?} {modules:?}"
    );
    let js = slim(output.js());
    let wasm = output.wasm_mut().emit_wasm();
    Ok(Bound { js, wasm })
}

/// The binding's JavaScript without its documentation and indentation: a tenth of it in brotli. Left as it is where a text goes over
/// several lines, whose beginnings would be part of it.
fn slim(js: &str) -> String {
    if js.lines().any(|line| line.matches('`').count() % 2 == 1) {
        return js.to_owned();
    }
    let mut slim = String::with_capacity(js.len());
    let mut in_comment = false;
    for line in js.lines().map(str::trim) {
        if in_comment || line.starts_with("/**") {
            in_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            slim.push_str(line);
            slim.push('\n');
        }
    }
    slim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javascript_loses_its_documentation_and_indentation_and_nothing_else() {
        let js = "/**\n * @returns {number}\n */\nget size() {\n    // so\n    return a / b; /* kept */\n}\n\n/** One. */\nlet c = `x ${d}`;\n";
        assert_eq!(slim(js), "get size() {\nreturn a / b; /* kept */\n}\nlet c = `x ${d}`;\n");
        let several_lines = "const text = `a\n    b`;\n";
        assert_eq!(slim(several_lines), several_lines);
    }
}
