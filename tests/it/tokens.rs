//! Rust source as tokens, without comments and the insides of literals: enough to see what code names.

/// The tokens of `source`: identifiers, numbers, `::`, `->` and single characters. A string or character is one `"`, a
/// lifetime one `'`.
pub(crate) fn tokens(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (token, length) = if let Some(length) = comment(rest) {
            (None, length)
        } else if let Some(length) = literal(rest) {
            (Some("\""), length)
        } else if first == '\'' {
            (Some("'"), 1 + word(&rest[1..]))
        } else if first.is_whitespace() {
            (None, first.len_utf8())
        } else {
            let length = match word(rest) {
                0 if ["::", "->"].iter().any(|pair| rest.starts_with(pair)) => 2,
                0 => first.len_utf8(),
                length => length,
            };
            (Some(&rest[..length]), length)
        };
        found.extend(token);
        rest = &rest[length..];
    }
    found
}

/// Bytes of the identifier or number that `rest` begins with.
fn word(rest: &str) -> usize {
    let within = |c: char| c.is_alphanumeric() || c == '_';
    rest.find(|c| !within(c)).unwrap_or(rest.len())
}

/// Bytes of the comment that `rest` begins with. Block comments nest.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    Some(at)
}

/// Bytes of the string or character that `rest` begins with, its prefix counted.
fn literal(rest: &str) -> Option<usize> {
    let prefixes = ["br", "cr", "r", "b", "c", ""];
    let (prefix, quoted) = prefixes
        .iter()
        .find_map(|prefix| Some((*prefix, rest.strip_prefix(prefix)?)))?;
    if prefix.ends_with('r') {
        return raw(quoted).map(|length| prefix.len() + length);
    }
    let quote = quoted.chars().next()?;
    let length = match quote {
        '"' => escaped(quoted, '"'),
        '\'' if is_character(quoted) => escaped(quoted, '\''),
        _ => return None,
    };
    Some(prefix.len() + length)
}

/// Bytes of a raw string: `"…"` between as many `#` on either side.
fn raw(quoted: &str) -> Option<usize> {
    let inner = quoted.trim_start_matches('#');
    let hashes = quoted.len() - inner.len();
    let inner = inner.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// Whether what begins with `'` is a character and no lifetime.
fn is_character(quoted: &str) -> bool {
    let mut inner = quoted.chars().skip(1);
    inner.next() == Some('\\') || inner.next() == Some('\'')
}

/// Bytes up to the closing quote, escaped ones passed over.
fn escaped(quoted: &str, quote: char) -> usize {
    let mut characters = quoted.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    quoted.len()
}

#[test]
fn comments_and_literals_hide_what_they_say() {
    let hidden = [
        "// nn\n",
        "/// `nn`",
        "/* nn /* nn */ nn */",
        "\"nn \\\" nn\"",
        "r\"nn\\\"",
        "r#\"nn \" nn\"#",
        "br##\"nn \"# nn\"##",
        "b\"nn\"",
        "c\"nn\"",
        "'n'",
        "'\\''",
        "b'n'",
        "'\"'",
    ];
    for source in hidden {
        let both = format!("{source}\n end");
        let seen = tokens(&both);
        assert!(!seen.contains(&"nn"), "{source}: {seen:?}");
        assert_eq!(seen.last(), Some(&"end"), "{source}: {seen:?}");
    }
}

#[test]
fn code_is_cut_at_words_and_double_colons() {
    let source = "use crate::{nn::A};\nfn f<'a>(x: &'a str) -> u8 { b\"x\"[0] + 0x1f }";
    let expected = [
        "use", "crate", "::", "{", "nn", "::", "A", "}", ";", "fn", "f", "<", "'", ">", "(", "x",
        ":", "&", "'", "str", ")", "->", "u8", "{", "\"", "[", "0", "]", "+", "0x1f", "}",
    ];
    assert_eq!(tokens(source), expected);
}
