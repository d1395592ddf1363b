//! From sources to wasm and its JavaScript glue.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use walrus::Module;
use wasm_bindgen_cli_support::Bindgen;

use crate::{Options, order};

const TARGET: &str = "wasm32-unknown-unknown";

/// The glue and the wasm that it loads.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) js: String,
    pub(crate) wasm: Vec<u8>,
}

/// The page's programs, in the order in which their files are written: the chat, and the desk of admins.
pub(crate) const PROGRAMS: [&str; 2] = ["quorate-web", "quorate-desk"];

/// Builds the page's wasm with cargo; the folder that it is in.
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
    Ok(options.root.join(&options.target_dir).join(TARGET).join(folder))
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

/// What `wasm-bindgen --target web` does, as a library call, with one of the programs in a folder.
pub(crate) fn bind(folder: &Path, program: &str) -> anyhow::Result<Bound> {
    let wasm = &folder.join(format!("{program}.wasm"));
    ensure!(wasm.is_file(), "{} is not there; build the page without --wasm", wasm.display());
    let mut output = Bindgen::new()
        .input_path(wasm)
        .out_name(program)
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
    let module = output.wasm_mut();
    drop_unused(module);
    let js = shorten(module, &js)?;
    Ok(Bound { js, wasm: order::reorder(&module.emit_wasm())? })
}

/// What a dependency exports although the page never makes one: streams of server functions. Nothing of it is code that runs.
const UNUSED: &str = "intounderlying";

/// Takes such exports away, and with them the code that only they keep. The glue's classes for them stay, which nobody makes.
fn drop_unused(module: &mut Module) {
    let unused: Vec<_> =
        module.exports.iter().filter(|export| export.name.contains(UNUSED)).map(walrus::Export::id).collect();
    for id in unused {
        module.exports.delete(id);
    }
    walrus::passes::gc::run(module);
}

/// Gives the names that end with a hash, by which glue and wasm call each other, short ones instead: hashes do not compress, and there
/// are hundreds, each in both files.
fn shorten(module: &mut Module, js: &str) -> anyhow::Result<String> {
    let imports = module.imports.iter().map(|import| &import.name);
    let exports = module.exports.iter().map(|export| &export.name);
    let hashed: BTreeSet<String> = imports.chain(exports).filter(|name| is_hashed(name)).cloned().collect();
    let short: BTreeMap<String, String> =
        hashed.into_iter().enumerate().map(|(at, name)| (name, format!("q{at}"))).collect();
    for import in module.imports.iter_mut() {
        if let Some(name) = short.get(&import.name) {
            import.name.clone_from(name);
        }
    }
    for export in module.exports.iter_mut() {
        if let Some(name) = short.get(&export.name) {
            export.name.clone_from(name);
        }
    }
    rename(js, &short)
}

/// Whether a name ends with a hash: 16 hexadecimal digits, perhaps after an `h`.
fn is_hashed(name: &str) -> bool {
    const DIGITS: usize = 16;
    let Some((_, hash)) = name.rsplit_once('_') else { return false };
    let hash = hash.strip_prefix('h').unwrap_or(hash);
    hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The same JavaScript with other identifiers.
fn rename(js: &str, to: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
    let mut renamed = String::with_capacity(js.len());
    let mut rest = js;
    while !rest.is_empty() {
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        ensure!(!to.values().any(|short| short == word), "the glue has a name {word} already");
        renamed.push_str(to.get(word).map_or(word, String::as_str));
        let begin = after.find(is_part).unwrap_or(after.len());
        renamed.push_str(&after[..begin]);
        rest = &after[begin..];
    }
    Ok(renamed)
}

/// The binding's JavaScript without its documentation and indentation: a tenth of it in brotli. Left as it is where a text goes over
/// several lines, whose beginnings would be part of it.
pub(crate) fn slim(js: &str) -> String {
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
    fn names_with_a_hash_become_short_ones_and_others_stay() {
        assert!(
            is_hashed("__wbg_new_0_36d738a0c8cfac43") && is_hashed("closures_____invoke__hb60a8c5bc986e546")
        );
        assert!(
            !is_hashed("__wbindgen_malloc") && !is_hashed("__wbg_new_36d738a0c8cfac4") && !is_hashed("plain")
        );
        let to = [("a_36d738a0c8cfac43".to_owned(), "q0".to_owned())].into_iter().collect();
        let js = "a_36d738a0c8cfac43: f, wasm.a_36d738a0c8cfac43(b_36d738a0c8cfac43)";
        assert_eq!(rename(js, &to).expect("renamed"), "q0: f, wasm.q0(b_36d738a0c8cfac43)");
        assert!(rename("let q0 = 1;", &to).is_err());
    }

    #[test]
    fn javascript_loses_its_documentation_and_indentation_and_nothing_else() {
        let js = "/**\n * @returns {number}\n */\nget size() {\n    // so\n    return a / b; /* kept */\n}\n\n/** One. */\nlet c = `x ${d}`;\n";
        assert_eq!(slim(js), "get size() {\nreturn a / b; /* kept */\n}\nlet c = `x ${d}`;\n");
        let several_lines = "const text = `a\n    b`;\n";
        assert_eq!(slim(several_lines), several_lines);
    }
}
