//! The digest of a network's parameters: what epochs, checkpoints and versions are compared by.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::hex;
use crate::model::tensors::in_rows;
use crate::nn::{Network, Normalized, Scalar, worked};

/// Numbers that are hashed together: 2 or 4 KiB of them.
const NUMBERS: usize = 512;

/// Multiply-adds that take as long as hashing one of them.
const WORK: usize = 200;

/// SHA-256 over the parameters' bytes (little-endian, layer by layer, weights before biases, and of normalized layers then the
/// scales, running means and running variances; then the vectors of each embedding). Shown and stored in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParameterDigest([u8; 32]);

impl ParameterDigest {
    /// The digest of a network's parameters.
    pub fn of<T: Scalar>(network: &Network<T>) -> Self {
        let mut hasher = Sha256::new();
        let mut bytes = Vec::with_capacity(NUMBERS * T::DTYPE.bytes());
        let mut update = |values: &[T]| {
            for values in values.chunks(NUMBERS) {
                bytes.clear();
                for value in values {
                    value.to_le(&mut bytes);
                }
                hasher.update(&bytes);
                worked(WORK * values.len());
            }
        };
        for layer in network.layers() {
            in_rows(&layer.weights, &mut update);
            let beside = layer.normalization.iter().flat_map(Normalized::arrays);
            let beside = beside.map(|(_, array)| array);
            for array in std::iter::once(&layer.biases).chain(beside) {
                update(array.as_slice().expect("a vector is in one piece"));
            }
        }
        for vectors in network.vectors() {
            update(
                vectors
                    .as_slice()
                    .expect("a network keeps a table vector by vector"),
            );
        }
        Self(hasher.finalize().into())
    }

    /// The digest of its hex; none where it is other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (16 * digit(pair[0])? + digit(pair[1])?) as u8;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ParameterDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ParameterDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for ParameterDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ParameterDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| Error::custom("a digest must be 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_from_what_it_is_written_as_and_from_nothing_else() {
        let digest = ParameterDigest(std::array::from_fn(|index| (index * 9) as u8));
        let text = digest.to_string();
        assert_eq!(ParameterDigest::parse(&text), Some(digest));
        let json = serde_json::to_string(&digest).expect("a text");
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<ParameterDigest>(&json).ok(),
            Some(digest)
        );
        let mut other = text.clone();
        other.replace_range(10..12, "é");
        for wrong in [
            &text[1..],
            &format!("{text}0"),
            &text.replace('9', "g"),
            &other,
            "",
        ] {
            assert_eq!(ParameterDigest::parse(wrong), None, "{wrong}");
        }
    }
}
