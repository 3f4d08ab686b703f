//! Splits CSV text into cells as it arrives, with never more than a buffer and one cell in memory.
//!
//! The csv-core crate parses. The csv crate above it gathers a whole record before it can be looked at, so one stray
//! quote would make it gather the rest of the text; here the cell is ours, and refused once it is too long.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use crate::data::CsvOptions;

const BUFFER_BYTES: usize = 64 * 1024;
const FIRST_CELL_BYTES: usize = 256;
/// A byte order mark and one byte more: csv-core drops the mark only where its first input begins with all of it, and
/// takes an input of nothing else for the end of the text.
const START_BYTES: u64 = 4;

/// What ended a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    Cell,
    Line,
}

/// Why there is no next cell.
#[derive(Debug)]
pub(super) enum Fault {
    Read(io::Error),
    TooLong(usize),
    UnclosedQuote,
    Utf16,
}

/// The cells of a text, one after another. Rows end with LF, CRLF or CR; blank ones are skipped.
///
/// Lines are counted by their line feeds. Text after a closing quote belongs to the cell, as csv-core has it.
pub(super) struct Cells<R> {
    source: BufReader<Text<R>>,
    parser: Reader,
    /// Room for the cell, of which it takes `cell_bytes`.
    cell: Vec<u8>,
    cell_bytes: usize,
    cell_line: u64,
    most_cell_bytes: usize,
    is_utf16: bool,
}

/// The text's first bytes, the others and a line feed.
type Text<R> = Chain<Chain<Cursor<Vec<u8>>, R>, &'static [u8]>;

impl<R: Read> Cells<R> {
    /// Begins to read, after a byte order mark if there is one; a cell may have `most_cell_bytes` bytes.
    pub(super) fn new(
        mut source: R,
        most_cell_bytes: usize,
        options: &CsvOptions,
    ) -> io::Result<Self> {
        let mut start = Vec::new();
        source.by_ref().take(START_BYTES).read_to_end(&mut start)?;
        let is_utf16 = is_utf16(&start);
        let mut parser = ReaderBuilder::new();
        parser
            .delimiter(options.delimiter)
            .quoting(options.quote.is_some());
        if let Some(quote) = options.quote {
            parser.quote(quote);
        }
        // A line feed put after the text ends every cell but one whose quote is open: `advance` tells it by that.
        let source = Cursor::new(start).chain(source).chain(&b"\n"[..]);
        Ok(Self {
            source: BufReader::with_capacity(BUFFER_BYTES, source),
            parser: parser.build(),
            cell: vec![0; FIRST_CELL_BYTES],
            cell_bytes: 0,
            cell_line: 1,
            most_cell_bytes,
            is_utf16,
        })
    }

    /// The cell that [`Cells::advance`] has reached, without its quotes.
    pub(super) fn cell(&self) -> &[u8] {
        &self.cell[..self.cell_bytes]
    }

    /// The line on which the cell begins.
    pub(super) fn cell_line(&self) -> u64 {
        self.cell_line
    }

    /// Goes to the next cell and tells what ended it; `None` at the end of the text, never after a delimiter.
    pub(super) fn advance(&mut self) -> Result<Option<After>, Fault> {
        if self.is_utf16 {
            return Err(Fault::Utf16);
        }
        self.cell_line = self.parser.line();
        self.cell_bytes = 0;
        loop {
            let input = match self.source.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.find_line(false);
                    return Err(Fault::Read(error));
                }
            };
            let room = &mut self.cell[self.cell_bytes..];
            let (result, read, written) = self.parser.read_field(input, room);
            let at_end = input.is_empty();
            let ended_by_line_feed = result == ReadFieldResult::Field { record_end: true }
                && input[..read].last() == Some(&b'\n');
            self.source.consume(read);
            self.cell_bytes += written;
            let outcome = match result {
                _ if self.cell_bytes > self.most_cell_bytes => Err(Fault::TooLong(self.cell_bytes)),
                ReadFieldResult::InputEmpty => continue,
                ReadFieldResult::OutputFull => {
                    self.cell.resize(2 * self.cell.len(), 0);
                    continue;
                }
                ReadFieldResult::Field { .. } if at_end => Err(Fault::UnclosedQuote),
                ReadFieldResult::Field { record_end: true } => Ok(Some(After::Line)),
                ReadFieldResult::Field { record_end: false } => Ok(Some(After::Cell)),
                ReadFieldResult::End => Ok(None),
            };
            self.find_line(ended_by_line_feed);
            return outcome;
        }
    }

    /// Finds the line on which the cell begins. Of the line feeds that the parser has passed since the last cell, those
    /// of the blank lines before the cell count; those within it and the one that ended it do not.
    fn find_line(&mut self, ended_by_line_feed: bool) {
        if self.parser.line() == self.cell_line {
            return;
        }
        let line_feeds = self.cell().iter().map(|&byte| u64::from(byte == b'\n'));
        let within: u64 = line_feeds.sum();
        self.cell_line = self.parser.line() - within - u64::from(ended_by_line_feed);
    }
}

