//! Tables of more than one chunk, of declared kinds, in several formats and in several parts.

use std::fmt::Write;

use crate::data::tests::{columns, reading};
use crate::data::{
    Base, CHUNK_ROWS, Column, CsvOptions, Error, FirstWord, Kind, Kinds, Piece, Reading,
    TableLimits, Taken, read_csv, read_ndjson,
};

pub(super) type Read = Result<(Taken, Vec<Piece>), Error>;

/// What a text is, beside CSV with commas.
#[derive(Default)]
pub(super) struct Told<'a> {
    pub(super) kinds: &'a [(&'a str, Kind)],
    pub(super) base: Option<Base>,
    pub(super) options: CsvOptions,
}

fn kinds(told: &Told) -> Kinds {
    let kinds = told.kinds.iter();
    kinds
        .map(|(name, kind)| ((*name).to_owned(), *kind))
        .collect()
}

fn csv(text: impl AsRef<[u8]>, told: Told) -> Read {
    let mut pieces = Vec::new();
    let reading = Reading {
        kinds: kinds(&told),
        base: told.base,
        ..reading(&mut pieces)
    };
    let taken = read_csv(text.as_ref(), &told.options, reading)?;
    Ok((taken, pieces))
}

pub(super) fn ndjson(text: impl AsRef<[u8]>, told: Told) -> Read {
    let mut pieces = Vec::new();
    let reading = Reading {
        kinds: kinds(&told),
        base: told.base,
        ..reading(&mut pieces)
    };
    let taken = read_ndjson(text.as_ref(), reading)?;
    Ok((taken, pieces))
}

pub(super) fn made((taken, pieces): (Taken, Vec<Piece>)) -> Vec<Column> {
    columns(&taken, &pieces)
}

#[track_caller]
pub(super) fn refused(read: Read, message: &str) {
    assert_eq!(read.expect_err(message).to_string(), message);
}

/// A text of so many lines, each made of its number.
fn lines(header: &str, rows: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = format!("{header}\n");
    for row in 0..rows {
        writeln!(text, "{}", line(row)).expect("writing to a string does not fail");
    }
    text
}

pub(super) fn words(column: &Column) -> Vec<Option<&str>> {
    let codes = column.codes().expect("a categorical column").iter();
    let word = |&code: &u32| column.categories().get(code as usize).map(String::as_str);
    codes.map(word).collect()
}

#[test]
fn columns_that_begin_late_get_their_kinds_once_their_cells_take_too_much_room() {
    let word = "w".repeat(900);
    let text = lines("n,a,b,c", 2 * CHUNK_ROWS, |row| {
        if row < CHUNK_ROWS {
            format!("{row},,,")
        } else if row < CHUNK_ROWS + 7000 {
            format!("{row},{word},{word},{word}")
        } else {
            // Most of the chunk: with all of it the columns would be mixed.
            format!("{row},{row},{row},{row}")
        }
    });
    let columns = made(csv(text, Told::default()).expect("a table"));
    for column in &columns[1..] {
        let description = column.description();
        assert_eq!(description.kind, Kind::Categorical);
        assert_eq!(
            (description.rows, description.missing),
            (2 * CHUNK_ROWS, CHUNK_ROWS)
        );
    }
}

#[test]
fn kinds_are_found_by_the_values_of_the_first_chunk() {
    let text =
        "a,b,c,d,e\n1,true,2027-01-15,1,NA\n-2.5,FALSE,2027-01-15T08:00:00Z,true,\n,NA,,x,\n";
    let columns = made(csv(text, Told::default()).expect("a table"));
    let kinds: Vec<_> = columns.iter().map(Column::kind).collect();
    let (numeric, words) = (Kind::Numeric, Kind::Categorical);
    assert_eq!(
        kinds,
        [numeric, Kind::Boolean, Kind::Timestamp, words, numeric]
    );
    let missing: Vec<_> = columns.iter().map(Column::missing).collect();
    assert_eq!(missing, [1, 1, 1, 0, 3]);
    assert_eq!(columns[1].numbers().expect("numbers")[..2], [1.0, 0.0]);
    let moments = columns[2].numbers().expect("numbers");
    assert_eq!(moments[..2], [1_799_971_200.0, 1_800_000_000.0]);
    let first = FirstWord {
        line: 3,
        word: "true".to_owned(),
    };
    assert_eq!(columns[3].description().first_word, Some(first));
    assert!(columns[1].description().first_word.is_none());
}

