//! The service worker: which files it keeps, and the name of the build that it and the page belong to.

use anyhow::ensure;

/// Hex digits of a build's name.
const BUILD_DIGITS: usize = 16;

/// The name of a build: another one whenever any of these differs. Names of assets carry their content.
pub(crate) fn build_of(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // With its length: what moves from one part to the next is another build.
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..BUILD_DIGITS].to_owned()
}

/// The page's address and those of all files that these documents name, each once, in the order of their first mention.
pub(crate) fn files_of(documents: &[&str]) -> Vec<String> {
    let mut files = vec!["/".to_owned()];
    for document in documents {
        for part in document.split('"') {
            let is_file = part.starts_with("/assets/") || part == "/manifest.webmanifest";
            if is_file && !files.iter().any(|file| file == part) {
                files.push(part.to_owned());
            }
        }
    }
    files
}

/// The files as JavaScript writes a list.
///
/// # Errors
/// One of them has a character that would need to be escaped; the bundler names none so.
pub(crate) fn list_of(files: &[String]) -> anyhow::Result<String> {
    for file in files {
        let plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
        ensure!(plain, "{file} is no plain address");
    }
    Ok(format!("[\"{}\"]", files.join("\", \"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_another_one_when_anything_differs() {
        let build = build_of(&["a", "bc"]);
        assert_eq!(build.len(), BUILD_DIGITS);
        assert_eq!(build, build_of(&["a", "bc"]));
        assert_ne!(build, build_of(&["ab", "c"]));
        assert_ne!(build, build_of(&["a", "bd"]));
    }

    #[test]
    fn the_files_are_those_that_are_named_each_once() {
        let index =
            "<link href=\"/assets/a-1.css\"><script src=\"/assets/b-2.js\"></script><a href=\"/desk\">";
        let boot = "import init from \"/assets/c-3.js\"; import \"/assets/b-2.js\";";
        let files = files_of(&[index, boot]);
        assert_eq!(files, ["/", "/assets/a-1.css", "/assets/b-2.js", "/assets/c-3.js"]);
        assert_eq!(
            list_of(&files).expect("plain"),
            "[\"/\", \"/assets/a-1.css\", \"/assets/b-2.js\", \"/assets/c-3.js\"]"
        );
        assert!(list_of(&["/assets/\"".to_owned()]).is_err());
    }
}
