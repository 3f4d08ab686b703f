//! An optimizer as it stands in a job: each hyperparameter is read by itself, so that its error has its name.

use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::model::escaped;
use crate::nn::OptimizerSpec;

/// The value of a hyperparameter, of whatever kind the optimizer wants.
#[derive(Clone)]
enum Given {
    Number(f64),
    Flag(bool),
    Word(String),
}

/// Reads an optimizer from an object.
pub(crate) fn optimizer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<OptimizerSpec, D::Error> {
    deserializer.deserialize_map(OptimizerVisitor)
}

struct OptimizerVisitor;

impl<'de> Visitor<'de> for OptimizerVisitor {
    type Value = OptimizerSpec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OptimizerSpec, A::Error> {
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
        let of = |more: &[(String, Given)]| {
            let kind = std::iter::once((TYPE, kind.clone()));
            let more = more.iter().map(|(name, value)| (&**name, value.clone()));
            OptimizerSpec::deserialize(MapDeserializer::new(kind.chain(more)))
        };
        let at = |name: &str, error: A::Error| {
            A::Error::custom(format_args!("/{}: {error}", escaped(name)))
        };
        of(&[]).map_err(|error| at(TYPE, error))?;
        for one in &given {
            of(std::slice::from_ref(one)).map_err(|error| at(&one.0, error))?;
        }
        of(&given)
    }
}

/// The field that says which optimizer it is.
const TYPE: &str = "type";

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl Visitor<'_> for GivenVisitor {
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
        Ok(Given::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Given, E> {
        Ok(Given::Word(value.to_owned()))
    }
}

/// A value on its way into the optimizer's own type.
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
            Given::Number(value) => visitor.visit_f64(value),
            Given::Flag(value) => visitor.visit_bool(value),
            Given::Word(value) => visitor.visit_string(value),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
