//! The page: files of one folder, compressed beforehand where the build did so.
//!
//! Owns content types and caching. A path never leaves the folder: it is made of plain names only.

use std::path::{Path, PathBuf};

use hyper::StatusCode;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use warp::reply::Response;

/// Largest file served: the page's WebAssembly is far below.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// What is no address inside the page. A browser that is told that there is no worker lets go of the one it has.
const FIXED: [&str; 3] = ["/worker.js", "/worker-off.js", "/manifest.webmanifest"];

/// Said at `/` when no page was built.
const NO_PAGE: &str = "This gateway serves no page: none was built, or page_dir is not set.\n\
    Build it with deploy/up (or cargo run --release -p quorate-bundle) and set page_dir to the folder it names.\n\
    The API is under /api/v1, the socket at /ws.\n";

/// A file, the page for an address inside it, or `None`.
pub(super) async fn answer(dir: Option<&Path>, path: &str, headers: &HeaderMap) -> Option<Response> {
    let Some(dir) = dir else {
        if path != "/" {
            return None;
        }
        let mut response = Response::new(NO_PAGE.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return Some(response);
    };
    let name = match path {
        "/" => Some(PathBuf::from("index.html")),
        // What admins see, and how the page is made: a program of their own.
        "/desk" | "/design" => Some(PathBuf::from("desk.html")),
        _ => relative(path),
    };
    if let Some(name) = name
        && let Some(response) = file(dir, &name, headers).await
    {
        return Some(response);
    }
    // Addresses inside the page: whoever asks for HTML gets the page, which knows what to show.
    let wants_html =
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|v| v.contains("text/html"));
    let is_inside = !path.starts_with("/api/") && !path.starts_with("/assets/") && !FIXED.contains(&path);
    if wants_html && is_inside {
        return file(dir, Path::new("index.html"), headers).await;
    }
    None
}

/// The path below the folder, if it is made of plain names.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for name in path.strip_prefix('/')?.split('/') {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain {
            return None;
        }
        relative.push(name);
    }
    Some(relative)
}

async fn file(dir: &Path, name: &Path, headers: &HeaderMap) -> Option<Response> {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for (encoding, suffix) in [("br", ".br"), ("gzip", ".gz"), ("", "")] {
        if !encoding.is_empty() && !accepts(accepted, encoding) {
            continue;
        }
        let mut path = dir.join(name).into_os_string();
        path.push(suffix);
        let Some(bytes) = read(Path::new(&path)).await else { continue };
        return Some(with_headers(name, encoding, bytes, headers));
    }
    None
}

async fn read(path: &Path) -> Option<Vec<u8>> {
    let meta = tokio::fs::metadata(path).await.ok()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return None;
    }
    tokio::fs::read(path).await.ok()
}

/// Whether an encoding is accepted: listed, and not with a quality of zero.
fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|part| {
        let mut fields = part.split(';').map(str::trim);
        let named = fields.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = fields.any(|field| {
            field.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|quality| quality == 0.0))
        });
        named && !refused
    })
}

fn with_headers(name: &Path, encoding: &'static str, bytes: Vec<u8>, asked: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..24]);
    let fresh =
        asked.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|value| value == etag);
    let mut response = Response::new(if fresh { Vec::new().into() } else { bytes.into() });
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Assets carry a hash in their names: another content is another name.
    let cache = if name.starts_with("assets") { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    if !encoding.is_empty() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn content_type(name: &Path) -> &'static str {
    match name.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn a_path_never_leaves_the_folder() {
        for bad in ["/../x", "/a/../x", "/.git/config", "//x", "/a//b", "/%2e%2e/x", "/a\\b", "x", "/a/"] {
            assert_eq!(relative(bad), None, "{bad}");
        }
        assert_eq!(relative("/assets/app-1a.wasm"), Some(PathBuf::from("assets/app-1a.wasm")));
    }

    #[tokio::test]
    async fn assets_come_compressed_and_for_ever_and_pages_fresh() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("assets")).unwrap();
        std::fs::write(dir.path().join("index.html"), "<!doctype html>").unwrap();
        std::fs::write(dir.path().join("assets/app-1.wasm"), "plain").unwrap();
        std::fs::write(dir.path().join("assets/app-1.wasm.br"), "brotli").unwrap();
        let get = async |path, pairs: &[(&'static str, &'static str)]| {
            answer(Some(dir.path()), path, &headers(pairs)).await
        };
        let asset = get("/assets/app-1.wasm", &[("accept-encoding", "gzip, br;q=0.9")]).await.unwrap();
        assert_eq!(header(&asset, "content-encoding"), "br");
        assert_eq!(header(&asset, "content-type"), "application/wasm");
        assert!(header(&asset, "cache-control").contains("immutable"));
        let plain = get("/assets/app-1.wasm", &[("accept-encoding", "br;q=0")]).await.unwrap();
        assert_eq!(header(&plain, "content-encoding"), "");
        let index = get("/", &[]).await.unwrap();
        assert_eq!(header(&index, "cache-control"), "no-cache");
        let inside = get("/c/7", &[("accept", "text/html,*/*")]).await.unwrap();
        assert_eq!(header(&inside, "content-type"), "text/html; charset=utf-8");
        assert!(get("/c/7", &[]).await.is_none());
        assert!(get("/api/v1/nothing", &[("accept", "text/html")]).await.is_none());
        assert!(get("/assets/gone.js", &[("accept", "text/html")]).await.is_none());
    }

    #[tokio::test]
    async fn worker_and_manifest_are_asked_for_each_time_and_nothing_stands_in_for_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("index.html"), "<!doctype html>").unwrap();
        let accept = headers(&[("accept", "text/html,*/*"), ("accept-encoding", "br")]);
        for (path, kind) in [
            ("/worker.js", "text/javascript; charset=utf-8"),
            ("/worker-off.js", "text/javascript; charset=utf-8"),
            ("/manifest.webmanifest", "application/manifest+json"),
        ] {
            assert!(answer(Some(dir.path()), path, &accept).await.is_none(), "{path} is not there");
            std::fs::write(dir.path().join(&path[1..]), "x").unwrap();
            std::fs::write(dir.path().join(format!("{}.br", &path[1..])), "squeezed").unwrap();
            let there = answer(Some(dir.path()), path, &accept).await.unwrap();
            assert_eq!(header(&there, "content-type"), kind);
            assert_eq!(header(&there, "cache-control"), "no-cache");
            assert_eq!(header(&there, "content-encoding"), "br");
            let mut again = accept.clone();
            again.insert(IF_NONE_MATCH, HeaderValue::from_str(header(&there, "etag")).unwrap());
            let same = answer(Some(dir.path()), path, &again).await.unwrap();
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        }
        std::fs::create_dir(dir.path().join("assets")).unwrap();
        std::fs::write(dir.path().join("assets/icon-192-0.png"), "x").unwrap();
        let icon = answer(Some(dir.path()), "/assets/icon-192-0.png", &HeaderMap::new()).await.unwrap();
        assert_eq!(header(&icon, "content-type"), "image/png");
        assert!(header(&icon, "cache-control").contains("immutable"));
    }

    #[tokio::test]
    async fn without_a_page_the_root_says_how_to_build_one() {
        assert!(answer(None, "/", &HeaderMap::new()).await.is_some());
        assert!(answer(None, "/x", &HeaderMap::new()).await.is_none());
    }
}
