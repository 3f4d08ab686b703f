//! Parquet files by pyarrow: what they become, and that no file, however damaged, does harm.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value as Json, json};

use crate::data::intake_tests::{Read, made, refused};
use crate::data::tests::reading;
use crate::data::{Column, Kind, Reading, Value, format_timestamp, read_parquet};

const KINDS: &[u8] = include_bytes!("../../tests/fixtures/parquet/kinds.parquet");
const ZSTD: &[u8] = include_bytes!("../../tests/fixtures/parquet/zstd.parquet");
const PLAIN: &[u8] = include_bytes!("../../tests/fixtures/parquet/plain.parquet");
const GZIP: &[u8] = include_bytes!("../../tests/fixtures/parquet/gzip.parquet");
const NESTED: &[u8] = include_bytes!("../../tests/fixtures/parquet/nested.parquet");
const INFINITE: &[u8] = include_bytes!("../../tests/fixtures/parquet/infinite.parquet");
const EXPECTED: &str = include_str!("../../tests/fixtures/parquet/kinds.json");

fn read(bytes: &[u8], kinds: &[(&str, Kind)]) -> Read {
    let mut pieces = Vec::new();
    let kinds = kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
    let reading = Reading {
        kinds: kinds.collect(),
        ..reading(&mut pieces)
    };
    let taken = read_parquet(Bytes::copy_from_slice(bytes), reading)?;
    Ok((taken, pieces))
}

fn shown(columns: &[Column]) -> Json {
    let rows = (0..columns[0].rows()).map(|row| {
        let cells = columns.iter().map(|column| {
            let value = match column.value(row) {
                Value::Missing => Json::Null,
                Value::Number(number) => json!(number),
                Value::Word(word) => json!(word),
                Value::Boolean(truth) => json!(truth),
                Value::Timestamp(moment) => json!(format_timestamp(moment)),
            };
            (column.name().to_owned(), value)
        });
        Json::Object(cells.collect())
    });
    rows.collect()
}

#[test]
fn values_of_every_type_are_those_that_pyarrow_wrote() {
    let expected: Json = serde_json::from_str(EXPECTED).expect("JSON");
    for bytes in [KINDS, ZSTD, PLAIN] {
        let columns = made(read(bytes, &[]).expect("a table"));
        assert_eq!(shown(&columns), expected);
    }
}

#[test]
fn columns_may_be_declared_to_be_of_another_kind() {
    let (word, truth) = (Kind::Categorical, Kind::Boolean);
    let declared = [
        ("uint64", word),
        ("double", word),
        ("boolean", word),
        ("nothing", truth),
        ("date", word),
    ];
    let columns = made(read(KINDS, &declared).expect("a table"));
    let shown = shown(&columns);
    let column = |name: &str| (0..3).map(|row| shown[row][name].clone()).collect::<Json>();
    assert_eq!(column("uint64"), json!(["9223372036854775808", null, "2"]));
    assert_eq!(column("boolean"), json!(["true", "false", null]));
    assert_eq!(
        column("date"),
        json!(["2027-01-15T00:00:00Z", "1969-12-31T00:00:00Z", null])
    );
    let error = read(KINDS, &[("word", Kind::Numeric)]).expect_err("words");
    assert!(
        error
            .to_string()
            .starts_with("row 1, column 10 (\"word\"): the column is numeric, got \"setosa\""),
        "{error}"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    refused(
        read(GZIP, &[]),
        "column \"a\" is compressed with GZIP: write the file with SNAPPY, ZSTD or no compression",
    );
    refused(
        read(NESTED, &[]),
        "columns must be of numbers, booleans, strings, dates or timestamps, and neither nested nor repeated, which these are not: \"list.list.element\", \"struct.b\", \"binary\", \"time\"",
    );
    refused(
        read(INFINITE, &[]),
        "row 2, column 1 (\"a\"): a number must be finite, got \"inf\": leave the cell empty, or write NA, where a value is missing",
    );
    refused(
        read(b"PAR1", &[]),
        "the file is damaged or cut off: it is too short to be Parquet",
    );
    refused(
        read(b"a,b,c\n1,2,3\n", &[]),
        "the file is damaged or cut off: Parquet begins and ends with PAR1",
    );
    let large = [&b"PAR1"[..], &[0, 0, 0, 0x10], b"PAR1"].concat();
    refused(
        read(&large, &[]),
        "the metadata must have at most 67108864 bytes, got 268435456",
    );
}

#[test]
fn a_damaged_file_is_refused_or_read_and_does_no_harm() {
    for bytes in [KINDS, ZSTD, PLAIN] {
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], &[]).is_err(), "cut off at {end}");
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..4000 {
            let mut damaged = bytes.to_vec();
            for _ in 0..=rng.next_u32() % 3 {
                let place = rng.next_u32() as usize % bytes.len();
                damaged[place] = rng.next_u32() as u8;
            }
            let _ = read(&damaged, &[]);
        }
    }
}