#[test]
fn a_column_that_begins_late_has_its_kind_from_its_first_values() {
    let rows = 2 * CHUNK_ROWS + 3;
    for blanks in [
        CHUNK_ROWS - 1,
        CHUNK_ROWS,
        CHUNK_ROWS + 1,
        2 * CHUNK_ROWS,
        rows - 1,
        rows,
    ] {
        let value = |row: usize, value: &str| {
            if row < blanks {
                String::new()
            } else {
                value.to_owned()
            }
        };
        let text = lines("row,x,w", rows, |row| {
            format!(
                "{row},{},{}",
                value(row, "0.5"),
                value(row, ["b", "a"][row % 2])
            )
        });
        let columns = made(csv(text, Told::default()).expect("a table"));
        assert!(
            columns[0]
                .numbers()
                .expect("numbers")
                .iter()
                .copied()
                .eq((0..rows).map(|row| row as f64))
        );
        let x = columns[1].numbers().expect("numbers");
        assert!(
            (0..rows).all(|row| if row < blanks {
                x[row].is_nan()
            } else {
                x[row] == 0.5
            }),
            "{blanks}"
        );
        assert_eq!(columns[1].missing(), blanks);
        if blanks == rows {
            assert_eq!(columns[2].kind(), Kind::Numeric);
            continue;
        }
        let expected = (0..rows).map(|row| (row >= blanks).then_some(["b", "a"][row % 2]));
        assert!(words(&columns[2]).into_iter().eq(expected), "{blanks}");
    }
}

#[test]
fn a_value_of_another_kind_than_the_first_chunk_is_refused_where_it_stands() {
    let line = CHUNK_ROWS + 11;
    for (cell, other, message) in [
        (
            "1",
            "x",
            "the column is numeric, got \"x\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
        ),
        (
            "1",
            "1e999",
            "a number must be finite, got \"1e999\": leave the cell empty, or write NA, where a value is missing",
        ),
        (
            "true",
            "1",
            "the column is boolean (true, false), got \"1\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
        ),
        (
            "2027-01-15",
            "15.01.2027",
            "the column is timestamp (2026-01-31, or RFC 3339), got \"15.01.2027\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
        ),
    ] {
        let text = lines("b,a", CHUNK_ROWS + 20, |row| {
            format!("0,{}", if row + 2 == line { other } else { cell })
        });
        refused(
            csv(&text, Told::default()),
            &format!("line {line}, column 2 (\"a\"): {message}"),
        );
        let declared = Told {
            kinds: &[("a", Kind::Categorical)],
            ..Told::default()
        };
        let columns = made(csv(&text, declared).expect("words"));
        let mut expected = [cell, other];
        expected.sort_unstable();
        assert_eq!(columns[1].categories(), expected);
    }
}

#[test]
fn words_among_more_numbers_are_refused_unless_the_column_is_declared() {
    let text = "zip,n\n01234,1\n99999,2\nK1A,3\n00501,4\n";
    refused(
        csv(text, Told::default()),
        "line 4, column 1 (\"zip\"): 3 of the first 4 values are numbers, and \"K1A\" is none: mend the cell, write NA (null in JSON) where a value is missing, or declare the kind of the column with kinds=zip:categorical",
    );
    let declared = Told {
        kinds: &[("zip", Kind::Categorical)],
        ..Told::default()
    };
    let columns = made(csv(text, declared).expect("words"));
    assert_eq!(
        words(&columns[0]),
        [Some("01234"), Some("99999"), Some("K1A"), Some("00501")]
    );
    let as_moments = Told {
        kinds: &[("n", Kind::Timestamp)],
        ..Told::default()
    };
    let message = "line 2, column 2 (\"n\"): the column is timestamp (2026-01-31, or RFC 3339), got \"1\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=n:categorical";
    refused(csv(text, as_moments), message);
    let unknown = Told {
        kinds: &[
            ("zap", Kind::Categorical),
            ("n", Kind::Numeric),
            ("m", Kind::Boolean),
        ],
        ..Told::default()
    };
    refused(
        csv(text, unknown),
        "kinds must name columns of the table (\"zip\", \"n\"), got \"zap\", \"m\"",
    );
}

