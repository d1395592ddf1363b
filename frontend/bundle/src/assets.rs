//! The files of the page: names by content, references, compressed siblings.
//!
//! The content security policy forbids inline script and style, so everything is a file: `boot.js` starts the wasm and
//! carries the theme over before the first paint.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use brotli::enc::BrotliEncoderParams;

use crate::build::{Bound, slim};
use crate::report::{Load, Report, Size};
use crate::words::Words;
use crate::{manifest, worker};

/// Hex digits of a file's BLAKE3 in its name: 64 bits tell apart more versions than anybody makes.
const HASH_DIGITS: usize = 16;
/// No single file of the page is this large; a build that makes one has gone wrong.
const ASSET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the documents load.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) chat: Bound,
    pub(crate) desk: Bound,
}

/// Writes the page into `staging`, which is empty but for `assets/`.
pub(crate) fn write(
    staging: &Path,
    page: &Path,
    programs: &Programs,
    brotli_quality: u32,
) -> anyhow::Result<Report> {
    let mut writer = Writer { staging, brotli_quality, sizes: Vec::new() };
    let icon = writer.asset("icon", "svg", read(page, "icon.svg")?.as_bytes())?;
    let style = writer.asset("style", "css", styles(page)?.as_bytes())?;
    let theme = writer.asset("theme", "js", read(page, "theme.js")?.as_bytes())?;
    let device = writer.asset("device", "js", slim(&read(page, "device.js")?).as_bytes())?;
    let words = Words::read(&page.join("../words"), "de")?;
    let words_de = writer.asset("words-de", "json", &words.asset()?)?;
    let (touch, manifest) = installable(&mut writer)?;
    let assets: [&str; 7] = [&icon, &style, &theme, &device, &words_de, &touch, &manifest];
    let build = build_of(page, &programs.chat, &assets)?;
    let shared = [
        ("{{theme}}", &*theme),
        ("{{style}}", &style),
        ("{{icon}}", &icon),
        ("{{device}}", &device),
        ("{{touch}}", &touch),
        ("{{build}}", &build),
    ];
    let shell = words.say(&read(page, "index.html")?)?;
    let source = Source { page, shell: &shell, words_de: &words_de, shared: &shared };
    let chat = writer.program(&source, "quorate", &programs.chat, "index.html")?;
    let desk = writer.program(&source, "desk", &programs.desk, "desk.html")?;
    // What the document names, and what is named by what starts the program.
    let named = [read(staging, "index.html")?, read(staging, chat.boot.trim_start_matches('/'))?];
    let files = worker::list_of(&worker::files_of(&named.each_ref().map(String::as_str)))?;
    let script = fill(&read(page, "worker.js")?, &[("{{build}}", &build), ("{{files}}", &files)])?;
    writer.file("worker.js", slim(&script).as_bytes())?;
    writer.file("worker-off.js", slim(&read(page, "worker-off.js")?).as_bytes())?;
    let load = |name, started: Started| Load {
        name,
        files: vec![started.wasm, started.glue, started.boot, theme.clone(), device.clone()],
    };
    let first = Load { name: "first paint", files: vec!["/index.html".to_owned(), style] };
    Ok(Report { loads: vec![load("chat", chat), load("desk", desk), first], sizes: writer.sizes })
}

/// What makes the page one that can be installed; the address of the icon that some take instead, and the manifest.
fn installable(writer: &mut Writer<'_>) -> anyhow::Result<(String, String)> {
    let icons = manifest::icons().context("drawing the icons")?;
    let addresses = icons.iter().map(|(name, bytes)| writer.asset(name, "png", bytes));
    let addresses = addresses.collect::<anyhow::Result<Vec<_>>>()?;
    let manifest = manifest::text(&addresses);
    writer.file("manifest.webmanifest", manifest.as_bytes())?;
    let touch = addresses.into_iter().next().context("the manifest has no icon")?;
    Ok((touch, manifest))
}

/// The name of this build of the chat. What the desk is made of does not count: no worker keeps it.
fn build_of(page: &Path, chat: &Bound, assets: &[&str]) -> anyhow::Result<String> {
    let templates = ["index.html", "boot.js", "worker.js"].map(|name| read(page, name));
    let templates = templates.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let wasm = blake3::hash(&chat.wasm).to_hex();
    let parts = templates.iter().map(|text| &**text).chain([&*chat.js, &*wasm]).chain(assets.iter().copied());
    Ok(worker::build_of(&parts.collect::<Vec<_>>()))
}

fn read(page: &Path, name: &str) -> anyhow::Result<String> {
    let path = page.join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// All style sheets as one file, in order of name: `10-tokens.css` before `20-base.css`.
fn styles(page: &Path) -> anyhow::Result<String> {
    let folder = page.join("styles");
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("reading {}", folder.display()))? {
        let name = entry.with_context(|| format!("reading {}", folder.display()))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".css") {
            names.push(name);
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "{} has no style sheet", folder.display());
    let mut all = String::new();
    for name in names {
        all.push_str(&without_comments(&read(&folder, &name)?));
    }
    Ok(all)
}

