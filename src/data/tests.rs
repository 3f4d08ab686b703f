//! What a table must be, from its text to its bytes: claims about the floor as a whole.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

use crate::data::{
    Column, ColumnSummary, CsvOptions, Error, Kind, Kinds, MISSING, Piece, Reading, Sink,
    Summarizer, TableLimits, Taken, permutation, read_csv,
};

const LIMITS: TableLimits = TableLimits {
    columns: 4,
    cells: 1000,
    cell_bytes: 200,
    categories: 3,
    category_bytes: 1 << 20,
};
pub(in crate::data) const WIDE: TableLimits = TableLimits {
    columns: 1000,
    cells: 10_000_000,
    cell_bytes: 1000,
    categories: 100_000,
    category_bytes: 1 << 30,
};

impl Sink for &mut Vec<Piece> {
    fn take(&mut self, piece: Piece) -> Result<(), Error> {
        self.push(piece);
        Ok(())
    }
}

/// How a table is read that is kept as it is.
pub(crate) fn reading(pieces: &mut Vec<Piece>) -> Reading<&mut Vec<Piece>> {
    Reading {
        limits: WIDE,
        kinds: Kinds::new(),
        base: None,
        sink: pieces,
    }
}

/// The columns of what was taken, out of their chunks.
pub(crate) fn columns(taken: &Taken, pieces: &[Piece]) -> Vec<Column> {
    let columns = taken.columns.iter().enumerate();
    let columns = columns.map(|(column, description)| {
        let chunks = pieces.iter().filter(|piece| piece.column == column);
        let chunks: Vec<_> = chunks.map(|piece| &piece.bytes).collect();
        Column::decode(description.clone(), chunks.into_iter()).expect("sound bytes")
    });
    columns.collect()
}

pub(in crate::data) fn read_within(
    text: impl AsRef<[u8]>,
    limits: TableLimits,
) -> Result<Vec<Column>, Error> {
    let mut pieces = Vec::new();
    let reading = Reading {
        limits,
        ..reading(&mut pieces)
    };
    let taken = read_csv(text.as_ref(), &CsvOptions::default(), reading)?;
    Ok(columns(&taken, &pieces))
}

fn read(text: impl AsRef<[u8]>) -> Result<Vec<Column>, Error> {
    read_within(text, LIMITS)
}

fn words(column: &Column) -> Vec<&str> {
    let codes = column.codes().expect("a categorical column");
    codes
        .iter()
        .map(|&code| {
            if code == MISSING {
                "-"
            } else {
                column.categories()[code as usize].as_str()
            }
        })
        .collect()
}

/// The values of a column, whatever else is known of it.
fn values(column: &Column) -> (Option<Vec<u64>>, Option<&[u32]>, &[String]) {
    let bits = |numbers: Vec<f64>| numbers.iter().map(|number| number.to_bits()).collect();
    (
        column.numbers().map(bits),
        column.codes(),
        column.categories(),
    )
}

#[test]
fn a_mistake_is_told_with_its_line_and_column() {
    let long_name = format!("a,{}\n1,2\n", "x".repeat(129));
    let long_cell = format!("a\n{}\n", "x".repeat(201));
    let cases: &[(&[u8], &str)] = &[
        (
            b"",
            "line 1, column 1: a header row is required, and the text is empty",
        ),
        (b"a,b\r\n", "line 1: the table has a header and no rows"),
        (
            b"a,,b\n1,2,3\n",
            "line 1, column 2: a column name must not be empty: does the line end with a comma, or has it one too many?",
        ),
        (
            long_name.as_bytes(),
            "line 1, column 2: a column name must be at most 128 bytes, got 129",
        ),
        (
            b"a,\"b\tc\"\n1,2\n",
            "line 1, column 2: a column name must not contain control characters, got \"b\\tc\"",
        ),
        (
            b"a,b, a\n1,2,3\n",
            "line 1, column 3 (\"a\"): column names must differ, and column 1 has this name too",
        ),
        (
            b"a,b\n1,2\n3\n",
            "line 3, column 2 (\"b\"): the row has too few cells: 2 expected, got 1",
        ),
        (
            b"a,b\n1,2\n\n3,4,5\n",
            "line 4, column 3: the row has too many cells: 2 expected",
        ),
        (
            b"a,b\n1,\xFF\n",
            "line 2, column 2 (\"b\"): a cell must be valid UTF-8: save the file as UTF-8",
        ),
        (
            b"a,b\n\"x\n\",2\n3,\"4",
            "line 4, column 2 (\"b\"): the quote is never closed",
        ),
        (
            b"a,\"b\n1,2\n",
            "line 1, column 2: the quote is never closed",
        ),
        (
            b"\n\r\na,b\r\n\r\n\n\"x\ny\",2,3\r\n",
            "line 7, column 3: the row has too many cells: 2 expected",
        ),
        (
            b"a,b\r\n\r\n1,\"\"\"\n\n",
            "line 3, column 2 (\"b\"): the quote is never closed",
        ),
        (
            b"a,b\n1,2\n1,-Infinity\n",
            "line 3, column 2 (\"b\"): a number must be finite, got \"-Infinity\": leave the cell empty, or write NA, where a value is missing",
        ),
        (
            b"a,b\n1,nan\n1e999,2\n",
            "line 2, column 2 (\"b\"): a number must be finite, got \"nan\": leave the cell empty, or write NA, where a value is missing",
        ),
        (
            b"a,b,c,d,e\n",
            "line 1, column 5: columns must be at most 4, got 5",
        ),
        (
            long_cell.as_bytes(),
            "line 2, column 1 (\"a\"): bytes of a cell must be at most 200, got 201",
        ),
        (
            b"a\nw\nx\ny\nz\n",
            "line 5, column 1 (\"a\"): categories must be at most 3, got 4",
        ),
        (
            b"a\n1\n2\n3\nz\n",
            "line 5, column 1 (\"a\"): 3 of the first 4 values are numbers, and \"z\" is none: mend the cell, write NA (null in JSON) where a value is missing, or declare the kind of the column with kinds=a:categorical",
        ),
    ];
    for (text, message) in cases {
        let error = read(text).expect_err(message);
        assert_eq!(error.to_string(), *message);
        assert!(
            message.starts_with(&format!("line {}", error.line().expect("a line"))),
            "{message}"
        );
        if let Some(column) = error.column() {
            assert!(message.contains(&format!(", column {column}")), "{message}");
        }
    }
    let few = TableLimits { cells: 3, ..LIMITS };
    let error = read_within(b"a,b\n1,2\n3,4\n", few).expect_err("4 cells");
    assert_eq!(
        error.to_string(),
        "line 3, column 1 (\"a\"): cells must be at most 3, got 4"
    );
}

