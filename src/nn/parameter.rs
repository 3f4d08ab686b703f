//! The parameters of activations, initializers and losses, and their ranges.

/// A parameter outside its range; its text goes on after the name: "must be in [0, 1), got 1.5".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("must be in {range}, got {got}")]
pub struct OutOfRange {
    /// The parameter's name, as in JSON.
    pub name: &'static str,
    /// What it must lie in.
    pub range: &'static str,
    /// What was given.
    pub got: f64,
}

/// The parameter, unless `is_within`; so that a NaN is outside of every range, `is_within` must be a comparison that holds.
pub(crate) fn outside(
    is_within: bool,
    name: &'static str,
    range: &'static str,
    got: f64,
) -> Option<OutOfRange> {
    (!is_within).then_some(OutOfRange { name, range, got })
}
