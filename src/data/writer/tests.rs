//! Tables that are written are read back as they were, to the last bit.

use bytes::Bytes;

use crate::data::intake_tests::made;
use crate::data::tests::reading;
use crate::data::{
    Column, CsvOptions, Kind, Reading, TableFormat, TableWriter, Written, read_csv, read_parquet,
};

/// Rows of each kind of column, of numbers that only all of their digits tell apart, and gaps.
fn columns() -> Vec<Column> {
    let numbers = [0.1 + 0.2, -0.0, f64::NAN, 5e-324, 1e300];
    let words = [
        Some("a,b"),
        None,
        Some("say \"é\""),
        Some("x\ny"),
        Some("a,b"),
    ];
    let truths = [Some(true), Some(false), None, Some(true), Some(false)];
    let moments = [1.8e9, f64::NAN, -0.75, 0.0, 1.8e9];
    vec![
        Column::numeric("number", numbers).expect("finite"),
        Column::categorical("a word", &words),
        Column::boolean("truth", truths),
        Column::timestamp("when", moments).expect("finite"),
    ]
}

/// The columns from their second row on, written in two runs.
fn written(format: TableFormat) -> Vec<u8> {
    let columns = columns();
    let kinds = columns.iter();
    let kinds: Vec<_> = kinds
        .map(|column| (column.name().to_owned(), column.kind()))
        .collect();
    let mut writer = TableWriter::begin(format, Vec::new(), &kinds).expect("room");
    for (first, rows) in [(1, 3), (4, 1)] {
        let columns = columns.iter();
        let run: Vec<_> = columns.map(|column| Written { column, first }).collect();
        writer.write(&run, rows).expect("room");
    }
    writer.finish().expect("room")
}

#[test]
fn csv_has_a_line_for_each_row_and_as_many_digits_as_make_numbers_exact() {
    let text = String::from_utf8(written(TableFormat::Csv)).expect("UTF-8");
    let smallest = 5e-324_f64.to_string();
    let large = 1e300_f64.to_string();
    let expected = format!(
        "number,a word,truth,when\n-0,,false,\n,\"say \"\"é\"\"\",,1969-12-31T23:59:59.25Z\n{smallest},\"x\ny\",true,1970-01-01T00:00:00Z\n{large},\"a,b\",false,2027-01-15T08:00:00Z\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn both_formats_are_read_back_to_the_last_bit() {
    let expected = columns();
    for format in [TableFormat::Csv, TableFormat::Parquet] {
        let bytes = Bytes::from(written(format));
        let mut pieces = Vec::new();
        let reading = Reading {
            kinds: vec![("when".to_owned(), Kind::Timestamp)],
            ..reading(&mut pieces)
        };
        let taken = match format {
            TableFormat::Csv => read_csv(&bytes[..], &CsvOptions::default(), reading),
            TableFormat::Parquet => read_parquet(bytes, reading),
        };
        let read = made((taken.expect("a table"), pieces));
        for (column, expected) in read.iter().zip(&expected) {
            assert_eq!(
                (column.name(), column.kind()),
                (expected.name(), expected.kind())
            );
            assert_eq!(column.rows(), 4);
            for row in 0..4 {
                // Debug tells −0 from 0.
                let (value, expected) = (column.value(row), expected.value(row + 1));
                assert_eq!(format!("{value:?}"), format!("{expected:?}"), "{format:?}");
            }
        }
    }
}
