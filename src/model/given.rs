//! A field that may be left out but, where it stands, has a value.

use serde::{Deserialize, Deserializer};

/// Reads such a field, for `#[serde(default, deserialize_with = "given")]`: serde alone takes null for left out.
///
/// Errors: it is null, or not a `T`.
pub fn given<'de, D, T>(field: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(field).map(Some)
}
