//! Sizes, for people and for limits.

use std::fmt;

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

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each file without its compressed siblings.
    pub sizes: Vec<Size>,
}

impl Report {
    /// What a browser must have before the page runs: JavaScript and wasm, in brotli.
    pub fn boot_brotli_bytes(&self) -> u64 {
        let boots = |size: &&Size| size.name.ends_with(".js") || size.name.ends_with(".wasm");
        self.sizes.iter().filter(boots).map(|size| size.brotli).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.sizes.iter().map(|size| size.name.len()).max().unwrap_or(0);
        writeln!(f, "{:width$}  {:>9} {:>9} {:>9}", "file", "bytes", "brotli", "gzip")?;
        for size in &self.sizes {
            writeln!(f, "{:width$}  {:>9} {:>9} {:>9}", size.name, size.raw, size.brotli, size.gzip)?;
        }
        write!(f, "JavaScript and wasm in brotli: {} bytes", self.boot_brotli_bytes())
    }
}
