//! The files of the page: names by content, references, compressed siblings.
//!
//! The content security policy forbids inline script and style, so everything is a file: `boot.js` starts the wasm and
//! carries the theme over before the first paint.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::build::Bound;
use crate::report::{Report, Size};

/// Hex digits of a file's BLAKE3 in its name: 64 bits tell apart more versions than anybody makes.
const HASH_DIGITS: usize = 16;
/// No single file of the page is this large; a build that makes one has gone wrong.
const ASSET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes the page into `staging`, which is empty but for `assets/`.
pub(crate) fn write(
    staging: &Path,
    page: &Path,
    bound: &Bound,
    brotli_quality: u32,
) -> anyhow::Result<Report> {
    let mut writer = Writer { staging, brotli_quality, sizes: Vec::new() };
    let wasm = writer.asset("quorate", "wasm", &bound.wasm)?;
    let glue = writer.asset("quorate", "js", bound.js.as_bytes())?;
    let icon = writer.asset("icon", "svg", read(page, "icon.svg")?.as_bytes())?;
    let style = writer.asset("style", "css", styles(page)?.as_bytes())?;
    let theme = writer.asset("theme", "js", read(page, "theme.js")?.as_bytes())?;
    let boot = fill(&read(page, "boot.js")?, &[("{{glue}}", &glue), ("{{wasm}}", &wasm)])?;
    let boot = writer.asset("boot", "js", boot.as_bytes())?;
    let index = fill(
        &read(page, "index.html")?,
        &[
            ("{{theme}}", &theme),
            ("{{style}}", &style),
            ("{{icon}}", &icon),
            ("{{boot}}", &boot),
            ("{{glue}}", &glue),
            ("{{wasm}}", &wasm),
        ],
    )?;
    writer.file("index.html", index.as_bytes())?;
    Ok(Report { sizes: writer.sizes })
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

struct Writer<'a> {
    staging: &'a Path,
    brotli_quality: u32,
    sizes: Vec<Size>,
}

impl Writer<'_> {
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
        // A window of 4 MiB: no file of the page is far larger.
        let mut writer = brotli::CompressorWriter::new(&mut compressed, 64 * 1024, quality, 22);
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

    fn bound() -> Bound {
        Bound { js: "export default 1".into(), wasm: b"\0asm".to_vec() }
    }

    fn bundled() -> (tempfile::TempDir, Report) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("assets")).expect("assets");
        let report = write(folder.path(), &page(), &bound(), 5).expect("written");
        (folder, report)
    }

    #[test]
    fn every_reference_of_the_index_is_a_file() {
        let (folder, _) = bundled();
        let index = std::fs::read_to_string(folder.path().join("index.html")).expect("index");
        let mut references = 0;
        for part in index.split('"').filter(|part| part.starts_with("/assets/")) {
            assert!(folder.path().join(&part[1..]).is_file(), "{part}");
            references += 1;
        }
        assert!(references >= 6, "{index}");
    }

    #[test]
    fn the_policy_holds_no_inline_script_or_style() {
        let (folder, _) = bundled();
        let index = std::fs::read_to_string(folder.path().join("index.html")).expect("index");
        assert!(!index.contains("<style") && !index.contains(" style="), "inline style");
        for script in index.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').expect("a whole tag");
            assert!(tag.contains(" src="), "inline script");
            assert!(rest.trim_start().starts_with("</script>"), "inline script");
        }
        for handler in [" onload=", " onclick=", " onerror="] {
            assert!(!index.contains(handler));
        }
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
