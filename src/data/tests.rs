//! What a table must be, from its text to its bytes: claims about the floor as a whole.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

use crate::data::{
    CHUNK_ROWS, Column, ColumnDescription, ColumnSummary, CsvLimits, Error, Kind, MISSING,
    Summarizer, Table, permutation, read_csv,
};

const LIMITS: CsvLimits = CsvLimits {
    columns: 4,
    cells: 1000,
    cell_bytes: 200,
    categories: 3,
};
const WIDE: CsvLimits = CsvLimits {
    columns: 100,
    cells: 1_000_000,
    cell_bytes: 1000,
    categories: 100_000,
};

fn read(text: impl AsRef<[u8]>) -> Result<Table, Error> {
    read_csv(text.as_ref(), &LIMITS)
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
            "line 5, column 1 (\"a\"): categories must be at most 3, got 4",
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
    let few = CsvLimits { cells: 3, ..LIMITS };
    let error = read_csv(&b"a,b\n1,2\n3,4\n"[..], &few).expect_err("4 cells");
    assert_eq!(
        error.to_string(),
        "line 3, column 1 (\"a\"): cells must be at most 3, got 4"
    );
}

#[test]
fn a_header_of_one_cell_with_another_delimiter_in_it_is_refused() {
    for (text, found) in [
        ("a;b\n1;2\n", "';'"),
        ("a\tb\n1\t2\n", "'\\t'"),
        ("a|b\n1|2\n", "'|'"),
    ] {
        let error = read(text).expect_err(found);
        let said = format!(
            "line 1, column 1: cells must be separated by commas, and in this header only {found} could separate them"
        );
        assert_eq!(error.to_string(), said);
    }
    assert!(read("a;b,c\n1,2\n").is_ok(), "it has a comma");
}

#[test]
fn text_after_a_closing_quote_belongs_to_the_cell() {
    let table = read("a,b\n\"1\"5,\"x\" y\n").expect("a table");
    assert_eq!(table.columns()[0].numbers(), Some(vec![15.0]));
    assert_eq!(words(&table.columns()[1]), ["x y"]);
}

#[test]
fn an_endless_quote_is_refused_without_reading_it_to_the_end() {
    let endless = std::io::Read::chain(&b"a\n\""[..], std::io::repeat(b'x'));
    assert!(matches!(
        read_csv(endless, &LIMITS),
        Err(Error::Limit { .. })
    ));
}

