//! Tables: CSV, NDJSON and Parquet, read whole and in pieces, appended to themselves, and read back from their chunks.

use std::io::{self, Read};

use bytes::Bytes;
use gradientd::data::{
    Base, CHUNK_ROWS, Column, CsvOptions, Error, Kinds, Piece, Reading, Sink, TableLimits, Taken,
    read_csv, read_ndjson, read_parquet,
};

/// Small ones, so that there is a way beyond each.
const LIMITS: TableLimits = TableLimits {
    columns: 64,
    cells: 200_000,
    cell_bytes: 256,
    categories: 300,
    category_bytes: 16 << 10,
};

/// How CSV is written, by the first byte of the text.
const STYLES: [(u8, Option<u8>, &str); 4] = [
    (b',', Some(b'"'), "NA"),
    (b';', Some(b'\''), "0"),
    (b'\t', None, "none"),
    (b' ', Some(b'"'), ""),
];

const CSV: [&str; 7] = [
    ",a,b,c\n1,2,x\n1.5e3,-0,\"y, z\"\nNA,,\"\"\"\"\n",
    ",when,is,word\r\n2024-02-29T12:00:00Z,true,one\r\n1969-12-31,false,two\r\n",
    ",n\n1\n2\n3\nfour\n",
    ";a;b\n'1;2';3\n0;4\n",
    "\ta\tb\n1\t2\nnone\t3\n",
    " a b\n\"x y\" 2\n\"\" 3\n",
    ",a,a\n1,2\n",
];

const NDJSON: [&str; 4] = [
    "{\"a\":1,\"b\":\"x\",\"c\":true}\n{\"b\":\"\\u00fc\\ud83d\\ude00\",\"a\":-1.5e-3}\n\n{\"a\":null,\"c\":false}\n",
    "{\"t\":\"2024-02-29T12:00:00+01:00\"}\n{\"t\":\"1970-01-01\"}\n",
    "{\"n\":1}\n{\"n\":\"one\"}\n",
    "{\"a\":[1],\"b\":{}}\n",
];

/// Keeps chunks.
struct Kept<'a>(&'a mut Vec<Piece>);

impl Sink for Kept<'_> {
    fn take(&mut self, piece: Piece) -> Result<(), Error> {
        self.0.push(piece);
        Ok(())
    }
}

/// Gives a text in pieces of 1, 2, 3, … 7, 1, … bytes.
struct InPieces<'a> {
    rest: &'a [u8],
    last: usize,
}

impl Read for InPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.last = self.last % 7 + 1;
        let most = buffer.len().min(self.last);
        self.rest.read(&mut buffer[..most])
    }
}

/// Reads a table by `table`: what was taken with its chunks, or what is wrong with it.
fn taken(
    base: Option<Base>,
    table: impl FnOnce(Reading<Kept>) -> Result<Taken, Error>,
) -> Result<(Taken, Vec<Piece>), Error> {
    let mut pieces = Vec::new();
    let reading = Reading {
        limits: LIMITS,
        kinds: Kinds::new(),
        base,
        sink: Kept(&mut pieces),
    };
    let taken = table(reading)?;
    Ok((taken, pieces))
}

/// Chunks that are as described read back, and the table takes itself once more, unless it is too large then.
fn look(
    (first, pieces): (Taken, Vec<Piece>),
    table: impl FnOnce(Reading<Kept>) -> Result<Taken, Error>,
) {
    let chunks = |column| {
        let chunks = pieces.iter().filter(move |piece| piece.column == column);
        chunks.map(|piece| &piece.bytes)
    };
    for (index, description) in first.columns.iter().enumerate() {
        assert_eq!(description.rows, first.rows);
        let column = Column::decode(description.clone(), chunks(index)).expect("its own chunks");
        assert_eq!(column.rows(), first.rows);
    }
    let tail = |column| chunks(column).next_back().cloned();
    let has_tail = !first.rows.is_multiple_of(CHUNK_ROWS);
    let base = Base {
        digest: "0".repeat(64),
        tails: (0..first.columns.len())
            .map(|column| tail(column).filter(|_| has_tail))
            .collect(),
        columns: first.columns,
    };
    if let Ok((second, _)) = taken(Some(base), table) {
        assert_eq!(second.rows, 2 * first.rows);
    }
}

/// What an error says of the rule that was broken, and not how far a cell that is too long had come.
fn rule(error: &Error) -> String {
    let text = error.to_string();
    let rule = text.split_once(", got").map(|(rule, _)| rule.to_owned());
    rule.unwrap_or(text)
}

/// The same comes of a text whether it is read whole or in pieces.
fn text(bytes: &[u8], read: impl Fn(&mut dyn Read, Reading<Kept>) -> Result<Taken, Error>) {
    let whole = taken(None, |reading| read(&mut &*bytes, reading));
    let mut pieces = InPieces {
        rest: bytes,
        last: 0,
    };
    let in_pieces = taken(None, |reading| read(&mut pieces, reading));
    match (whole, in_pieces) {
        (Ok(whole), Ok(in_pieces)) => {
            assert_eq!(whole, in_pieces);
            look(whole, |reading| read(&mut &*bytes, reading));
        }
        (Err(whole), Err(in_pieces)) => assert_eq!(rule(&whole), rule(&in_pieces)),
        (whole, in_pieces) => panic!("whole: {whole:?}, in pieces: {in_pieces:?}"),
    }
}

/// Reads CSV after a byte that says how it is written.
pub(super) fn csv(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let style = STYLES.iter().find(|(delimiter, ..)| delimiter == first);
    let (delimiter, quote, missing) = style.unwrap_or(&STYLES[0]);
    let options = CsvOptions {
        delimiter: *delimiter,
        quote: *quote,
        missing: vec![(*missing).to_owned()],
    };
    text(bytes, |source, reading| read_csv(source, &options, reading));
}

/// Reads lines of JSON.
pub(super) fn ndjson(bytes: &[u8]) {
    text(bytes, |source, reading| read_ndjson(source, reading));
}

/// Reads a Parquet file.
pub(super) fn parquet(bytes: &[u8]) {
    let file = Bytes::copy_from_slice(bytes);
    if let Ok(read) = taken(None, |reading| read_parquet(file.clone(), reading)) {
        look(read, |reading| read_parquet(file, reading));
    }
}

pub(super) fn csv_seeds() -> Vec<Vec<u8>> {
    let iris = include_str!("../../../fixtures/tables/iris.csv");
    let penguins = include_str!("../../../fixtures/tables/penguins.csv");
    let some = [iris, penguins].map(|table| {
        let lines = table.lines().step_by(12).map(|line| format!("{line}\n"));
        format!(",{}", lines.collect::<String>())
    });
    let some = some.into_iter().map(String::into_bytes);
    some.chain(CSV.map(|text| text.as_bytes().to_vec()))
        .collect()
}

pub(super) fn ndjson_seeds() -> Vec<Vec<u8>> {
    NDJSON.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(super) fn parquet_seeds() -> Vec<Vec<u8>> {
    let files: [&[u8]; 5] = [
        include_bytes!("../../../fixtures/parquet/kinds.parquet"),
        include_bytes!("../../../fixtures/parquet/nested.parquet"),
        include_bytes!("../../../fixtures/parquet/plain.parquet"),
        include_bytes!("../../../fixtures/parquet/zstd.parquet"),
        include_bytes!("../../../fixtures/parquet/infinite.parquet"),
    ];
    files.map(<[u8]>::to_vec).to_vec()
}
