//! The table of routes as an OpenAPI 3.1 document.

use std::sync::LazyLock;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use quorate_proto::error::ERRORS;
use quorate_proto::rest::{Problem, REFRESH_COOKIE};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use warp::reply::Response;

use super::route::{Access, Route};
use super::{Answer, Call, PROBLEM_TYPE, table};

/// The same for every call: made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&table()).to_string());

pub(super) async fn serve(_: Call) -> Answer {
    let mut response = Response::new(DOCUMENT.as_str().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

pub(super) fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes {
        let at = paths.entry(route.path).or_insert_with(|| json!({}));
        at[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut generator, &problem);
    }
    paths.insert("/ws".to_owned(), json!({ "get": socket(&problem) }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "REST beside the socket. Errors are problem details (RFC 9457) with the protocol's own error \
                            inside. HEAD is served wherever GET is.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "refresh": { "type": "apiKey", "in": "cookie", "name": REFRESH_COOKIE },
            },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": place(name) }))
        .collect();
    if let Some(query) = route.query {
        parameters.extend(fields(&query(generator)));
    }
    if route.writes {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "One key makes one write, whatever is retried.",
            "schema": { "type": "string", "format": "uuid" },
        }));
    }
    let mut responses = Map::new();
    for status in route.statuses() {
        responses.insert(status.to_string(), answer_of(status, problem));
    }
    for success in &route.successes {
        let status = success.status.as_u16().to_string();
        let mut response = json!({ "description": success.what });
        // One status may have several media types.
        if let Some(other) =
            responses.get(&status).filter(|other| other["content"].get(PROBLEM_TYPE).is_none())
        {
            response["content"] = other["content"].clone();
        }
        if let Some(schema) = success.schema {
            let schema = if success.media == "application/json" && is_text(&schema(generator)) {
                json!({})
            } else {
                schema(generator).into()
            };
            response["content"][success.media] = json!({ "schema": schema });
        }
        responses.insert(status, response);
    }
    let mut operation = json!({
        "operationId": operation_id(&route.method, route.path),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    match route.access {
        Access::Open => {}
        Access::Bearer => operation["security"] = json!([{ "bearer": [] }]),
        Access::Cookie => operation["security"] = json!([{ "refresh": [] }]),
    }
    if route.streams {
        let schema = json!({ "type": "string", "format": "binary" });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/octet-stream": { "schema": schema } } });
    }
    if let Some(body) = route.body {
        let schema = body(generator);
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// A document or a status in JSON whose form is nobody's contract.
fn is_text(schema: &Schema) -> bool {
    schema.get("type").is_some_and(|kind| kind == "string")
}

fn problem_response(status: u16, problem: &Schema) -> Value {
    let words: Vec<&str> =
        ERRORS.iter().filter(|row| row.http_status == status).map(|row| row.word).collect();
    let words = if words.is_empty() {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        reason.unwrap_or("refused").to_ascii_lowercase()
    } else {
        words.join(", ")
    };
    json!({ "description": words, "content": { PROBLEM_TYPE: { "schema": problem } } })
}

/// What is no error has no problem.
fn answer_of(status: u16, problem: &Schema) -> Value {
    match status {
        206 => json!({
            "description": "The range that was asked for",
            "content": { "application/octet-stream": { "schema": { "type": "string" } } },
        }),
        304 => json!({ "description": "The caller has it already" }),
        status => problem_response(status, problem),
    }
}

/// What may stand in a place of a path.
fn place(name: &str) -> Value {
    match name {
        "id" => json!({ "type": "integer", "minimum": 1, "description": "A conversation's number" }),
        "scheduled" | "report" => json!({ "type": "integer", "minimum": 1 }),
        "sequence" => json!({ "type": "integer", "minimum": 1, "description": "A message's sequence" }),
        "token" => {
            json!({ "type": "string", "minLength": 1, "description": "A token's id; of an incoming webhook the token" })
        }
        "session" | "file" => json!({ "type": "string", "format": "uuid" }),
        "number" => json!({ "type": "integer", "minimum": 0, "description": "A chunk's number" }),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

/// The fields of a query string, each a parameter.
fn fields(schema: &Schema) -> Vec<Value> {
    let Some(Value::Object(properties)) = schema.get("properties") else { return Vec::new() };
    let field = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.get("description").cloned().unwrap_or_default();
        if let Some(object) = schema.as_object_mut() {
            object.remove("description");
            object.remove("default");
            // Absent, not null: a query string has no null.
            if let Some(Value::Array(kinds)) = object.get("type") {
                let kind = kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default();
                object.insert("type".to_owned(), kind);
            }
        }
        json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
    };
    properties.iter().map(field).collect()
}

fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split('/').filter(|part| !part.is_empty() && *part != "api" && *part != "v1");
    let words: Vec<&str> = words.map(|part| part.trim_matches(['{', '}'])).collect();
    format!("{}_{}", method.as_str().to_ascii_lowercase(), words.join("_").replace('.', "_"))
}

/// The socket is no call; what an upgrade may be answered is.
fn socket(problem: &Schema) -> Value {
    let mut responses = Map::new();
    for status in [400, 403, 405, 431] {
        responses.insert(status.to_string(), problem_response(status, problem));
    }
    responses
        .insert("101".to_owned(), json!({ "description": "The browser protocol, see proto/PROTOCOL.md" }));
    json!({ "operationId": "get_ws", "summary": "The WebSocket", "responses": responses })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reference_of_the_document_leads_somewhere_and_ids_are_unique() {
        let document = document(&table());
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(ids.insert(id), "{method} {path} has another's id");
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            }
        }
        let text = document.to_string();
        let mut seen = 0;
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
            seen += 1;
        }
        assert!(seen > 20, "only {seen} references");
    }

    #[test]
    fn query_fields_are_parameters_with_their_words() {
        let document = document(&table());
        let parameters = &document["paths"]["/api/v1/conversations/{id}/messages"]["get"]["parameters"];
        let before = parameters.as_array().unwrap().iter().find(|each| each["name"] == "before").unwrap();
        assert_eq!((&before["in"], &before["schema"]["type"]), (&json!("query"), &json!("integer")));
        assert!(before["description"].as_str().unwrap().contains("before this sequence"));
    }
}
