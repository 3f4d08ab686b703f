//! The two kinds of number a network can be made of.

use serde::{Deserialize, Serialize};

use crate::nn::kernel::{Elementary, Multiply};

/// The kind of a network's numbers, by name: `"float32"` or `"float64"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32, Rust's `f32`.
    Float32,
    /// IEEE 754 binary64, Rust's `f64`.
    Float64,
}

impl Dtype {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Float32, Self::Float64];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => size_of::<f32>(),
            Self::Float64 => size_of::<f64>(),
        }
    }

    /// The largest finite number.
    pub fn max(self) -> f64 {
        match self {
            Self::Float32 => f64::from(f32::MAX),
            Self::Float64 => f64::MAX,
        }
    }

    /// Whether the nearest number of this kind is finite: 3.4028235e38, as float32 is usually printed where it ends, rounds to
    /// [`Dtype::max`].
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Float32 => (value as f32).is_finite(),
            Self::Float64 => value.is_finite(),
        }
    }
}

/// `f32` or `f64`: what a network's numbers may be. Sealed.
pub trait Scalar:
    Multiply + Elementary + ndarray::NdFloat + Default + std::iter::Sum + 'static
{
    /// The kind's name.
    const DTYPE: Dtype;

    /// The nearest number of this kind; infinite where `value` is beyond its range.
    fn from_f64(value: f64) -> Self;

    /// The same number as an `f64`, exactly.
    fn to_f64(self) -> f64;

    /// erfc(x) = 1 − (2/√π) ∫₀ˣ e^{−t²} dt, without the loss of digits that the difference would bring for large x.
    #[must_use]
    fn erfc(self) -> Self;

    /// Appends the number's little-endian bytes.
    fn to_le(self, bytes: &mut Vec<u8>);

    /// Reads a number from its little-endian bytes.
    ///
    /// Panics: where `bytes` is not exactly `DTYPE.bytes()` long, the caller's bug.
    fn from_le(bytes: &[u8]) -> Self;
}

impl Scalar for f32 {
    const DTYPE: Dtype = Dtype::Float32;

    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline]
    fn erfc(self) -> Self {
        libm::erfcf(self)
    }

    fn to_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("the caller passes four bytes"))
    }
}

impl Scalar for f64 {
    const DTYPE: Dtype = Dtype::Float64;

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline]
    fn erfc(self) -> Self {
        libm::erfc(self)
    }

    fn to_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("the caller passes eight bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounds_to_a_finite_number_is_held() {
        for value in [3.402_823_5e38, -3.402_823_5e38, 0.0, 1e-300] {
            assert!(Dtype::Float32.holds(value), "{value:e}");
        }
        for value in [3.402_823_6e38, 1e39, f64::INFINITY, f64::NAN] {
            assert!(!Dtype::Float32.holds(value), "{value:e}");
        }
        assert!(Dtype::Float64.holds(f64::MAX) && !Dtype::Float64.holds(f64::INFINITY));
    }

    #[test]
    fn a_number_comes_back_from_its_bytes_with_the_same_bits() {
        fn round_trip<T: Scalar>(value: T) {
            let mut bytes = Vec::new();
            value.to_le(&mut bytes);
            assert_eq!(bytes.len(), T::DTYPE.bytes());
            assert_eq!(T::from_le(&bytes), value);
        }
        for value in [0.0, -1.5, 1e-40, f64::from(f32::MAX)] {
            round_trip(value);
            round_trip(value as f32);
        }
        assert!((-0.0_f32).to_bits() == f32::from_le(&[0, 0, 0, 0x80]).to_bits());
    }

    #[test]
    fn a_dtype_is_spelled_as_in_the_api() {
        for dtype in Dtype::ALL {
            let json = serde_json::to_string(&dtype).expect("a dtype serializes");
            assert_eq!(json, format!("\"{}\"", dtype.name()));
        }
        assert!(f32::from_f64(Dtype::Float32.max()).is_finite());
        assert!(f32::from_f64(Dtype::Float32.max() * 1.1).is_infinite());
    }
}