#[test]
fn a_header_of_one_cell_with_another_delimiter_in_it_is_refused() {
    for (text, found, declared) in [
        ("a;b\n1;2\n", "';'", ";"),
        ("a\tb\n1\t2\n", "'\\t'", "tab"),
        ("a|b\n1|2\n", "'|'", "|"),
    ] {
        let error = read(text).expect_err(found);
        let said = format!(
            "line 1, column 1: cells must be separated by ',', and in this header only {found} could separate them: declare it with delimiter={declared}"
        );
        assert_eq!(error.to_string(), said);
    }
    assert!(read("a;b,c\n1,2\n").is_ok(), "it has a comma");
}

#[test]
fn text_after_a_closing_quote_belongs_to_the_cell() {
    let table = read("a,b\n\"1\"5,\"x\" y\n").expect("a table");
    assert_eq!(table[0].numbers(), Some(vec![15.0]));
    assert_eq!(words(&table[1]), ["x y"]);
}

#[test]
fn an_endless_quote_is_refused_without_reading_it_to_the_end() {
    let endless = std::io::Read::chain(&b"a\n\""[..], std::io::repeat(b'x'));
    assert!(matches!(
        read_csv(endless, &CsvOptions::default(), reading(&mut Vec::new())),
        Err(Error::Limit { .. })
    ));
}