/// The style sheet without its comments and indentation; nothing cleverer, so nothing can break.
fn without_comments(css: &str) -> String {
    let mut kept = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(start) = rest.find("/*") {
        kept.push_str(&rest[..start]);
        rest = rest[start..].find("*/").map_or("", |end| &rest[start + end + 2..]);
    }
    kept.push_str(rest);
    kept.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

/// Replaces every placeholder, each of which must be there; none may be left.
fn fill(template: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut filled = template.to_owned();
    for (placeholder, value) in values {
        ensure!(filled.contains(placeholder), "a template of the page lacks {placeholder}");
        filled = filled.replace(placeholder, value);
    }
    ensure!(!filled.contains("{{"), "a template of the page has a placeholder that nothing fills");
    Ok(filled)
}

/// What both programs are written from.
struct Source<'a> {
    page: &'a Path,
    shell: &'a str,
    words_de: &'a str,
    shared: &'a [(&'a str, &'a str)],
}

/// The addresses that a program runs by.
struct Started {
    wasm: String,
    glue: String,
    boot: String,
}

struct Writer<'a> {
    staging: &'a Path,
    brotli_quality: u32,
    sizes: Vec<Size>,
}

impl Writer<'_> {
    /// Writes a program, what starts it, and the document that loads both.
    fn program(
        &mut self,
        source: &Source<'_>,
        name: &str,
        bound: &Bound,
        document: &str,
    ) -> anyhow::Result<Started> {
        let wasm = self.asset(name, "wasm", &bound.wasm)?;
        let glue = self.asset(name, "js", bound.js.as_bytes())?;
        let own = [("{{glue}}", &*glue), ("{{wasm}}", &*wasm)];
        let starts: Vec<_> = own.into_iter().chain([("{{words-de}}", source.words_de)]).collect();
        let boot = fill(&read(source.page, "boot.js")?, &starts)?;
        let boot = self.asset("boot", "js", slim(&boot).as_bytes())?;
        let values: Vec<_> = source.shared.iter().copied().chain(own).chain([("{{boot}}", &*boot)]).collect();
        self.file(document, fill(source.shell, &values)?.as_bytes())?;
        Ok(Started { wasm, glue, boot })
    }

    /// Writes an asset under a name that carries its hash; returns its address.
    fn asset(&mut self, name: &str, extension: &str, bytes: &[u8]) -> anyhow::Result<String> {
        let hash = blake3::hash(bytes).to_hex();
        let name = format!("assets/{name}-{}.{extension}", &hash[..HASH_DIGITS]);
        self.file(&name, bytes)?;
        Ok(format!("/{name}"))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        ensure!(bytes.len() <= ASSET_BYTES_MAX, "{name} would have {} bytes", bytes.len());
        let path = self.staging.join(name);
        let write = |suffix: &str, bytes: &[u8]| {
            let mut path = path.clone().into_os_string();
            path.push(suffix);
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.to_string_lossy()))
        };
        let brotli = brotli_of(bytes, self.brotli_quality).context("compressing with brotli")?;
        let gzip = gzip_of(bytes).context("compressing with gzip")?;
        write("", bytes)?;
        write(".br", &brotli)?;
        write(".gz", &gzip)?;
        let name = name.to_owned();
        self.sizes.push(Size {
            name,
            raw: bytes.len() as u64,
            brotli: brotli.len() as u64,
            gzip: gzip.len() as u64,
        });
        Ok(())
    }
}

fn brotli_of(bytes: &[u8], quality: u32) -> std::io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    {
        // A window of 4 MiB, taken as one block: no file of the page is far larger. In the usual blocks of 256 KiB the chat has 1.2 KB more.
        let quality = i32::try_from(quality).unwrap_or(i32::MAX);
        let parameters = BrotliEncoderParams {
            quality,
            lgwin: 22,
            lgblock: 22,
            size_hint: bytes.len(),
            ..Default::default()
        };
        let mut writer = brotli::CompressorWriter::with_params(&mut compressed, 64 * 1024, &parameters);
        writer.write_all(bytes)?;
    }
    Ok(compressed)
}

