//! A choice by name with named parameters: `"adam"`, or `{"type":"adam","beta1":0.9}`. Each parameter is read by itself,
//! so that its error has its name.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

use crate::model::escaped;

/// The field that says which it is.
const TYPE: &str = "type";
/// A parameter that nothing has.
const NO_PARAMETER: &str = "\0";

/// Reads one, for `#[serde(deserialize_with)]` and an enum whose tag is `type` and that denies unknown fields.
///
/// Errors: it is neither a name nor an object; the type or a parameter is unknown, or is not what it must be.
pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: for<'any> Deserialize<'any>,
{
    deserializer.deserialize_any(ChoiceVisitor(std::marker::PhantomData))
}

/// Reads one that may be left out but, where it stands, is not null, for `#[serde(default, deserialize_with)]`.
///
/// Errors: as [`deserialize`].
pub fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: for<'any> Deserialize<'any>,
{
    self::deserialize(deserializer).map(Some)
}

/// Writes one, for `#[serde(serialize_with)]`: its name alone where it has no parameters.
///
/// Errors: those of the serializer.
pub fn serialize<T: Serialize, S: Serializer>(
    chosen: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match serde_json::to_value(chosen) {
        Ok(Value::Object(fields)) if fields.len() == 1 => fields[TYPE].serialize(serializer),
        _ => chosen.serialize(serializer),
    }
}

/// One that may be left out or null, for `#[serde(default, with = "choice::optional")]`.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::choice;

    struct Chosen<T>(T);

    impl<'de, T: for<'any> Deserialize<'any>> Deserialize<'de> for Chosen<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            choice::deserialize(deserializer).map(Self)
        }
    }

    impl<T: Serialize> Serialize for Chosen<&T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            choice::serialize(self.0, serializer)
        }
    }

    /// Reads one, or null.
    ///
    /// Errors: as [`choice::deserialize`].
    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: for<'any> Deserialize<'any>,
    {
        let chosen = Option::<Chosen<T>>::deserialize(deserializer)?;
        Ok(chosen.map(|chosen| chosen.0))
    }

    /// Writes one, or null.
    ///
    /// Errors: those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(
        chosen: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        chosen.as_ref().map(Chosen).serialize(serializer)
    }
}

/// The value of a parameter, of whatever kind the choice wants.
#[derive(Clone)]
enum Given {
    Whole(u64),
    Number(f64),
    Flag(bool),
    Word(String),
    List(Vec<Given>),
}

/// What is wrong when a choice is read with a part of its parameters.
#[derive(Debug)]
enum Probe<E> {
    /// Only that others are required.
    Missing,
    /// What was given is no part of it, in the words of who asked.
    Fault(E),
}

struct ChoiceVisitor<T>(std::marker::PhantomData<T>);

/// The choice of these parameters.
fn of<T: for<'any> Deserialize<'any>, E: Error>(
    kind: &Given,
    given: &[(String, Given)],
) -> Result<T, E> {
    let kind = std::iter::once((TYPE, kind.clone()));
    let given = given.iter().map(|(name, value)| (&**name, value.clone()));
    T::deserialize(MapDeserializer::new(kind.chain(given)))
}

/// A fault of one of the fields.
fn fault<E: Error>(field: &str, said: impl fmt::Display) -> E {
    E::custom(format_args!("/{}: {said}", escaped(field)))
}

impl<E: fmt::Display> fmt::Display for Probe<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("missing field"),
            Self::Fault(said) => said.fmt(formatter),
        }
    }
}

impl<E: Error> std::error::Error for Probe<E> {}

