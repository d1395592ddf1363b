//! From a WebSocket message to frames. Pure.

use quorate_proto::frame::{ClientFrame, REQUEST_TYPES};
use serde_json::Value;

/// One element of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A frame.
    Frame(ClientFrame),
    /// A type that this gateway does not know.
    Unsupported {
        /// The frame's id, 0 if it has none.
        id: u64,
        /// The type.
        name: String,
    },
    /// A known type whose fields are not as they must be.
    Invalid {
        /// The frame's id, 0 if it has none.
        id: u64,
        /// What is wrong.
        what: String,
    },
}

/// Reads a message: one object or an array of them. The error says why it is no such thing; the socket ends there.
pub fn parse(text: &str) -> Result<Vec<Parsed>, String> {
    // The common case first: one well-formed frame.
    if let Ok(frame) = serde_json::from_str::<ClientFrame>(text) {
        return Ok(vec![Parsed::Frame(frame)]);
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(items)) => items.into_iter().map(element).collect(),
        Ok(value) => Ok(vec![element(value)?]),
        Err(error) => Err(format!("no JSON: {error}")),
    }
}

fn element(value: Value) -> Result<Parsed, String> {
    let Value::Object(object) = &value else { return Err("a frame is a JSON object".to_owned()) };
    let id = object.get("id").and_then(Value::as_u64).unwrap_or(0);
    let Some(name) = object.get("type").and_then(Value::as_str) else {
        return Err("a frame has a `type`".to_owned());
    };
    if !REQUEST_TYPES.contains(&name) {
        return Ok(Parsed::Unsupported { id, name: name.chars().take(40).collect() });
    }
    Ok(match serde_json::from_value(value) {
        Ok(frame) => Parsed::Frame(frame),
        Err(error) => Parsed::Invalid { id, what: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use quorate_proto::frame::Request;

    use super::*;

    #[test]
    fn an_object_and_an_array_are_read() {
        let one = parse(r#"{"type":"pong","n":3}"#).unwrap();
        assert_eq!(one, [Parsed::Frame(ClientFrame { id: 0, request: Request::Pong { n: 3 } })]);
        let two = parse(r#"[{"type":"pong","n":3},{"type":"open","id":4,"conversation":1}]"#).unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn an_unknown_type_is_told_from_a_malformed_message() {
        let parsed = parse(r#"{"type":"dance","id":9}"#).unwrap();
        assert_eq!(parsed, [Parsed::Unsupported { id: 9, name: "dance".into() }]);
        assert!(matches!(&parse(r#"{"type":"send","id":9}"#).unwrap()[..], [Parsed::Invalid { id: 9, .. }]));
        for bad in
            ["", "{", "7", "\"hi\"", "[1]", "{}", r#"{"type":7}"#, "null", r#"[{"type":"pong","n":1},2]"#]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_deep_nest_is_refused_and_not_followed() {
        assert!(parse(&"[".repeat(60_000)).is_err());
    }
}