#[test]
fn a_byte_order_mark_quotes_line_ends_and_white_space_are_not_values() {
    let table =
        read("\u{feff}\"a\", b \r\n\" x, \"\"y\"\"\", 1\r\n\"p\nq\",NA\r3,\n").expect("a table");
    let names: Vec<&str> = table.columns().iter().map(Column::name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(words(&table.columns()[0]), ["x, \"y\"", "p\nq", "3"]);
    assert_eq!(
        table
            .column("b")
            .and_then(Column::numbers)
            .map(|b| (b[0], b[1].is_nan(), b[2].is_nan())),
        Some((1.0, true, true))
    );
}

#[test]
fn a_word_makes_all_cells_of_its_column_words_as_they_were_written() {
    let text = "a\n01\n1.0\n+1\n1e2\n-0\n0.1\nNA\n-7\ninf\n0.30000000000000004\n12.50\nword\n1.0\n";
    let table = read_csv(text.as_bytes(), &WIDE).expect("a table");
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
    assert_eq!(words(&table.columns()[0]), expected);
    assert!(table.columns()[0].categories().is_sorted());
    let first = table.columns()[0]
        .description()
        .first_word
        .as_ref()
        .map(|first| (first.line, first.word.as_str()));
    assert_eq!(first, Some((13, "word")));
}

#[test]
fn decoding_what_was_encoded_gives_the_same_column() {
    let codings: [(&[f64], u8); 6] = [
        (&[0.0, 255.0], 1),
        (&[-1.0, 256.0], 2),
        (&[-0.0, 0.5], 3),
        (&[1.0, f64::NAN], 3),
        (&[0.1, 1e300, 5e-324], 4),
        (&[0.1, f64::NAN, -0.0], 4),
    ];
    for (values, tag) in codings {
        let column = Column::numeric("x", values.iter().copied().cycle().take(CHUNK_ROWS + 5))
            .expect("finite");
        let chunks = column.encode();
        assert_eq!((chunks.len(), chunks[0][0]), (2, tag), "{values:?}");
        let description = serde_json::to_string(column.description()).expect("JSON");
        let description: ColumnDescription =
            serde_json::from_str(&description).expect("a description");
        assert_eq!(
            Column::decode(description, chunks.iter()).expect("sound bytes"),
            column
        );
        let bits: Vec<u64> = column
            .numbers()
            .expect("numbers")
            .iter()
            .map(|number| number.to_bits())
            .collect();
        assert!(
            values
                .iter()
                .zip(bits)
                .all(|(value, bits)| value.to_bits() == bits),
            "{values:?}"
        );
    }
    for (categories, tag) in [(255, 5), (256, 6), (65_535, 6), (65_536, 7)] {
        let words: Vec<Option<String>> = (0..categories)
            .map(|word| Some(word.to_string()))
            .chain([None])
            .collect();
        let column = Column::categorical("x", &words);
        let chunks = column.encode();
        assert_eq!(chunks[0][0], tag);
        assert_eq!(
            Column::decode(column.description().clone(), chunks.iter()).expect("sound bytes"),
            column
        );
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let numbers = Column::numeric("x", [1.5, f64::NAN]).expect("finite");
    let words = Column::categorical("x", &[Some("a"), Some("b")]);
    let refused = |column: &Column, chunks: &[&[u8]]| {
        Column::decode(column.description().clone(), chunks.iter()).is_err()
    };
    let bytes = &numbers.encode()[0];
    assert!(!refused(&numbers, &[bytes]));
    let infinite = [
        &[3_u8][..],
        &f32::INFINITY.to_le_bytes(),
        &f32::NAN.to_le_bytes(),
    ]
    .concat();
    let bad: [&[&[u8]]; 8] = [
        &[],
        &[b""],
        &[&bytes[..8]],
        &[&bytes[..5]],
        &[&[9, 1, 1]],
        &[bytes, bytes],
        &[&[1, 1, 1]],
        &[&infinite],
    ];
    assert!(bad.iter().all(|chunks| refused(&numbers, chunks)));
    assert!(!refused(&words, &[&[5, 0, 1]]));
    assert!(
        refused(&words, &[&[5, 0, 2]])
            && refused(&words, &[&[6, 0, 0, 1, 0]])
            && refused(&words, &[&[5, 0, 255]])
    );
}

#[test]
fn the_digest_knows_values_names_and_kinds_but_not_codings() {
    let digest = |column| Table::new(vec![column]).expect("a table").digest();
    let numbers = |name, values: &[f64]| {
        digest(Column::numeric(name, values.iter().copied()).expect("finite"))
    };
    // SHA-256 by Python's hashlib over the documented text, for a column "x" of 1 and 2.
    let hex: Vec<String> = numbers("x", &[1.0, 2.0])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex.concat(),
        "5492651a81b283f9d07b460b57e370e2b0ef1a88175ea5f39dd844c3e3d86427"
    );
    assert_ne!(numbers("x", &[1.0, 2.0]), numbers("y", &[1.0, 2.0]));
    assert_ne!(numbers("x", &[0.0]), numbers("x", &[-0.0]));
    assert_ne!(
        numbers("x", &[1.0]),
        digest(Column::categorical("x", &[Some("1")]))
    );
    let narrow = Column::numeric("x", [1.0, 2.0]).expect("finite");
    let wide: Vec<u8> = [4]
        .into_iter()
        .chain([1.0_f64, 2.0].iter().flat_map(|value| value.to_le_bytes()))
        .collect();
    let wide = Column::decode(narrow.description().clone(), [wide].iter()).expect("sound bytes");
    assert_eq!(digest(narrow), digest(wide));
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
        let table = read_csv(text, &WIDE).expect(name);
        let numeric = table
            .columns()
            .iter()
            .filter(|column| column.kind() == Kind::Numeric);
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
    let penguins = read_csv(tables[1].1, &WIDE).expect("penguins");
    let sex = serde_json::to_value(summary(penguins.column("sex").expect("sex"))).expect("JSON");
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
        let made = Table::new(made.collect()).expect("a table");
        assert_eq!(
            read_csv(text.as_bytes(), &WIDE).expect(&text).digest(),
            made.digest(),
            "{text}"
        );
    }
}
