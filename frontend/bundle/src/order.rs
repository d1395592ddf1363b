//! The order of a wasm's functions: like stands beside like. Generic code is in a page a hundred times with small differences, and brotli
//! says more cheaply what came a short while ago than what came long before: 4 % of the page, for nothing that a browser could notice.
//!
//! Owns: the numbers of the functions. Must not know: what the functions do.

mod alike;
#[cfg(test)]
mod tests;

use anyhow::Context;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, CustomSectionReader, FunctionSectionReader, Parser, Payload, TypeRef};

/// The same program with its functions in another order, and without custom sections, which no browser reads.
///
/// # Errors
/// `wasm` is no core module.
pub(crate) fn reorder(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut imported: u32 = 0;
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.context("reading the wasm")? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.as_bytes()),
            _ => {}
        }
    }
    let order = alike::order(&bodies);
    let mut numbers: Vec<u32> = (0..imported).chain(order.iter().map(|_| 0)).collect();
    for (number, old) in (imported..).zip(&order) {
        numbers[imported as usize + old] = number;
    }
    let mut module = Module::new();
    Reorder { order, numbers }
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow::anyhow!("ordering the wasm's functions: {error}"))?;
    Ok(module.finish())
}

/// What it takes to write a module anew.
struct Reorder {
    /// Former places of the module's own functions, in their new order.
    order: Vec<usize>,
    /// The new number of each function by its former one, the imported first, which keep theirs.
    numbers: Vec<u32>,
}

/// Of a module that counts its functions differently in one section than in another.
const NOT_THERE: Error<&str> = Error::UserError("a function is named that is not there");

impl Reencode for Reorder {
    type Error = &'static str;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<&'static str>> {
        self.numbers.get(function as usize).copied().ok_or(NOT_THERE)
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<&'static str>> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for old in &self.order {
            functions.function(*types.get(*old).ok_or(NOT_THERE)?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<&'static str>> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for old in self.order.clone() {
            let body = bodies.get(old).ok_or(NOT_THERE)?;
            self.parse_function_body(code, body.clone())?;
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: CustomSectionReader<'_>,
    ) -> Result<(), Error<&'static str>> {
        Ok(())
    }
}
