//! Strictness: an object is read from an object alone, no key stands twice, and what is wrong is said in words of JSON.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::http::wording::Worded;
use crate::model::shortened;

/// Names in an object, at most: as many as a table may have columns.
const MOST_KEYS: usize = 100_000;

/// Wraps a deserializer, and all that it leads to. Whatever is asked for, what stands there is read, so that it is
/// the visitor, and thus [`Worded`], who says that it is something else.
pub(crate) struct Strict<T>(pub(crate) T);

/// A struct's visitor, which says of itself what a client calls it: serde would take an array for the fields in order.
struct Object<V>(V);

/// The visitor of an enum, whose variants all are words: a number or an object is not taken for one.
struct Word<V> {
    visitor: V,
    words: &'static [&'static str],
}

/// Reads a key that has not stood in the object before.
struct Key<'a, S> {
    seed: S,
    keys: &'a mut HashSet<String>,
}

/// An object's entries, and the keys read so far.
struct Entries<A> {
    inner: A,
    keys: HashSet<String>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = Worded<D::Error>;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_any(Strict(visitor)).map_err(Worded)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_option(Strict(visitor)).map_err(Worded)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_any(Object(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_any(Word { visitor, words })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

macro_rules! visit {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value).map_err(Worded::into_inner)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    visit! {
        visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none().map_err(Worded::into_inner)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit().map_err(Worded::into_inner)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let read = self.0.visit_some(Strict(deserializer));
        read.map_err(Worded::into_inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        let read = self.0.visit_newtype_struct(Strict(deserializer));
        read.map_err(Worded::into_inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        let read = self.0.visit_seq(Strict(sequence));
        read.map_err(Worded::into_inner)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let keys = HashSet::new();
        let read = self.0.visit_map(Entries { inner, keys });
        read.map_err(Worded::into_inner)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(data)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Word<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "one of {}", shortened(self.words))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<V::Value, E> {
        self.visitor.visit_enum(word.into_deserializer())
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = Worded<A::Error>;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        self.0.next_element_seed(Strict(seed)).map_err(Worded)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = Worded<A::Error>;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let keys = &mut self.keys;
        self.inner.next_key_seed(Key { seed, keys }).map_err(Worded)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        self.inner.next_value_seed(Strict(seed)).map_err(Worded)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if self.keys.len() == MOST_KEYS {
            let told = format!("an object must have at most {MOST_KEYS} names");
            return Err(D::Error::custom(told));
        }
        let is_new = self.keys.insert(key.clone());
        // Whoever follows the path hears of the key before it is refused.
        let read = self.seed.deserialize(key.into_deserializer());
        let read = read.map_err(Worded::into_inner)?;
        if is_new {
            Ok(read)
        } else {
            Err(D::Error::custom("must be given once"))
        }
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let read = self.0.deserialize(Strict(deserializer));
        read.map_err(Worded::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::JobSpec;

    fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        T::deserialize(Strict(&mut deserializer)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_array_is_never_taken_for_an_object_at_any_depth() {
        let rows = r#"{"inputs":[[0,1]],"targets":[[1]]}"#;
        let whole = format!(r#"{{"model":"m","data":{rows},"from":{{"version":1}}}}"#);
        assert!(read::<JobSpec>(&whole).is_ok());
        let bad = [
            r#"["m",{}]"#.to_owned(),
            r#"{"model":"m","data":[[[0,1]],[[1]]]}"#.to_owned(),
            format!(r#"{{"model":"m","data":{rows},"from":[1]}}"#),
            format!(r#"{{"model":"m","data":{rows},"optimizer":["gradient_descent",0.1]}}"#),
        ];
        for json in bad {
            let error = read::<JobSpec>(&json).expect_err(&json);
            assert!(error.contains("got an array"), "{json}: {error}");
        }
    }

    #[test]
    fn no_key_stands_twice_in_an_object_of_any_kind() {
        type Words = std::collections::BTreeMap<String, String>;
        assert!(read::<Words>(r#"{"a":"1","b":"1"}"#).is_ok());
        let error = read::<Words>(r#"{"a":"1","\u0061":"2"}"#).expect_err("twice");
        assert!(error.contains("must be given once"), "{error}");
        let names = |count| {
            let names = (0..count).map(|name| format!("\"{name}\":\"\""));
            format!("{{{}}}", names.collect::<Vec<_>>().join(","))
        };
        assert!(read::<Words>(&names(MOST_KEYS)).is_ok());
        let error = read::<Words>(&names(MOST_KEYS + 1)).expect_err("too many");
        assert!(
            error.contains("an object must have at most 100000 names"),
            "{error}"
        );
    }
}
