//! The form of `openapi.yaml`: objects that name all they have, and descriptions that are whole.

use serde_json::Value;

use crate::contract::Contract;

/// The places under a value of objects with properties that do not say whether there may be others.
fn open(place: &str, value: &Value) -> Vec<String> {
    let under: Vec<_> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let is_open = value["type"] == "object"
        && value["properties"].is_object()
        && value["additionalProperties"].is_null();
    let own = is_open.then(|| place.to_owned());
    let deeper = under
        .into_iter()
        .flat_map(|(key, value)| open(&format!("{place}/{key}"), value));
    own.into_iter().chain(deeper).collect()
}

#[test]
fn no_object_has_properties_that_the_contract_does_not_name() {
    assert_eq!(open("", &Contract::read().0), Vec::<String>::new());
}

/// The places of keys that are no words: what an unquoted comma of YAML makes of a description.
fn broken_keys(place: &str, value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else {
        let values = value.as_array().into_iter().flatten();
        return values.flat_map(|value| broken_keys(place, value)).collect();
    };
    let each = fields.iter().flat_map(|(key, value)| {
        let own = (key.contains(' ') || key.ends_with('.')).then(|| format!("{place}/{key}"));
        let deeper = broken_keys(&format!("{place}/{key}"), value);
        let deeper = if key.starts_with("example") || key == "default" {
            Vec::new()
        } else {
            deeper
        };
        own.into_iter().chain(deeper).collect::<Vec<_>>()
    });
    each.collect()
}

#[test]
fn no_description_is_cut_short_by_a_comma() {
    assert_eq!(broken_keys("", &Contract::read().0), Vec::<String>::new());
}
