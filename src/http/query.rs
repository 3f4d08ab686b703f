//! Queries: parameters read by name, all faults reported together, unknown ones refused.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::http::problem::{INVALID_QUERY, Problem};
use crate::model::{Violations, escaped, known};
use crate::store::PageQuery;

/// A query of type `T`.
pub(crate) struct Query<T>(pub(crate) T);

/// What a query is read into.
pub(crate) trait FromQuery: Sized {
    /// Takes its parameters; what is wrong is noted there.
    fn read(parameters: &mut Parameters) -> Self;
}

/// The parameters of a query, and what is wrong with them.
#[derive(Default)]
pub(crate) struct Parameters {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Violations,
}

impl<S: Send + Sync, T: FromQuery> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(given) =
            pairs.map_err(|rejection| Problem::new(INVALID_QUERY, rejection.body_text()))?;
        let mut parameters = Parameters {
            given,
            ..Parameters::default()
        };
        let read = T::read(&mut parameters);
        parameters.finish()?;
        Ok(Self(read))
    }
}

impl Parameters {
    /// A parameter as it stands.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let (found, left) = std::mem::take(&mut self.given)
            .into_iter()
            .partition::<Vec<_>, _>(|(given, _)| given == name);
        self.given = left;
        if found.len() > 1 {
            let detail = format!("must be given once, got {}", found.len());
            self.violations.add(format!("/{name}"), detail);
        }
        found.into_iter().next().map(|(_, value)| value)
    }

    /// A parameter that must be there. Empty where it is not, which is noted.
    pub(crate) fn required(&mut self, name: &'static str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.violations.add(format!("/{name}"), "must be given");
            String::new()
        })
    }

    /// Notes what is wrong with a parameter.
    pub(crate) fn refuse(&mut self, name: &'static str, detail: impl Into<String>) {
        self.violations.add(format!("/{name}"), detail);
    }

    /// A whole number within a range.
    pub(crate) fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok();
        let number = number.filter(|number| digits && range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let detail = format!("must be a whole number in [{least}, {most}], got {text:?}");
            self.violations.add(format!("/{name}"), detail);
        }
        number
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let detail = format!("must be one of {}, got {text:?}", known.join(", "));
            self.violations.add(format!("/{name}"), detail);
        }
        found.map(|(_, value)| *value)
    }

    /// The labels of `metadata[key]=value`, each key once.
    pub(crate) fn metadata(&mut self) -> BTreeMap<String, String> {
        self.known.push("metadata[key]");
        let mut labels = BTreeMap::new();
        for (name, value) in std::mem::take(&mut self.given) {
            let key = name.strip_prefix("metadata[");
            match key.and_then(|key| key.strip_suffix(']')) {
                None => self.given.push((name, value)),
                Some("") => {
                    let pointer = format!("/{}", escaped(&name));
                    self.violations
                        .add(pointer, "must name a key, as in metadata[team]=a");
                }
                Some(key) => {
                    if labels.insert(key.to_owned(), value).is_some() {
                        let pointer = format!("/{}", escaped(&name));
                        self.violations.add(pointer, "must be given once");
                    }
                }
            }
        }
        labels
    }

    /// Which part of a list is wanted: `limit`, `after` and `order`.
    pub(crate) fn page(&mut self) -> PageQuery {
        let limit = self.number("limit", 1..=MOST_LIMIT);
        let order = self.word("order", &[("asc", true), ("desc", false)]);
        PageQuery {
            limit: limit.unwrap_or(DEFAULT_LIMIT) as u32,
            after: self.text("after"),
            ascending: order.unwrap_or(false),
        }
    }

    fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in &self.given {
            let known = known(name, &self.known);
            let detail = format!("is no parameter here: {known}");
            self.violations.add(format!("/{}", escaped(name)), detail);
            if self.violations.is_full() {
                break;
            }
        }
        self.violations
            .finish()
            .map_err(|violations| Problem::violations(INVALID_QUERY, violations))
    }
}

/// Rows of a page where the query does not say.
const DEFAULT_LIMIT: u64 = 20;
/// Rows of a page, at most.
const MOST_LIMIT: u64 = 100;

/// The query of a list.
impl FromQuery for PageQuery {
    fn read(parameters: &mut Parameters) -> Self {
        parameters.page()
    }
}

/// No parameter at all.
impl FromQuery for () {
    fn read(_: &mut Parameters) {}
}