#[test]
fn truth_values_may_be_written_as_digits_where_they_are_declared() {
    let declared = || Told {
        kinds: &[("a", Kind::Boolean)],
        ..Told::default()
    };
    let columns = made(csv("a\n0\n1\nNA\ntrue\n", declared()).expect("truth values"));
    assert_eq!(columns[0].kind(), Kind::Boolean);
    assert_eq!(
        format!("{:?}", columns[0].numbers()),
        "Some([0.0, 1.0, NaN, 1.0])"
    );
    refused(
        csv("a\n0\n2\n", declared()),
        "line 3, column 1 (\"a\"): the column is boolean (true, false), got \"2\": mend the cell, or leave it empty (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
    );
}

#[test]
fn delimiter_quote_and_missing_words_are_as_declared() {
    let options = CsvOptions {
        delimiter: b';',
        quote: Some(b'\''),
        missing: vec!["-999".to_owned(), "?".to_owned()],
    };
    let told = Told {
        options,
        ..Told::default()
    };
    let columns = made(csv("a;b\n1;'x;y'\n-999;NA\n;?\n", told).expect("a table"));
    assert_eq!(columns[0].missing(), 2);
    assert_eq!(words(&columns[1]), [Some("x;y"), Some("NA"), None]);
    let none = CsvOptions {
        quote: None,
        ..CsvOptions::default()
    };
    let told = Told {
        options: none,
        ..Told::default()
    };
    let columns = made(csv("a,b\nx\",\"y\n", told).expect("a table"));
    assert_eq!(words(&columns[1]), [Some("\"y")]);
}

#[test]
fn what_is_no_text_of_utf_8_says_so() {
    let utf16 = "line 1, column 1: the text is UTF-16: save it as UTF-8";
    for start in [b"\xFF\xFEa\0,\0b\0\n\0", b"\xFE\xFF\0a\0,\0b\0\n"] {
        refused(csv(start, Told::default()), utf16);
        refused(ndjson(start, Told::default()), utf16);
    }
    let nul = "line 2, column 1 (\"a\"): a cell must not have the character NUL: is this a text, saved as UTF-8?";
    refused(csv("a\nx\0y\n", Told::default()), nul);
    let nul = "line 1, column 1 (\"a\"): a cell must not have the character NUL: is this a text, saved as UTF-8?";
    refused(ndjson("{\"a\":\"\\u0000\"}", Told::default()), nul);
}

#[test]
fn a_wide_table_gets_its_kinds_from_fewer_rows() {
    let width = 400;
    let header = (0..width)
        .map(|column| format!("c{column}"))
        .collect::<Vec<_>>()
        .join(",");
    let row = |cell: &str| vec![cell; width].join(",");
    // 20 bytes and 4 beside: 400 columns have room for 1,748 rows.
    let long = "0.123456789012345678";
    let text = lines(&header, 3000, |number| {
        row(if number < 2999 { long } else { "x" })
    });
    let error = csv(text, Told::default()).expect_err("a word");
    assert!(
        error
            .to_string()
            .starts_with("line 3001, column 1 (\"c0\"): the column is numeric"),
        "{error}"
    );
}

#[test]
fn the_words_of_all_columns_share_their_room() {
    let mut pieces = Vec::new();
    let tight = reading(&mut pieces);
    let limits = TableLimits {
        category_bytes: 100,
        ..tight.limits
    };
    let text = lines("a,b", 3, |row| format!("word{row},term{row}"));
    let read = read_csv(
        text.as_bytes(),
        &CsvOptions::default(),
        Reading { limits, ..tight },
    );
    assert_eq!(
        read.expect_err("5 of 25 bytes").to_string(),
        "line 3, column 2 (\"b\"): bytes of all categories must be at most 100, got 125"
    );
}

