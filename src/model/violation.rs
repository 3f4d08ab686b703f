//! A violation: one thing a user's declaration got wrong, and where it stands in the body.

use serde::Serialize;

/// Violations listed at most; a body that breaks more rules than this needs a look, not a longer list.
pub const MOST_VIOLATIONS: usize = 100;

/// Names that a message shows at most.
const MOST_SHOWN: usize = 32;

/// Bytes of a name that is looked up among the known ones; a longer one is no slip.
const LONGEST_SLIP: usize = 64;

/// Known names that a slip is compared with, at most.
const MOST_COMPARED: usize = 1000;

/// Bytes of a message, at most: the values it repeats may be of any length.
const LONGEST_DETAIL: usize = 1000;

/// Names as a message shows them: the first few, and how many there are if that is not all.
pub fn shortened<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_SHOWN).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    if names.len() > MOST_SHOWN {
        return format!("{shown}, … {} in all", names.len());
    }
    shown
}

/// What a name that is not among `names` may have meant, and what there is: `did you mean `tanh`? known: tanh, relu`.
pub fn known<S: AsRef<str>>(given: &str, names: &[S]) -> String {
    let near = near_miss(given, names).map(|name| format!("did you mean `{name}`? "));
    let names = match names {
        [] => "none".to_owned(),
        names => shortened(names),
    };
    format!("{}known: {names}", near.unwrap_or_default())
}

/// What other programs call it, and our name for it.
const OTHER_NAMES: [(&str, &str); 22] = [
    ("sgd", "gradient_descent"),
    ("lr", "learning_rate"),
    ("eta", "learning_rate"),
    ("learning_rate_init", "learning_rate"),
    ("alpha", "rho"),
    ("eps", "epsilon"),
    ("linear", "identity"),
    ("logistic", "sigmoid"),
    ("mse", "mean_squared_error"),
    ("mae", "mean_absolute_error"),
    ("rmse", "root_mean_squared_error"),
    ("mape", "mean_absolute_percentage_error"),
    ("top_k", "top_k_accuracy"),
    ("precision_macro", "precision"),
    ("recall_macro", "recall"),
    ("f1_macro", "f1"),
    ("bce", "cross_entropy"),
    ("categorical_crossentropy", "cross_entropy"),
    ("binary_crossentropy", "cross_entropy"),
    ("normalize", "standardize"),
    ("xavier_uniform", "glorot_uniform"),
    ("kaiming_uniform", "he_uniform"),
];

/// The name that is nearest, where it is so near that it may be a slip: a third of the letters, capitals aside.
pub fn near_miss<'a, S: AsRef<str>>(given: &str, names: &'a [S]) -> Option<&'a str> {
    if given.len() > LONGEST_SLIP {
        return None;
    }
    let given = given.to_lowercase();
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == given);
    let ours = names.iter().map(AsRef::as_ref);
    if let Some(name) = other.and_then(|(_, meant)| ours.clone().find(|name| name == meant)) {
        return Some(name);
    }
    let distances = names.iter().take(MOST_COMPARED).map(|name| {
        let name = name.as_ref();
        (
            strsim::damerau_levenshtein(&given, &name.to_lowercase()),
            name,
        )
    });
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= name.chars().count()).then_some(name)
}

/// A name as a token of a JSON pointer (RFC 6901).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A message cut to what a reader can use.
fn cut(mut detail: String) -> String {
    if detail.len() > LONGEST_DETAIL {
        detail.truncate(detail.floor_char_boundary(LONGEST_DETAIL));
        detail.push('…');
    }
    detail
}

/// One broken rule: the JSON pointer (RFC 6901) of the value and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON pointer into the body, such as `/layers/0/units`; empty for the whole body.
    pub pointer: String,
    /// The name, the value and the accepted range: `must be in [1, 65536], got 0`.
    pub detail: String,
}

/// Collects violations, so that a body's faults are reported together.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes one violation; beyond [`MOST_VIOLATIONS`] nothing more is kept.
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < MOST_VIOLATIONS {
            self.0.push(Violation {
                pointer: pointer.into(),
                detail: cut(detail.into()),
            });
        }
    }

    /// Notes a violation unless `value` lies in `[low, high]`.
    pub fn range(&mut self, pointer: impl Into<String>, value: u64, low: u64, high: u64) {
        if value < low || value > high {
            self.add(pointer, format!("must be in [{low}, {high}], got {value}"));
        }
    }

    /// Notes parameters outside their ranges, of a choice that stands at `pointer`.
    pub fn parameters(&mut self, pointer: &str, faults: Vec<(&'static str, String)>) {
        for (name, detail) in faults {
            self.add(format!("{pointer}/{name}"), detail);
        }
    }

    /// Whether nothing has been noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing more is kept, so that whoever looks for faults may stop.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST_VIOLATIONS
    }

    /// Violations noted so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `Ok` when nothing was noted.
    ///
    /// Errors: the violations, in the order in which they were found.
    pub fn finish(self) -> Result<(), Vec<Violation>> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }

    /// The violations noted so far.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_a_reader_can_use() {
        let mut violations = Violations::default();
        for index in 0..MOST_VIOLATIONS + 10 {
            assert_eq!(violations.is_full(), index >= MOST_VIOLATIONS);
            violations.add(format!("/{index}"), "must be there");
        }
        assert_eq!(violations.len(), MOST_VIOLATIONS);
    }

    #[test]
    fn a_message_that_repeats_a_long_value_is_cut_between_two_characters() {
        let mut violations = Violations::default();
        violations.add("/name", "ä".repeat(LONGEST_DETAIL));
        let detail = &violations.into_vec()[0].detail;
        assert!(
            detail.len() < LONGEST_DETAIL + 4 && detail.ends_with("ä…"),
            "{detail}"
        );
    }

    #[test]
    fn a_slip_is_told_what_it_may_have_meant_and_another_word_is_not() {
        let names = ["sigmoid", "tanh", "relu"];
        let all = "known: sigmoid, tanh, relu";
        for (given, near) in [
            ("sigmod", "sigmoid"),
            ("Sigmoid", "sigmoid"),
            ("tahn", "tanh"),
            ("rely", "relu"),
        ] {
            assert_eq!(
                known(given, &names),
                format!("did you mean `{near}`? {all}")
            );
        }
        let long = "sigmoid".repeat(20);
        for given in ["swish", "", "softplus", &long] {
            assert_eq!(known(given, &names), all, "{given}");
        }
        assert_eq!(known::<&str>("a", &[]), "known: none");
    }

    #[test]
    fn a_long_list_of_names_is_shortened_and_says_its_length() {
        let names: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(shortened(&names[..3]), "0, 1, 2");
        let all = shortened(&names);
        assert!(all.ends_with("30, 31, … 1000 in all"), "{all}");
    }
}
