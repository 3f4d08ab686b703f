//! What is stored of a table: its chunks, which read back to the same bits, and its digest.

use crate::data::tests::{columns, reading};
use crate::data::{
    CHUNK_ROWS, Column, ColumnDescription, CsvOptions, Kind, Piece, Reading, Taken, read_csv,
};

/// A table of one column "x", of a declared kind.
fn taken(kind: Kind, cells: impl Iterator<Item = String>) -> (Taken, Vec<Piece>) {
    let text: String = cells.map(|cell| cell + "\n").collect();
    let mut pieces = Vec::new();
    let reading = Reading {
        kinds: vec![("x".to_owned(), kind)],
        ..reading(&mut pieces)
    };
    let text = format!("x\n{text}");
    let taken = read_csv(text.as_bytes(), &CsvOptions::default(), reading).expect("a table");
    (taken, pieces)
}

fn numbers(values: impl IntoIterator<Item = f64>) -> (Taken, Vec<Piece>) {
    let cells = values.into_iter().map(|value| {
        if value.is_nan() {
            "NA".to_owned()
        } else {
            value.to_string()
        }
    });
    taken(Kind::Numeric, cells)
}

fn read((taken, pieces): &(Taken, Vec<Piece>)) -> Column {
    columns(taken, pieces).remove(0)
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
        let values = || values.iter().copied().cycle().take(CHUNK_ROWS + 5);
        let table = numbers(values());
        let (column, pieces) = (read(&table), &table.1);
        assert_eq!((pieces.len(), pieces[0].bytes[0]), (2, tag));
        assert_eq!((pieces[0].is_full, pieces[1].is_full), (true, false));
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect();
        let read: Vec<u64> = bits(&column.numbers().expect("numbers"));
        let expected: Vec<u64> = bits(&values().collect::<Vec<_>>());
        assert_eq!(read, expected);
        let whole = Column::numeric("x", values()).expect("finite");
        for (piecewise, whole) in [
            (column.description().mean, whole.description().mean),
            (column.description().std, whole.description().std),
        ] {
            let (piecewise, whole) = (piecewise.expect("numbers"), whole.expect("numbers"));
            assert!(
                (piecewise - whole).abs() <= 1e-12 * whole.abs(),
                "{piecewise} {whole}"
            );
        }
    }
    for (categories, tag) in [(255, 5), (256, 6), (65_535, 6), (65_536, 7)] {
        let words: Vec<Option<String>> = (0..categories)
            .map(|word| Some(word.to_string()))
            .chain([None])
            .collect();
        let cells = words
            .iter()
            .map(|word| word.clone().unwrap_or("NA".to_owned()));
        let table = taken(Kind::Categorical, cells);
        assert_eq!(table.1.last().expect("chunks").bytes[0], tag);
        assert_eq!(read(&table), Column::categorical("x", &words));
    }
}

#[test]
fn truth_values_and_moments_are_numbers_of_another_kind() {
    let truth = Column::boolean("x", [Some(true), None, Some(false)]);
    let moments = Column::timestamp("x", [1.8e9, f64::NAN]).expect("finite");
    let cells = |cells: &[&str]| {
        cells
            .iter()
            .map(|&cell| cell.to_owned())
            .collect::<Vec<_>>()
    };
    for (column, cells, expected) in [
        (
            truth,
            cells(&["true", "NA", "0"]),
            &[1.0, f64::NAN, 0.0][..],
        ),
        (
            moments,
            cells(&["2027-01-15T08:00:00Z", ""]),
            &[1.8e9, f64::NAN],
        ),
    ] {
        let as_numbers = numbers(expected.iter().copied());
        let bits = |column: &Column| column.numbers().map(|numbers| format!("{numbers:?}"));
        assert_eq!(bits(&column), bits(&read(&as_numbers)));
        // A blank line is no row of a table of one column.
        let cells = cells.into_iter().map(|cell| {
            if cell.is_empty() {
                "NA".to_owned()
            } else {
                cell
            }
        });
        let table = taken(column.kind(), cells);
        assert_eq!(read(&table), column);
        assert_ne!(table.0.digest, as_numbers.0.digest);
    }
    let two = numbers([2.0]).1.remove(0).bytes;
    let description = Column::boolean("x", [Some(true)]).description().clone();
    let error = Column::decode(description, [two].iter()).expect_err("2 is no truth value");
    assert_eq!(
        error.to_string(),
        "the stored values of column \"x\" are damaged: a truth value must be 0 or 1"
    );
}

#[test]
fn damaged_bytes_are_refused() {
    let (numbers, pieces) = numbers([1.5, f64::NAN]);
    let numbers = numbers.columns[0].clone();
    let words = Column::categorical("x", &[Some("a"), Some("b")])
        .description()
        .clone();
    let refused = |description: &ColumnDescription, chunks: &[&[u8]]| {
        Column::decode(description.clone(), chunks.iter()).is_err()
    };
    let bytes = &pieces[0].bytes;
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
    assert!(!refused(&words, &[&[5, 0, 1]]) && !refused(&words, &[&[6, 0, 0, 1, 0]]));
    for bad in [&[5, 0, 2][..], &[6, 0, 0, 1], &[5, 0, 255], &[1, 0, 1]] {
        assert!(refused(&words, &[bad]), "{bad:?}");
    }
    let twice = ColumnDescription {
        categories: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
        ..words
    };
    assert!(refused(&twice, &[&[5, 0, 1]]));
}

#[test]
fn the_first_rows_of_chunks_are_a_column_too() {
    let (taken, pieces) = taken(
        Kind::Categorical,
        ["b", "NA", "a", "c"].iter().map(|&word| word.to_owned()),
    );
    let description = ColumnDescription {
        rows: 2,
        categories: vec!["b".to_owned()],
        ..taken.columns[0].clone()
    };
    let column = Column::decode(description, pieces.iter().map(|piece| &piece.bytes));
    let expected = Column::categorical("x", &[Some("b"), None]);
    assert_eq!(column.expect("sound bytes"), expected);
}

#[test]
fn the_digest_knows_values_names_and_kinds() {
    let digest = |values: &[f64]| numbers(values.iter().copied()).0.digest;
    // SHA-256 by Python's hashlib over the documented text, for a column "x" of 1 and 2: the chunk is b"\x01\x01\x02".
    let hex: Vec<String> = digest(&[1.0, 2.0])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex.concat(),
        "223fa51ebda1abd1cc2df62d9402b26413c8333221bb3010d2e9e83d91094cf7"
    );
    assert_ne!(digest(&[0.0]), digest(&[-0.0]));
    assert_ne!(
        digest(&[1.0]),
        taken(Kind::Categorical, ["1".to_owned()].into_iter())
            .0
            .digest
    );
    let mut pieces = Vec::new();
    let other = read_csv(
        &b"y\n1\n2\n"[..],
        &CsvOptions::default(),
        reading(&mut pieces),
    );
    assert_ne!(digest(&[1.0, 2.0]), other.expect("a table").digest);
}