impl<E: Error> Error for Probe<E> {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::Fault(E::custom(message))
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Fault(E::invalid_type(got, expected))
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Fault(E::invalid_value(got, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Fault(E::unknown_variant(variant, expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Fault(E::unknown_field(field, expected))
    }

    fn missing_field(_: &'static str) -> Self {
        Self::Missing
    }
}

impl<'de, T: for<'any> Deserialize<'any>> Visitor<'de> for ChoiceVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name or an object with a type")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        of(&Given::Word(name.to_owned()), &[])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut kind = None;
        let mut given = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == TYPE {
                kind = Some(Given::Word(map.next_value()?));
            } else {
                given.push((name, map.next_value::<Given>()?));
            }
        }
        let kind = kind.ok_or_else(|| A::Error::missing_field(TYPE))?;
        let try_with =
            |at: &str, given: &[(String, Given)]| match of::<T, Probe<A::Error>>(&kind, given) {
                Err(Probe::Fault(said)) => Err(fault(at, said)),
                Ok(_) | Err(Probe::Missing) => Ok(()),
            };
        try_with(TYPE, &[])?;
        // A variant without fields takes any: serde does not deny it unknown ones.
        let nothing = (NO_PARAMETER.to_owned(), Given::Flag(true));
        let takes_any = of::<T, Probe<A::Error>>(&kind, &[nothing]).is_ok();
        for one in &given {
            if takes_any {
                return Err(fault(&one.0, A::Error::unknown_field(&one.0, &[])));
            }
            try_with(&one.0, std::slice::from_ref(one))?;
        }
        of(&kind, &given)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Flag(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Whole(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Given, E> {
        Ok(Given::Word(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Given, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Given::List(list))
    }
}

/// A value on its way into the type of the choice.
struct Handed<E> {
    value: Given,
    error: std::marker::PhantomData<E>,
}

impl<E: Error> IntoDeserializer<'_, E> for Given {
    type Deserializer = Handed<E>;

    fn into_deserializer(self) -> Handed<E> {
        Handed {
            value: self,
            error: std::marker::PhantomData,
        }
    }
}

impl<'de, E: Error> Deserializer<'de> for Handed<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.value {
            Given::Whole(value) => visitor.visit_u64(value),
            Given::Number(value) => visitor.visit_f64(value),
            Given::Flag(value) => visitor.visit_bool(value),
            Given::Word(value) => visitor.visit_string(value),
            Given::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Shape {
        Plain,
        Curve {
            #[serde(default)]
            slope: f64,
            #[serde(default)]
            knots: Vec<u64>,
        },
        Line {
            length: u64,
            #[serde(default)]
            slope: f64,
        },
    }

    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    struct Holder {
        #[serde(with = "crate::model::choice")]
        shape: Shape,
        #[serde(default, with = "crate::model::choice::optional")]
        other: Option<Shape>,
    }

    fn read(shape: &str) -> Result<Shape, String> {
        let holder = serde_json::from_str::<Holder>(&format!(r#"{{"shape":{shape}}}"#));
        holder
            .map(|holder| holder.shape)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_choice_is_a_name_or_an_object() {
        assert_eq!(read(r#""plain""#), Ok(Shape::Plain));
        assert_eq!(read(r#"{"type":"plain"}"#), Ok(Shape::Plain));
        let (slope, knots) = (0.5, vec![1, 2]);
        let curve = read(r#"{"knots":[1,2],"type":"curve","slope":0.5}"#);
        assert_eq!(curve, Ok(Shape::Curve { slope, knots }));
    }

    #[test]
    fn a_parameter_may_be_required() {
        let (length, slope) = (3, 0.5);
        let line = Ok(Shape::Line { length, slope });
        assert_eq!(read(r#"{"type":"line","length":3,"slope":0.5}"#), line);
        assert_eq!(read(r#"{"slope":0.5,"length":3,"type":"line"}"#), line);
        for (given, expected) in [
            (r#""line""#, "missing field `length`"),
            (r#"{"type":"line"}"#, "missing field `length`"),
            (r#"{"type":"line","slope":1}"#, "missing field `length`"),
            (r#"{"type":"line","slope":"a"}"#, "/slope: invalid type"),
            (r#"{"type":"line","length":-1}"#, "/length: invalid type"),
            (r#"{"type":"line","long":1}"#, "/long: unknown field `long`"),
        ] {
            let error = read(given).expect_err("it is wrong");
            assert!(error.starts_with(expected), "{given}: {error}");
        }
    }

    #[test]
    fn a_choice_without_parameters_is_written_as_its_name() {
        let written = |shape| {
            let holder = Holder { shape, other: None };
            serde_json::to_string(&holder).expect("a shape")
        };
        assert_eq!(written(Shape::Plain), r#"{"shape":"plain","other":null}"#);
        let (slope, knots) = (0.5, vec![]);
        assert_eq!(
            written(Shape::Curve { slope, knots }),
            r#"{"shape":{"type":"curve","slope":0.5,"knots":[]},"other":null}"#
        );
    }

    #[test]
    fn a_choice_may_be_left_out_where_it_is_optional() {
        for (other, expected) in [
            (r#""plain""#, Some(Shape::Plain)),
            (r#"{"type":"plain"}"#, Some(Shape::Plain)),
            ("null", None),
        ] {
            let holder = format!(r#"{{"shape":"plain","other":{other}}}"#);
            let holder: Holder = serde_json::from_str(&holder).expect("a holder");
            assert_eq!(holder.other, expected);
            let written = serde_json::to_string(&holder).expect("a holder");
            let name = expected.map_or("null", |_| r#""plain""#);
            assert_eq!(written, format!(r#"{{"shape":"plain","other":{name}}}"#));
        }
    }

    #[test]
    fn a_fault_of_a_parameter_has_its_name() {
        for (given, expected) in [
            (
                r#"{"type":"plain","slope":1}"#,
                "/slope: unknown field `slope`",
            ),
            (
                r#"{"type":"curve","slop":1}"#,
                "/slop: unknown field `slop`",
            ),
            (r#"{"type":"curve","slope":"a"}"#, "/slope: invalid type"),
            (r#"{"type":"curve","knots":[1,-1]}"#, "/knots: invalid type"),
            (r#"{"type":"curv"}"#, "/type: unknown variant `curv`"),
            (r#""curv""#, "unknown variant `curv`"),
            (r#"{"slope":1}"#, "missing field `type`"),
            ("1", "a name or an object with a type"),
        ] {
            let error = read(given).expect_err("it is wrong");
            assert!(error.contains(expected), "{given}: {error}");
        }
    }
}