/// What is appended to, of what was read.
fn base((taken, pieces): &(Taken, Vec<Piece>)) -> Base {
    let tail = |column| {
        pieces
            .iter()
            .find(|piece| piece.column == column && !piece.is_full)
    };
    Base {
        digest: "0".repeat(64),
        columns: taken.columns.clone(),
        tails: (0..taken.columns.len())
            .map(|column| Some(tail(column)?.bytes.clone()))
            .collect(),
    }
}

#[test]
fn appended_rows_go_on_where_the_rows_before_end() {
    let row = |row: usize| {
        let word = ["z", "m", "a"][row * row % 3];
        format!(
            "{},{word},{},{}",
            row as f64 / 4.0,
            row.is_multiple_of(2),
            if row.is_multiple_of(5) { "NA" } else { "7" }
        )
    };
    let rows = 3 * CHUNK_ROWS + 100;
    let whole = csv(lines("x,w,t,m", rows, row), Told::default()).expect("a table");
    for first in [1, 100, CHUNK_ROWS, CHUNK_ROWS + 1] {
        let before = csv(lines("x,w,t,m", first, row), Told::default()).expect("a table");
        let told = Told {
            base: Some(base(&before)),
            ..Told::default()
        };
        // Columns may come in another order.
        let text = lines("t,m,x,w", rows - first, |number| {
            let cells = row(first + number);
            let cells: Vec<_> = cells.split(',').collect();
            [cells[2], cells[3], cells[0], cells[1]].join(",")
        });
        let (mut taken, new) = csv(text, told).expect("more rows");
        assert_eq!(taken.rows, rows);
        for (column, description) in taken.columns.iter_mut().enumerate() {
            let old = before.0.columns[column].categories.clone();
            description.categories.splice(0..0, old);
        }
        let full = before.1.into_iter().filter(|piece| piece.is_full);
        let pieces: Vec<_> = full.chain(new).collect();
        for (appended, whole) in columns(&taken, &pieces).iter().zip(made(whole.clone())) {
            assert_eq!(appended.codes(), whole.codes());
            assert_eq!(appended.categories(), whole.categories());
            assert_eq!(
                format!("{:?}", appended.numbers()),
                format!("{:?}", whole.numbers())
            );
            let (appended, whole) = (appended.description(), whole.description());
            assert_eq!(
                (appended.missing, appended.min, appended.max),
                (whole.missing, whole.min, whole.max)
            );
            for (appended, whole) in [(appended.mean, whole.mean), (appended.std, whole.std)] {
                let apart = appended.unwrap_or_default() - whole.unwrap_or_default();
                assert!(
                    apart.abs() <= 1e-13 * whole.unwrap_or_default().abs(),
                    "{apart}"
                );
            }
        }
    }
}

#[test]
fn appended_rows_have_the_columns_and_kinds_of_the_rows_before() {
    let before = csv("x,w\n1,a\n", Told::default()).expect("a table");
    let append = |text: &str| {
        csv(
            text,
            Told {
                base: Some(base(&before)),
                ..Told::default()
            },
        )
    };
    refused(
        append("w,y\nb,1\n"),
        "the columns must be those of the dataset: without \"x\": with \"y\", which it has not",
    );
    refused(
        append("w,x\nb,true\n"),
        "line 2, column 2 (\"x\"): the column is numeric, got \"true\": mend the cell, or leave it empty (null in JSON) where a value is missing",
    );
    refused(
        append("w,x,w\nb,1,a\n"),
        "line 1, column 3 (\"w\"): column names must differ, and column 1 has this name too",
    );
    refused(
        append("w,x\n"),
        "line 1: the table has a header and no rows",
    );
    let more = |text: &str| {
        ndjson(
            text,
            Told {
                base: Some(base(&before)),
                ..Told::default()
            },
        )
    };
    let (taken, _) = more("{\"w\":\"c\"}").expect("a row");
    assert_eq!(
        (
            taken.rows,
            taken.columns[0].missing,
            &taken.columns[1].categories[..]
        ),
        (2, 1, &["c".to_owned()][..])
    );
    refused(
        more("{\"w\":\"c\",\"y\":1}"),
        "line 1: key \"y\" is none of the table's columns, which are the keys of the first rows (\"x\", \"w\"): give it there, as null where it is missing",
    );
}
