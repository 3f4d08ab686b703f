//! Wording: what serde has to say of a body, in the words of those who wrote it.

use std::fmt::{self, Display};

use serde::de::{Error, Expected, Unexpected};

use crate::model::known;

/// An error whose text a client can use; where the place is deeper than the reader stands, the text begins with the rest
/// of its pointer and a colon (`/units: must be given`).
#[derive(Debug)]
pub(crate) struct Worded<E>(pub(crate) E);

/// Characters of a value that a message repeats, at most.
const LONGEST_VALUE: usize = 60;

impl<E> Worded<E> {
    pub(crate) fn into_inner(self) -> E {
        self.0
    }
}

impl<E: Display> Display for Worded<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<E: Error> std::error::Error for Worded<E> {}

impl<E: Error> Error for Worded<E> {
    fn custom<T: Display>(text: T) -> Self {
        Self(E::custom(text))
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (wanted, got) = (wanted(got, &expected.to_string()), found(got));
        Self::custom(format_args!("must be {wanted}, got {got}"))
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(got, expected)
    }

    fn unknown_variant(word: &str, words: &'static [&'static str]) -> Self {
        let (word, known) = (cut(word), known(word, words));
        Self::custom(format_args!("unknown `{word}`: {known}"))
    }

    fn unknown_field(field: &str, fields: &'static [&'static str]) -> Self {
        let (field, known) = (cut(field), known(field, fields));
        Self::custom(format_args!("unknown field `{field}`: {known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("/{field}: must be given"))
    }
}

/// What must stand there, from the name that serde gives it.
fn wanted(got: Unexpected<'_>, expected: &str) -> String {
    let most = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "i64" => i64::MAX as u64,
        "u64" | "usize" => u64::MAX,
        "f32" | "f64" => return "a number".to_owned(),
        "a boolean" => return "true or false".to_owned(),
        "a sequence" => return "an array".to_owned(),
        "a map" => return "an object".to_owned(),
        other => return other.to_owned(),
    };
    match got {
        Unexpected::Signed(_) => "a whole number, 0 or more".to_owned(),
        Unexpected::Unsigned(_) => format!("a whole number of at most {most}"),
        Unexpected::Float(value) if value.fract() == 0.0 && value.abs() >= most as f64 => {
            format!("a whole number of at most {most}")
        }
        Unexpected::Float(value) if value.fract() == 0.0 => {
            "a whole number without point or exponent".to_owned()
        }
        _ => "a whole number".to_owned(),
    }
}

/// What stands there instead.
fn found(got: Unexpected<'_>) -> String {
    match got {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => format!("{value:?}"),
        Unexpected::Str(text) => format!("the string {:?}", cut(text)),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// A value of which a message shows the beginning.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The pointer and text of a fault whose text may begin with the rest of its pointer, and may lack the noun of a word.
pub(crate) fn placed(pointer: &str, text: &str) -> (String, String) {
    let (pointer, text) = match text.split_once(": ") {
        Some((rest, text)) if rest.starts_with('/') => (format!("{pointer}{rest}"), text),
        _ => (pointer.to_owned(), text),
    };
    let text = match text.strip_prefix("unknown `") {
        Some(word) => format!("unknown {} `{word}", noun(&pointer)),
        None => text.to_owned(),
    };
    (pointer, text)
}

/// What a word at such a pointer is called: `activation` at `/layers/0/activation`, `optimizer` at `/optimizer/type`.
fn noun(pointer: &str) -> String {
    let pointer = pointer.strip_suffix("/type").unwrap_or(pointer);
    let is_name = |name: &&str| !name.bytes().all(|byte| byte.is_ascii_digit()) && *name != "type";
    let name = pointer.rsplit('/').find(is_name);
    let name = name.unwrap_or("word").replace('_', " ");
    match name.strip_suffix('s') {
        Some(one) if pointer.ends_with(|end: char| end.is_ascii_digit()) => one.to_owned(),
        _ => name,
    }
}

/// Why a body is no JSON, from what the parser says of the place where it gave up.
pub(crate) fn no_json(bytes: &[u8], line: usize, column: usize, said: &str) -> String {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => {
            return "the body begins with a byte order mark: send UTF-8 without one".to_owned();
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return "the body is UTF-16: send UTF-8".to_owned(),
        _ if bytes.trim_ascii().is_empty() => {
            return "the body is empty: send one JSON value".to_owned();
        }
        _ => {}
    }
    if let Some(word) = no_number(bytes, line, column) {
        return format!("{word} is not JSON, which has finite numbers alone");
    }
    match said {
        "EOF while parsing a value" => "the body ends where a value must stand",
        "EOF while parsing an object" => "the body ends inside an object",
        "EOF while parsing a list" => "the body ends inside an array",
        "EOF while parsing a string" => "the body ends inside a string",
        "expected value" => "a JSON value must stand here",
        "expected ident" => "the only bare words of JSON are true, false and null",
        "key must be a string" => "a key must be a string in double quotes",
        "trailing comma" => "a comma must not stand before the closing bracket",
        "trailing characters" => "nothing may follow after the value",
        "number out of range" => "a number must be within ±1.7976931348623157e308",
        "invalid unicode code point" => "the text is not UTF-8",
        "recursion limit exceeded" => "arrays and objects may be nested 127 deep",
        said => {
            return said
                .replace("expected ", "must have ")
                .replace("found while parsing", "in");
        }
    }
    .to_owned()
}

/// The word for what is not a number at, or just before, the place where a parser gave up.
fn no_number(bytes: &[u8], line: usize, column: usize) -> Option<&'static str> {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .nth(line.checked_sub(1)?)?;
    let here = column.saturating_sub(2).min(line.len());
    let near = &line[here..line.len().min(here + 12)];
    let words = ["-Infinity", "Infinity", "NaN", "nan", "inf"];
    words.into_iter().find(|word| {
        let at = |start: usize| {
            near.get(start..)
                .is_some_and(|near| near.starts_with(word.as_bytes()))
        };
        at(0) || at(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_called_by_the_name_of_the_field_that_it_stands_in() {
        for (pointer, expected) in [
            ("/layers/0/activation", "activation"),
            ("/loss", "loss"),
            ("/metrics/0", "metric"),
            ("/metrics/0/type", "metric"),
            ("/include/1", "include"),
            ("/data/target_kind", "target kind"),
            ("/optimizer/type", "optimizer"),
            ("", "word"),
        ] {
            assert_eq!(noun(pointer), expected, "{pointer}");
        }
    }

    #[test]
    fn a_text_may_begin_with_the_rest_of_its_pointer() {
        let (pointer, text) = placed("/optimizer", "/type: unknown `adm`: known: adam");
        assert_eq!(
            (&*pointer, &*text),
            ("/optimizer/type", "unknown optimizer `adm`: known: adam")
        );
        let (pointer, text) = placed("/a", "must be a number: got /b: 1");
        assert_eq!((&*pointer, &*text), ("/a", "must be a number: got /b: 1"));
    }
}