/// Whether a text begins with the byte order mark of UTF-16.
pub(super) fn is_utf16(start: &[u8]) -> bool {
    start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF])
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read};

    use crate::data::CsvOptions;
    use crate::data::cells::{After, Cells, Fault};

    /// Gives its text in pieces, and is interrupted before each.
    struct Pieces<'a> {
        text: &'a [u8],
        bytes: usize,
        interrupted: bool,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(ErrorKind::Interrupted.into());
            }
            let bytes = self.bytes.min(buffer.len());
            self.text.read(&mut buffer[..bytes])
        }
    }

    fn in_pieces(text: &[u8], bytes: usize) -> Cells<Pieces<'_>> {
        let pieces = Pieces {
            text,
            bytes,
            interrupted: false,
        };
        Cells::new(pieces, 600, &CsvOptions::default()).expect("a start")
    }

    #[test]
    fn cells_are_the_same_in_whatever_pieces_the_text_comes() {
        let long = "é,".repeat(200);
        let text = format!(
            "\u{feff}\"na\"\"me\",second\r\n\r\n\n\"p\r\nq\",12345678\r\n\"{long}\",\n\"\",\"last\"\"\""
        );
        let expected = [
            (1, "na\"me", After::Cell),
            (1, "second", After::Line),
            (4, "p\r\nq", After::Cell),
            (5, "12345678", After::Line),
            (6, &long, After::Cell),
            (6, "", After::Line),
            (7, "", After::Cell),
            (7, "last\"", After::Line),
        ];
        for bytes in [1, 2, 3, 7, text.len()] {
            let mut cells = in_pieces(text.as_bytes(), bytes);
            for (line, cell, after) in expected {
                assert_eq!(cells.advance().expect("no fault"), Some(after));
                assert_eq!(str::from_utf8(cells.cell()), Ok(cell), "{bytes} bytes");
                assert_eq!(cells.cell_line(), line, "{bytes} bytes");
            }
            assert_eq!(cells.advance().expect("no fault"), None);
        }
    }

    #[test]
    fn faults_are_the_same_in_whatever_pieces_the_text_comes() {
        let long = format!("a\r\n\"\n{}\"", "x".repeat(600));
        let unclosed = b"a\r\n\"\r\n\"\",\r\n";
        for bytes in [1, 7, 1000] {
            let mut cells = in_pieces(long.as_bytes(), bytes);
            cells.advance().expect("a cell");
            assert!(matches!(cells.advance(), Err(Fault::TooLong(601..))));
            assert_eq!(cells.cell_line(), 2);
            let mut cells = in_pieces(unclosed, bytes);
            cells.advance().expect("a cell");
            assert!(matches!(cells.advance(), Err(Fault::UnclosedQuote)));
            assert_eq!(cells.cell_line(), 2);
        }
    }

    #[test]
    fn a_byte_order_mark_alone_is_an_empty_text() {
        for text in ["\u{feff}", "\u{feff}\n", "\r\n\n", ""] {
            let mut cells = in_pieces(text.as_bytes(), 1);
            assert_eq!(cells.advance().expect("no fault"), None, "{text:?}");
        }
    }
}
