//! JSON Schemas of the frames, made from their types, and the tests that hold the written protocol to those types.
//!
//! `proto/schema/client.schema.json` and `server.schema.json` are these, kept in the repository for clients in other
//! languages. After a change of the frames: `QUORATE_WRITE_SCHEMAS=1 cargo test -p quorate-proto --features schema schema`.

use schemars::{JsonSchema, Schema};

use crate::frame::{ClientFrame, ServerFrame};

/// What a client may say.
pub fn client() -> Schema {
    of::<ClientFrame>()
}

/// What a server may say.
pub fn server() -> Schema {
    of::<ServerFrame>()
}

fn of<T: JsonSchema>() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    /// The fields that tell one shape from another.
    const TAGS: [&str; 4] = ["type", "kind", "action", "signal"];

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    #[test]
    fn the_schemas_in_the_repository_are_those_of_the_types() {
        for (name, schema) in [("client", client()), ("server", server())] {
            let path = file(&format!("schema/{name}.schema.json"));
            let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            if std::env::var_os("QUORATE_WRITE_SCHEMAS").is_some() {
                std::fs::write(&path, &text).expect("the repository can be written");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "{} is not current: see the top of proto/src/schema.rs", path.display());
        }
    }

    /// The lines of the code block that follows a heading of `PROTOCOL.md`.
    fn examples(heading: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(file("PROTOCOL.md")).expect("the specification is there");
        let after = text.split_once(&format!("\n### {heading}\n")).expect("the heading is there").1;
        let block = after.split_once("```json\n").expect("a code block").1;
        let block = block.split_once("```").expect("its end").0;
        block
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Every value that a schema gives one of [`TAGS`].
    fn tags(schema: &Value, found: &mut BTreeSet<(String, String)>) {
        match schema {
            Value::Object(object) => {
                for tag in TAGS {
                    if let Some(Value::String(value)) = schema.pointer(&format!("/properties/{tag}/const")) {
                        found.insert((tag.to_owned(), value.clone()));
                    }
                }
                object.values().for_each(|value| tags(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| tags(value, found)),
            _ => {}
        }
    }

    /// Every value that an example gives one of [`TAGS`].
    fn shown(example: &Value, found: &mut BTreeSet<(String, String)>) {
        match example {
            Value::Object(object) => {
                for tag in TAGS {
                    if let Some(Value::String(value)) = object.get(tag) {
                        found.insert((tag.to_owned(), value.clone()));
                    }
                }
                object.values().for_each(|value| shown(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| shown(value, found)),
            _ => {}
        }
    }

    fn golden<T: Serialize + DeserializeOwned>(heading: &str, schema: &Schema) {
        let (mut wanted, mut seen) = (BTreeSet::new(), BTreeSet::new());
        tags(&serde_json::to_value(schema).expect("JSON"), &mut wanted);
        assert!(wanted.len() >= 10, "{heading}: the schema names only {wanted:?}");
        for example in examples(heading) {
            let frame: T =
                serde_json::from_value(example.clone()).unwrap_or_else(|e| panic!("{e}: {example}"));
            assert_eq!(serde_json::to_value(&frame).expect("JSON"), example, "is not what the types write");
            shown(&example, &mut seen);
        }
        let missing: Vec<_> = wanted.difference(&seen).collect();
        assert!(missing.is_empty(), "{heading}: no example in PROTOCOL.md of {missing:?}");
    }

    #[test]
    fn every_frame_has_an_example_that_reads_and_writes_the_same() {
        golden::<ClientFrame>("Frames of a client", &client());
        golden::<ServerFrame>("Frames of a server", &server());
    }
}
