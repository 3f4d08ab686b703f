//! Hyperparameters as data: what each is called, what it may be, and what it means. One table checks requests and
//! describes itself.

use serde::Serialize;

/// The numbers that a hyperparameter may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower end.
    pub least: f64,
    /// Whether it belongs to the range.
    pub least_included: bool,
    /// The upper end.
    pub most: f64,
    /// Whether it belongs to the range.
    pub most_included: bool,
}

impl Range {
    /// [least, most].
    pub const fn closed(least: f64, most: f64) -> Self {
        Self {
            least,
            least_included: true,
            most,
            most_included: true,
        }
    }

    /// (least, most].
    pub const fn above(least: f64, most: f64) -> Self {
        Self {
            least_included: false,
            ..Self::closed(least, most)
        }
    }

    /// [least, most).
    pub const fn below(least: f64, most: f64) -> Self {
        Self {
            most_included: false,
            ..Self::closed(least, most)
        }
    }

    /// (least, most).
    pub const fn open(least: f64, most: f64) -> Self {
        Self {
            least_included: false,
            ..Self::below(least, most)
        }
    }

    /// Whether a number belongs to the range; a NaN never does.
    pub fn contains(&self, value: f64) -> bool {
        let above = value > self.least || (self.least_included && value == self.least);
        let below = value < self.most || (self.most_included && value == self.most);
        above && below
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = if self.least_included { '[' } else { '(' };
        let close = if self.most_included { ']' } else { ')' };
        write!(formatter, "{open}{}, {}{close}", self.least, self.most)
    }
}

/// What a hyperparameter is set to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Number(f64),
    /// A whole number.
    Whole(u64),
    /// Yes or no.
    Flag(bool),
    /// A number, or none: what it is for is then not done.
    Optional(Option<f64>),
    /// One of some words.
    Word(&'static str),
    /// Whole numbers.
    List(Vec<u64>),
    /// Numbers.
    Numbers(Vec<f64>),
}

/// One hyperparameter: its name, what it is set to, what it may be and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameter {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it is set to.
    pub setting: Setting,
    /// What its numbers may be; of no account for a flag or a word.
    pub range: Range,
    /// What it is, in a few words and the symbol of its source.
    pub meaning: &'static str,
    /// Whether it must be given; the setting is then one that might be.
    pub required: bool,
}

impl Hyperparameter {
    const fn of(name: &'static str, setting: Setting, range: Range, meaning: &'static str) -> Self {
        Self {
            name,
            setting,
            range,
            meaning,
            required: false,
        }
    }

    /// A number.
    pub const fn number(
        name: &'static str,
        value: f64,
        range: Range,
        meaning: &'static str,
    ) -> Self {
        Self::of(name, Setting::Number(value), range, meaning)
    }

    /// A whole number.
    pub const fn whole(
        name: &'static str,
        value: u64,
        range: Range,
        meaning: &'static str,
    ) -> Self {
        Self::of(name, Setting::Whole(value), range, meaning)
    }

    /// A number or none.
    pub const fn optional(
        name: &'static str,
        value: Option<f64>,
        range: Range,
        meaning: &'static str,
    ) -> Self {
        Self::of(name, Setting::Optional(value), range, meaning)
    }

    /// Whole numbers.
    pub const fn list(
        name: &'static str,
        values: Vec<u64>,
        range: Range,
        meaning: &'static str,
    ) -> Self {
        Self::of(name, Setting::List(values), range, meaning)
    }

    /// Numbers.
    pub const fn numbers(
        name: &'static str,
        values: Vec<f64>,
        range: Range,
        meaning: &'static str,
    ) -> Self {
        Self::of(name, Setting::Numbers(values), range, meaning)
    }

    /// Yes or no.
    pub const fn flag(name: &'static str, value: bool, meaning: &'static str) -> Self {
        Self::of(name, Setting::Flag(value), Range::closed(0.0, 1.0), meaning)
    }

