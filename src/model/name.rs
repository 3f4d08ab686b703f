//! Names of models, datasets and aliases: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.

use crate::model::Violations;

/// Bytes in a name at most.
const LONGEST_NAME: usize = 64;

/// Whether `name` may name a model, a dataset or an alias.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let bytes = name.as_bytes();
    (1..=LONGEST_NAME).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|&c| allowed(c))
}

/// Whether `name` may name an alias: a name that is neither a number nor `latest`, which name versions already.
pub fn is_alias(name: &str) -> bool {
    is_name(name) && name != "latest" && !name.bytes().all(|c| c.is_ascii_digit())
}

/// Notes a violation at `pointer` unless `name` is a name.
pub fn check_name(violations: &mut Violations, pointer: &str, name: &str) {
    if !is_name(name) {
        violations.add(pointer, name_rule(name));
    }
}

/// The sentence that says what a name must be, with the value given (shortened).
pub fn name_rule(name: &str) -> String {
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    format!(
        "must be 1 to {LONGEST_NAME} of the letters A-Z a-z, digits and . _ -, starting with a letter or digit, got {shown:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_where_a_path_or_a_trick_could_hide() {
        for good in ["xor", "a", "0", "iris-test_2.1", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", ".x", "-x", "a/b", "a\\b", "a b", "a\n", "é", "%2e", "a\0", &long,
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_alias_is_neither_a_number_nor_latest() {
        assert!(is_alias("champion") && is_alias("v3"));
        assert!(!is_alias("3") && !is_alias("latest"));
    }
}