#[test]
fn a_byte_order_mark_quotes_line_ends_and_white_space_are_not_values() {
    let table =
        read("\u{feff}\"a\", b \r\n\" x, \"\"y\"\"\", 1\r\n\"p\nq\",NA\r3,\n").expect("a table");
    let names: Vec<&str> = table.iter().map(Column::name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(words(&table[0]), ["x, \"y\"", "p\nq", "3"]);
    assert_eq!(
        table[1]
            .numbers()
            .map(|b| (b[0], b[1].is_nan(), b[2].is_nan())),
        Some((1.0, true, true))
    );
}

#[test]
fn a_word_makes_all_cells_of_its_column_words_as_they_were_written() {
    let cells = "01\n1.0\n+1\n1e2\n-0\n0.1\nNA\n-7\ninf\n0.30000000000000004\n12.50\nword\n1.0\n";
    // As many words as numbers: more numbers, and they would be a mistake.
    let text = format!("a\n{cells}{}", "word\n".repeat(11));
    let table = read_within(&text, WIDE).expect("a table");
    let expected = [
        "01",
        "1.0",
        "+1",
        "1e2",
        "-0",
        "0.1",
        "-",
        "-7",
        "inf",
        "0.30000000000000004",
        "12.50",
        "word",
        "1.0",
    ];
    assert_eq!(words(&table[0])[..13], expected);
    assert!(table[0].categories().is_sorted());
    let first = table[0]
        .description()
        .first_word
        .as_ref()
        .map(|first| (first.line, first.word.as_str()));
    assert_eq!(first, Some((13, "word")));
}

#[test]
fn permutations_are_those_of_an_independent_implementation() {
    let fixture: Value = serde_json::from_str(include_str!(
        "../../tests/fixtures/shuffle/permutations.json"
    ))
    .expect("JSON");
    let number = |value: &Value| value.as_u64().expect("an integer");
    let mut order = Vec::new();
    for case in fixture.as_array().expect("cases") {
        let seed = case["seed"]
            .as_str()
            .and_then(|seed| seed.parse().ok())
            .expect("a seed");
        permutation(
            seed,
            number(&case["purpose"]),
            number(&case["epoch"]),
            number(&case["n"]) as usize,
            &mut order,
        );
        assert_eq!(serde_json::json!(order), case["order"]);
    }
}

#[test]
fn summaries_agree_with_numpy() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/tables/summary.json"))
            .expect("JSON");
    let tables: [(&str, &[u8]); 2] = [
        (
            "iris",
            include_bytes!("../../tests/fixtures/tables/iris.csv"),
        ),
        (
            "penguins",
            include_bytes!("../../tests/fixtures/tables/penguins.csv"),
        ),
    ];
    for (name, text) in tables {
        let table = read_within(text, WIDE).expect(name);
        let numeric = table.iter().filter(|column| column.kind() == Kind::Numeric);
        assert_eq!(
            numeric.clone().count(),
            fixture[name].as_object().expect("columns").len()
        );
        for column in numeric {
            let (expected, got) = (
                &fixture[name][column.name()],
                serde_json::to_value(summary(column)).expect("JSON"),
            );
            for key in ["count", "missing", "distinct"] {
                assert_eq!(got[key], expected[key], "{name} {} {key}", column.name());
            }
            for key in ["mean", "std", "min", "q1", "median", "q3", "max"] {
                let (got, expected) = (
                    got[key].as_f64().expect(key),
                    expected[key].as_f64().expect(key),
                );
                assert!(
                    (got - expected).abs() <= 1e-12 * expected.abs(),
                    "{name} {} {key}: {got} {expected}",
                    column.name()
                );
            }
            assert_eq!(
                got["histogram"]["counts"],
                expected["counts"],
                "{name} {}",
                column.name()
            );
        }
    }
    let penguins = read_within(tables[1].1, WIDE).expect("penguins");
    let sex = serde_json::to_value(summary(&penguins[6])).expect("JSON");
    assert_eq!(
        sex["top"],
        serde_json::json!([{"value": "male", "count": 168}, {"value": "female", "count": 165}])
    );
}

fn summary(column: &Column) -> ColumnSummary {
    let mut summarizer = Summarizer::new(None);
    summarizer.add(column);
    summarizer.finish().columns.remove(0)
}

#[test]
fn random_tables_survive_being_written_and_read() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let alphabet = ["a", "\"", ",", "\n", "\r\n", "é", "0", ".", "-", "x y"];
    for _ in 0..200 {
        let (rows, mut columns) = (1 + rng.next_u32() as usize % 30, Vec::new());
        for column in 0..=rng.next_u32() % 4 {
            let missing = rng.next_u32() % 3;
            let cells: Vec<Option<String>> = (0..rows)
                .map(|_| {
                    (rng.next_u32() % 4 >= missing).then(|| {
                        if column % 2 == 0 {
                            return f64::from(
                                rng.next_u32().cast_signed() >> (rng.next_u32() % 31),
                            )
                            .to_string();
                        }
                        let word: String = (0..rng.next_u32() % 5)
                            .map(|_| alphabet[rng.next_u32() as usize % 10])
                            .collect();
                        format!("w{word}w")
                    })
                })
                .collect();
            columns.push(cells);
        }
        let end = ["\n", "\r\n", "\r"][rng.next_u32() as usize % 3];
        let mut text = (0..columns.len())
            .map(|column| format!("c{column}"))
            .collect::<Vec<_>>()
            .join(",")
            + end;
        for row in 0..rows {
            for (index, cells) in columns.iter().enumerate() {
                let cell = cells[row].as_deref().unwrap_or("NA");
                let quoted =
                    cell.contains([',', '"', '\n', '\r']) || rng.next_u32().is_multiple_of(2);
                let cell = if quoted {
                    format!("\"{}\"", cell.replace('"', "\"\""))
                } else {
                    cell.to_owned()
                };
                text += &cell;
                text += if index + 1 < columns.len() { "," } else { end };
            }
        }
        let made = columns.iter().enumerate().map(|(index, cells)| {
            let name = format!("c{index}");
            if index % 2 == 0 || cells.iter().all(Option::is_none) {
                let numbers = cells.iter().map(|cell| {
                    cell.as_ref()
                        .map_or(f64::NAN, |cell| cell.parse().expect("a number"))
                });
                return Column::numeric(name, numbers).expect("finite");
            }
            Column::categorical(name, cells)
        });
        for (read, made) in read_within(&text, WIDE).expect(&text).iter().zip(made) {
            assert_eq!(values(read), values(&made), "{text}");
        }
    }
}
