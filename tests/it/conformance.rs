//! Every answer that a test gets, against what `openapi.yaml` says of it: status, headers, media type, body.

use std::collections::HashMap;
use std::sync::LazyLock;

use jsonschema::{Registry, Validator};
use reqwest::Method;
use serde_json::{Value, json};

use crate::contract::Contract;
use crate::server::Answer;

/// Where the schemas stand for the references to them.
const BASE: &str = "urn:gradientd";

/// The contract and its schemas, compiled once for all tests of the process.
static CONFORMANCE: LazyLock<Conformance> = LazyLock::new(Conformance::read);

/// The contract, and a validator for the place of each schema of a body.
pub(crate) struct Conformance {
    pub(crate) contract: Contract,
    validators: HashMap<String, Validator>,
}

/// What is wrong with the answer to a request; empty where it is what the contract says.
pub(crate) fn faults(method: &Method, path: &str, answer: &Answer) -> Vec<String> {
    // A browser's question before it asks is no operation, and what is compressed was read without decoding it.
    if method == Method::OPTIONS || !answer.header("content-encoding").is_empty() {
        return Vec::new();
    }
    let method = if method == Method::HEAD {
        "get"
    } else {
        method.as_str()
    };
    CONFORMANCE.faults(&method.to_lowercase(), path, answer)
}

impl Conformance {
    pub(crate) fn read() -> Self {
        let contract = Contract::read();
        let registry = Registry::new().add(BASE, contract.0.clone());
        let registry = registry.and_then(jsonschema::RegistryBuilder::prepare);
        let registry = registry.expect("the contract is a resource");
        let compile = |place: String| {
            let fragment = place.replace('{', "%7B").replace('}', "%7D");
            let schema = json!({"$ref": format!("{BASE}#{fragment}")});
            let options = jsonschema::options().with_registry(&registry);
            let validator = options.should_validate_formats(true).build(&schema);
            let validator = validator.unwrap_or_else(|error| panic!("{place}: {error}"));
            (place, validator)
        };
        let validators = places(&contract).into_iter().map(compile).collect();
        Self {
            contract,
            validators,
        }
    }

    /// What is wrong with a value for the schema at a place.
    pub(crate) fn broken(&self, place: &str, value: &Value) -> Vec<String> {
        let place = self.contract.place(place);
        let errors = self.validators[&place].iter_errors(value);
        let said = errors.map(|error| format!("{}: {error}", error.instance_path()));
        said.collect()
    }

    fn faults(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let Some(template) = self.template(path) else {
            return self.refusal("404", answer);
        };
        let operation = format!("/paths/{}/{method}", escaped(template));
        if self.contract.0.pointer(&operation).is_none() {
            return self.refusal("405", answer);
        }
        let status = answer.status.as_u16();
        let status = if status == 500 {
            "default"
        } else {
            answer.status.as_str()
        };
        let listed = [
            format!("{operation}/responses/{status}"),
            format!("/x-any-request/{status}"),
        ];
        let response = listed
            .iter()
            .find(|place| self.contract.0.pointer(place).is_some());
        let Some(response) = response else {
            return vec![format!("{method} {template} lists no status {status}")];
        };
        self.response_faults(response, answer)
    }

    /// The faults of an answer to what is no operation.
    fn refusal(&self, status: &str, answer: &Answer) -> Vec<String> {
        if answer.status.as_str() != status {
            let any = format!("/x-any-request/{}", answer.status.as_str());
            if self.contract.0.pointer(&any).is_some() {
                return self.response_faults(&any, answer);
            }
            return vec![format!(
                "{} where the contract has no operation",
                answer.status
            )];
        }
        self.response_faults(&format!("/x-no-operation/{status}"), answer)
    }

    fn response_faults(&self, response: &str, answer: &Answer) -> Vec<String> {
        let response = self.contract.place(response);
        let described = self.contract.at(&response);
        let headers = described["headers"].as_object().into_iter().flatten();
        let required =
            headers.filter(|(_, header)| self.contract.resolved(header)["required"] == true);
        let mut faults: Vec<_> = required
            .filter(|(name, _)| answer.header(name).is_empty())
            .map(|(name, _)| format!("{name} is missing"))
            .collect();
        let Some(content) = described.get("content") else {
            faults.extend(
                (!answer.bytes.is_empty()).then(|| "a body where there is none".to_owned()),
            );
            return faults;
        };
        let given = answer.header("content-type");
        let media_type = given.split(';').next().unwrap_or("");
        if content.get(media_type).is_none() {
            faults.push(format!("the media type {given:?} is not listed"));
        } else if media_type.ends_with("json") && !answer.bytes.is_empty() {
            let schema = format!("{response}/content/{}/schema", escaped(media_type));
            faults.extend(self.broken(&schema, &answer.json()));
        }
        faults
    }

    /// The path of the contract that a path is an instance of: of several, the one with the fewest gaps.
    fn template(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or(path);
        let pieces: Vec<_> = path.split('/').collect();
        let fits = |template: &&String| {
            let gaps: Vec<_> = template.split('/').collect();
            let fits = |(gap, piece): (&&str, &&str)| {
                if gap.starts_with('{') {
                    !piece.is_empty()
                } else {
                    gap == piece
                }
            };
            gaps.len() == pieces.len() && gaps.iter().zip(&pieces).all(fits)
        };
        let paths = self.contract.0["paths"].as_object().expect("paths");
        let fitting = paths.keys().filter(fits);
        fitting
            .min_by_key(|template| template.matches('{').count())
            .map(String::as_str)
    }
}

/// A key as a JSON pointer writes it.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The places of all schemas of bodies, with references followed.
fn places(contract: &Contract) -> Vec<String> {
    let mut bodies = Vec::new();
    for operation in contract.operations() {
        let at = format!(
            "/paths/{}/{}",
            escaped(&operation.path),
            operation.method.to_lowercase()
        );
        if operation.description.get("requestBody").is_some() {
            bodies.push(contract.place(&format!("{at}/requestBody")));
        }
        let statuses = operation.description["responses"]
            .as_object()
            .expect("responses");
        bodies.extend(
            statuses
                .keys()
                .map(|status| contract.place(&format!("{at}/responses/{status}"))),
        );
    }
    for place in ["/x-no-operation", "/x-any-request"] {
        let refusals = contract.at(place).as_object().expect("responses");
        let refusals = refusals.keys();
        bodies.extend(refusals.map(|status| contract.place(&format!("{place}/{status}"))));
    }
    let mut places = Vec::new();
    for body in bodies {
        let content = contract.at(&body)["content"].as_object();
        for (media_type, described) in content.into_iter().flatten() {
            if described.get("schema").is_some() {
                places.push(
                    contract.place(&format!("{body}/content/{}/schema", escaped(media_type))),
                );
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    places
}