    /// One of some words.
    pub const fn word(name: &'static str, value: &'static str, meaning: &'static str) -> Self {
        Self::of(name, Setting::Word(value), Range::closed(0.0, 1.0), meaning)
    }

    /// The same, which must be given.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// What is wrong with the setting: "must be in [0, 1), got 1.5"; none where it is in range.
    pub fn violation(&self) -> Option<String> {
        let range = self.range;
        match &self.setting {
            Setting::Number(value) | Setting::Optional(Some(value)) => {
                (!range.contains(*value)).then(|| format!("must be in {range}, got {value}"))
            }
            Setting::Whole(value) => {
                (!range.contains(*value as f64)).then(|| format!("must be in {range}, got {value}"))
            }
            Setting::List(values) => {
                let outside = values
                    .iter()
                    .find(|value| !range.contains(**value as f64))?;
                Some(format!("must have numbers in {range}, got {outside}"))
            }
            Setting::Numbers(values) => {
                let outside = values.iter().find(|value| !range.contains(**value))?;
                Some(format!("must have numbers in {range}, got {outside}"))
            }
            Setting::Flag(_) | Setting::Word(_) | Setting::Optional(None) => None,
        }
    }

    /// What is wrong with the setting, each under its name, or in a list of numbers under its name and place: "dropout/1".
    pub fn violations(&self) -> Vec<(String, String)> {
        let (name, range) = (self.name, self.range);
        if let Setting::Numbers(values) = &self.setting {
            let outside = |(_, value): &(usize, &f64)| !range.contains(**value);
            let said = |(index, value)| {
                let detail = format!("must be in {range}, got {value}");
                (format!("{name}/{index}"), detail)
            };
            let values = values.iter().enumerate();
            return values.filter(outside).map(said).collect();
        }
        let violation = self.violation().into_iter();
        violation.map(|detail| (name.to_owned(), detail)).collect()
    }
}

/// What is wrong with hyperparameters: names and details.
pub(super) fn violations(parameters: Vec<Hyperparameter>) -> Vec<(&'static str, String)> {
    let each = parameters.into_iter();
    each.filter_map(|parameter| Some((parameter.name, parameter.violation()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_ends_that_it_says() {
        let ranges = [
            (Range::closed(0.0, 1.0), "[0, 1]", true, true),
            (Range::above(0.0, 1.0), "(0, 1]", false, true),
            (Range::below(0.0, 1.0), "[0, 1)", true, false),
            (Range::open(0.0, 1.0), "(0, 1)", false, false),
        ];
        for (range, written, least, most) in ranges {
            assert_eq!(range.to_string(), written);
            assert_eq!((range.contains(0.0), range.contains(1.0)), (least, most));
            assert!(range.contains(0.5) && !range.contains(f64::NAN));
            assert!(!range.contains(-1e-9) && !range.contains(1.0 + 1e-9));
        }
    }

    #[test]
    fn a_setting_out_of_range_says_what_would_be_right() {
        let of = |value| Hyperparameter::number("momentum", value, Range::below(0.0, 1.0), "");
        assert_eq!(of(0.9).violation(), None);
        let said = of(1.5).violation();
        assert_eq!(said.as_deref(), Some("must be in [0, 1), got 1.5"));
        assert_eq!(
            Hyperparameter::optional("a", None, Range::open(0.0, 1.0), "").violation(),
            None
        );
        assert!(of(f64::NAN).violation().is_some());
    }

    #[test]
    fn each_number_of_a_list_is_found_fault_with_by_its_place() {
        let of = |values| Hyperparameter::numbers("dropout", values, Range::below(0.0, 1.0), "");
        assert_eq!(of(vec![0.0, 0.5]).violations(), []);
        let said = of(vec![1.0, 0.5, -0.5]).violations();
        let expected = [
            ("dropout/0", "must be in [0, 1), got 1"),
            ("dropout/2", "must be in [0, 1), got -0.5"),
        ];
        let expected = expected.map(|(name, detail)| (name.to_owned(), detail.to_owned()));
        assert_eq!(said, expected);
    }
}
