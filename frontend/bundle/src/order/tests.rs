use std::collections::BTreeMap;

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, Module, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{Operator, Validator};

use super::*;

/// What a function does: its constants, and whom it calls, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    constants: Vec<i32>,
    calls: Vec<u32>,
    parameters: usize,
}

/// A module of one imported function and these, each of which drops constants and calls others; all are exported as `f0` and so on
/// under their place here, and stand in the table in this order.
fn module(functions: &[Told]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    imports.import("env", "outside", EntityType::Function(0));
    let (mut section, mut exports, mut code) =
        (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for (at, told) in (0_u32..).zip(functions) {
        section.function(u32::from(told.parameters > 0));
        exports.export(&format!("f{at}"), ExportKind::Func, at + 1);
        let mut body = Function::new([]);
        for constant in &told.constants {
            body.instructions().i32_const(*constant).drop();
        }
        for callee in &told.calls {
            if *callee > 0 && functions[*callee as usize - 1].parameters > 0 {
                body.instructions().i32_const(7);
            }
            body.instructions().call(*callee);
        }
        body.instructions().end();
        code.function(&body);
    }
    let mut tables = TableSection::new();
    let size = functions.len() as u64;
    let element_type = RefType::FUNCREF;
    tables.table(TableType { element_type, minimum: size, maximum: None, table64: false, shared: false });
    let numbers: Vec<u32> = (1..).take(functions.len()).collect();
    let mut elements = ElementSection::new();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions((&numbers).into()));
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&section).section(&tables).section(&exports);
    module.section(&elements).section(&code);
    module.section(&CustomSection { name: "target_features".into(), data: b"x".as_slice().into() });
    module.finish()
}

/// What holds of a module whatever the numbers of its functions.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    /// By export: its constants, the exports that it calls, its type.
    functions: BTreeMap<String, (Vec<i32>, Vec<String>, u32)>,
    /// The exports in the table.
    table: Vec<String>,
}

fn meaning(wasm: &[u8]) -> Meaning {
    Validator::new().validate_all(wasm).expect("valid");
    let (mut names, mut types, mut bodies) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut table = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("a payload") {
            Payload::FunctionSection(section) => {
                types.extend(section.into_iter().map(|one| one.expect("a type")))
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.expect("an export");
                    names.insert(export.index, export.name.to_owned());
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let wasmparser::ElementItems::Functions(items) = element.expect("elements").items else {
                        panic!("functions by number")
                    };
                    table.extend(items.into_iter().map(|item| item.expect("a number")));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::CustomSection(section) => assert_eq!(section.name(), "target_features"),
            _ => {}
        }
    }
    let name = |number: u32| names.get(&number).cloned().unwrap_or_else(|| "outside".to_owned());
    let mut functions = BTreeMap::new();
    for ((number, body), of_type) in (1..).zip(&bodies).zip(types) {
        let (mut constants, mut calls) = (Vec::new(), Vec::new());
        for operator in body.get_operators_reader().expect("operators") {
            match operator.expect("an operator") {
                Operator::I32Const { value } => constants.push(value),
                Operator::Call { function_index } => calls.push(name(function_index)),
                _ => {}
            }
        }
        functions.insert(name(number), (constants, calls, of_type));
    }
    Meaning { functions, table: table.into_iter().map(name).collect() }
}

/// Two kinds of functions that take turns, and call each other and the world outside.
fn mixed() -> Vec<Told> {
    (0_i32..40)
        .map(|at| {
            let kind = at % 2;
            let constants = (0..12).map(|step| kind * 10_000 + step * 77 + at % 3).chain([at]).collect();
            let calls = vec![0, (at as u32 * 7 + 3) % 40 + 1];
            Told { constants, calls, parameters: usize::from(kind == 1) }
        })
        .collect()
}

#[test]
fn a_module_means_the_same_in_another_order_and_like_stands_beside_like() {
    let before = module(&mixed());
    let after = reorder(&before).expect("ordered");
    assert_eq!(meaning(&before), meaning(&after));
    assert_ne!(before, after);
    assert_eq!(after, reorder(&before).expect("ordered"), "the same for the same");
    let is_custom = |payload: Result<Payload<'_>, _>| matches!(payload, Ok(Payload::CustomSection(_)));
    assert!(!Parser::new(0).parse_all(&after).any(is_custom), "custom sections are left out");
    // The types tell the kinds apart: side by side they change once.
    let types = |wasm: &[u8]| -> Vec<u32> {
        let section = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
            Ok(Payload::FunctionSection(section)) => Some(section),
            _ => None,
        });
        section.expect("functions").into_iter().map(|one| one.expect("a type")).collect()
    };
    let changes = |types: Vec<u32>| types.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((changes(types(&before)), changes(types(&after))), (39, 1));
}

#[test]
fn every_body_has_one_place_whatever_it_holds() {
    let bodies: [&[u8]; 7] =
        [b"", b"short", b"a long body of bytes", b"a long body of bites", b"nothing alike", b"", b"a long b"];
    let mut order = alike::order(&bodies);
    assert_eq!(
        order
            .iter()
            .position(|at| *at == 2)
            .expect("there")
            .abs_diff(order.iter().position(|at| *at == 3).expect("there")),
        1
    );
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    assert!(alike::order(&[]).is_empty());
}

#[test]
fn what_is_no_module_is_refused() {
    assert!(reorder(b"\0asm").is_err());
    assert!(reorder(b"a text").is_err());
}
