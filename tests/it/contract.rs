//! `openapi.yaml` as a test reads it: its operations, its references and what is written at a place.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// The methods that an OpenAPI path may have.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// The contract.
pub(crate) struct Contract(pub(crate) Value);

/// One operation of it.
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) description: Value,
}

impl Contract {
    pub(crate) fn read() -> Self {
        Self(serde_saphyr::from_str(&text("openapi.yaml")).expect("the contract is YAML"))
    }

    /// Every operation, by path and method.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().expect("paths");
        let each = paths.iter().flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item");
            let methods = item
                .iter()
                .filter(|(key, _)| METHODS.contains(&key.as_str()));
            methods.map(|(method, description)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                description: description.clone(),
            })
        });
        each.collect()
    }

    /// What stands at a JSON pointer, with references followed. The test fails where there is nothing.
    #[track_caller]
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        let value = self.0.pointer(pointer);
        self.resolved(value.unwrap_or_else(|| panic!("the contract has no {pointer}")))
    }

    /// A JSON pointer, or the one that a reference there leads to.
    #[track_caller]
    pub(crate) fn place(&self, pointer: &str) -> String {
        let value = self.0.pointer(pointer);
        let value = value.unwrap_or_else(|| panic!("the contract has no {pointer}"));
        match value["$ref"].as_str() {
            Some(reference) => self.place(reference.trim_start_matches('#')),
            None => pointer.to_owned(),
        }
    }

    /// A value, or what it refers to.
    #[track_caller]
    pub(crate) fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.at(reference.trim_start_matches('#')),
            None => value,
        }
    }
}

/// Every reference under a value.
pub(crate) fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields
                .get("$ref")
                .and_then(Value::as_str)
                .map(str::to_owned);
            own.into_iter()
                .chain(fields.values().flat_map(references))
                .collect()
        }
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// A file of the repository.
pub(crate) fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
