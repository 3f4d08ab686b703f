//! Lines of JSON: what they become, and what is wrong with them.

use crate::data::intake_tests::{Told, made, ndjson, refused, words};
use crate::data::{CHUNK_ROWS, Column, Kind};

#[test]
fn lines_of_json_are_rows_of_the_keys_in_them() {
    let text = "\u{feff}{\"a\":1,\"b\":\"x\",\"c\":true}\r\n\n{\"b\":\"y\",\"a\":-2.5,\"d\":\"2027-01-15\"}\n{\"a\":null,\"e\":\"1\"}";
    let columns = made(ndjson(text, Told::default()).expect("a table"));
    let names: Vec<_> = columns.iter().map(Column::name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let kinds: Vec<_> = columns.iter().map(Column::kind).collect();
    let (numeric, word) = (Kind::Numeric, Kind::Categorical);
    assert_eq!(kinds, [numeric, word, Kind::Boolean, Kind::Timestamp, word]);
    let missing: Vec<_> = columns.iter().map(Column::missing).collect();
    assert_eq!(missing, [1, 1, 2, 2, 2]);
    assert_eq!(words(&columns[1]), [Some("x"), Some("y"), None]);
    assert_eq!(words(&columns[4]), [None, None, Some("1")]);
    assert_eq!(columns[0].numbers().expect("numbers")[..2], [1.0, -2.5]);
    let declared = Told {
        kinds: &[("a", Kind::Categorical), ("e", Kind::Numeric)],
        ..Told::default()
    };
    let columns = made(ndjson(text, declared).expect("a table"));
    assert_eq!(words(&columns[0]), [Some("1"), Some("-2.5"), None]);
    assert_eq!(columns[4].numbers().expect("numbers")[2], 1.0);
}

#[test]
fn what_is_wrong_with_a_line_of_json_is_told_with_its_line() {
    for (text, message) in [
        (
            "",
            "line 1: the table has no rows: each line must be an object, such as {\"a\":1}",
        ),
        (
            "\n \n",
            "line 2: the table has no rows: each line must be an object, such as {\"a\":1}",
        ),
        (
            "{\"a\":1}\n[1]\n",
            "line 2: each line must be an object of JSON: invalid type: sequence, expected an object, at byte 1",
        ),
        (
            "{\"a\":1}\n{\"a\":\n",
            "line 2: each line must be an object of JSON: EOF while parsing a value, at byte 5",
        ),
        (
            "{\"a\":1} {\"a\":2}\n",
            "line 1: each line must be an object of JSON: trailing characters, at byte 9",
        ),
        (
            "{\"a\":1}\n{\"a\":1e999}\n",
            "line 2: each line must be an object of JSON: number out of range, at byte 10",
        ),
        (
            "{\"a\":1,\"a\":2}\n",
            "line 1: key \"a\" must be given once",
        ),
        (
            "{\"a\":1}\n{\"a\":[1,2]}\n",
            "line 2, column 1 (\"a\"): a value must be a number, a string, true, false or null, got an array: give each of its parts a key of its own",
        ),
        (
            "{\"a\":1,\"b\":{\"c\":1}}\n",
            "line 1, column 2 (\"b\"): a value must be a number, a string, true, false or null, got an object: give each of its parts a key of its own",
        ),
        (
            "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":\"y\"}\n",
            "line 2, column 1 (\"a\"): 1 of the first 3 values are numbers, and \"x\" is none: mend the cell, write NA (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
        ),
        (
            "{\"\":1}\n",
            "line 1, column 1: a column name must not be empty: does the line end with a comma, or has it one too many?",
        ),
    ] {
        refused(ndjson(text, Told::default()), message);
    }
    let many = |last: &str| {
        let mut text = "{\"a\":1,\"s\":\"x\"}\n".repeat(CHUNK_ROWS);
        text.push_str(last);
        text
    };
    let line = CHUNK_ROWS + 1;
    refused(
        ndjson(many("{\"a\":1,\"late\":2}"), Told::default()),
        &format!(
            "line {line}: key \"late\" is none of the table's columns, which are the keys of the first rows (\"a\", \"s\"): give it there, as null where it is missing"
        ),
    );
    refused(
        ndjson(many("{\"a\":\"1\"}"), Told::default()),
        &format!(
            "line {line}, column 1 (\"a\"): the column is numeric, got \"1\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical"
        ),
    );
    refused(
        ndjson(many("{\"s\":1}"), Told::default()),
        &format!(
            "line {line}, column 2 (\"s\"): the column is categorical, of strings, got \"1\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=s:categorical"
        ),
    );
}