fn gzip_of(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn page() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web/page")
    }

    fn bound() -> Programs {
        let bound = |js: &str| Bound { js: js.into(), wasm: [b"\0asm", js.as_bytes()].concat() };
        Programs { chat: bound("export default 1"), desk: bound("export default 2") }
    }

    fn bundled() -> (tempfile::TempDir, Report) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("assets")).expect("assets");
        let report = write(folder.path(), &page(), &bound(), 5).expect("written");
        (folder, report)
    }

    fn documents(folder: &Path) -> [String; 2] {
        ["index.html", "desk.html"].map(|name| std::fs::read_to_string(folder.join(name)).expect(name))
    }

    #[test]
    fn every_reference_of_a_document_is_a_file() {
        let (folder, report) = bundled();
        for document in documents(folder.path()) {
            let mut references = 0;
            for part in document.split('"').filter(|part| part.starts_with("/assets/")) {
                assert!(folder.path().join(&part[1..]).is_file(), "{part}");
                references += 1;
            }
            assert!(references >= 6, "{document}");
        }
        let [chat, desk] = documents(folder.path());
        assert_ne!(chat, desk);
        for address in report.loads.iter().flat_map(|load| &load.files) {
            assert!(folder.path().join(&address[1..]).is_file(), "{address}");
        }
        let all: u64 = report.sizes.iter().map(|size| size.brotli).sum();
        assert_eq!(report.loads.len(), 3);
        for load in &report.loads {
            assert!((1..all).contains(&report.brotli_bytes(load)), "{load:?}");
        }
    }

    #[test]
    fn the_policy_holds_no_inline_script_or_style() {
        let (folder, _) = bundled();
        for document in documents(folder.path()) {
            assert!(!document.contains("<style") && !document.contains(" style="), "inline style");
            for script in document.split("<script").skip(1) {
                let (tag, rest) = script.split_once('>').expect("a whole tag");
                assert!(tag.contains(" src="), "inline script");
                assert!(rest.trim_start().starts_with("</script>"), "inline script");
            }
            for handler in [" onload=", " onclick=", " onerror="] {
                assert!(!document.contains(handler));
            }
        }
    }

    #[test]
    fn the_worker_keeps_what_the_chat_needs_and_both_are_of_one_build() {
        let (folder, _) = bundled();
        let worker = read(folder.path(), "worker.js").expect("worker.js");
        let [chat, desk] = documents(folder.path());
        let build = worker.split("const BUILD = \"").nth(1).and_then(|rest| rest.split('"').next());
        let build = build.expect("a build");
        assert!(chat.contains(&format!("<meta name=\"quorate-build\" content=\"{build}\">")), "{chat}");
        let files = worker.split("const FILES = [").nth(1).and_then(|rest| rest.split(']').next());
        let files: Vec<&str> = files.expect("files").split(", ").map(|file| file.trim_matches('"')).collect();
        for part in chat.split('"').filter(|part| part.starts_with("/assets/")) {
            assert!(files.contains(&part), "{part} is not among {files:?}");
        }
        for file in &files {
            let name = if *file == "/" { "index.html" } else { &file[1..] };
            assert!(folder.path().join(name).is_file(), "{file}");
            assert!(!file.contains("/desk"), "{file} is the desk's");
        }
        assert!(files.iter().any(|file| file.starts_with("/assets/words-de-")), "{files:?}");
        assert!(desk.contains("/assets/desk-"));
        assert!(!worker.contains("/assets/desk-") && !worker.contains("/api/"));
    }

    #[test]
    fn another_program_is_another_build() {
        let build = |programs: &Programs| {
            build_of(&page(), &programs.chat, &["/assets/icon-1.svg"]).expect("a build")
        };
        let (one, mut other) = (bound(), bound());
        assert_eq!(build(&one), build(&other));
        other.desk.js.push(';');
        assert_eq!(build(&one), build(&other), "the desk's is its own");
        other.chat.wasm.push(0);
        assert_ne!(build(&one), build(&other));
    }

    #[test]
    fn the_manifest_names_pictures_that_are_there() {
        let (folder, _) = bundled();
        let manifest = read(folder.path(), "manifest.webmanifest").expect("a manifest");
        let mut pictures = 0;
        for part in manifest.split('"').filter(|part| part.starts_with("/assets/")) {
            let picture = std::fs::read(folder.path().join(&part[1..])).expect("a picture");
            assert!(picture.starts_with(b"\x89PNG"), "{part}");
            pictures += 1;
        }
        assert_eq!(pictures, 3);
    }

    #[test]
    fn the_same_input_makes_the_same_names() {
        let ((_a, first), (_b, second)) = (bundled(), bundled());
        let names = |report: &Report| report.sizes.iter().map(|size| size.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&first), names(&second));
    }

    #[test]
    fn compressed_siblings_hold_the_same_bytes() {
        let (folder, report) = bundled();
        for size in &report.sizes {
            let raw = std::fs::read(folder.path().join(&size.name)).expect("raw");
            let squeezed = std::fs::read(folder.path().join(format!("{}.br", size.name))).expect("br");
            let mut back = Vec::new();
            brotli::BrotliDecompress(&mut squeezed.as_slice(), &mut back).expect("brotli");
            assert_eq!(raw, back, "{}", size.name);
        }
    }

    #[test]
    fn comments_go_and_rules_stay() {
        assert_eq!(without_comments("/* a */\n  b { c: d } /* e\n */\n\n f {}\n"), "b { c: d }\nf {}\n");
        assert!(fill("{{a}} {{b}}", &[("{{a}}", "1")]).is_err());
        assert!(fill("none", &[("{{a}}", "1")]).is_err());
    }
}
