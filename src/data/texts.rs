//! Rows of texts: CSV read without building a table, for whoever knows already what its columns are.

use std::collections::HashMap;
use std::io::Read;

use crate::data::csv::{Rows, read_rows};
use crate::data::intake::check_name;
use crate::data::{At, CsvOptions, Error, Place, TableLimits};

/// What takes the rows of a text.
pub trait TextRows {
    /// What can go wrong, the faults of the text among it.
    type Error: From<Error>;

    /// Takes the names of the columns.
    ///
    /// Errors: they are not those that are wanted.
    fn header(&mut self, names: &[String]) -> Result<(), Self::Error>;

    /// Takes a row, with a cell for each column; none where the value is missing. `place` says where a cell stands.
    ///
    /// Errors: a cell is not what is wanted.
    fn row(
        &mut self,
        cells: &[Option<String>],
        place: impl Fn(usize) -> Place,
    ) -> Result<(), Self::Error>;
}

/// Reads CSV with a header and hands on its rows, one in memory.
///
/// Errors: those of [`crate::data::read_csv`] that are of the text and not of its values; whatever `rows` refuses.
pub fn read_texts<T: TextRows>(
    source: impl Read,
    options: &CsvOptions,
    limits: TableLimits,
    rows: &mut T,
) -> Result<(), T::Error> {
    let mut texts = Texts {
        limits,
        names: Vec::new(),
        numbers: HashMap::new(),
        cells: Vec::new(),
        lines: Vec::new(),
        rows,
    };
    read_rows(source, options, &mut texts)
}

struct Texts<'a, T> {
    limits: TableLimits,
    names: Vec<String>,
    /// The number of each column by its name, counted from 1.
    numbers: HashMap<String, usize>,
    cells: Vec<Option<String>>,
    /// The line on which each cell begins.
    lines: Vec<u64>,
    rows: &'a mut T,
}

fn place_of(names: &[String], index: usize, line: u64) -> Place {
    Place {
        at: At::Line(line),
        column: index + 1,
        name: names.get(index).cloned(),
    }
}

impl<T: TextRows> Rows for Texts<'_, T> {
    type Error = T::Error;

    fn limits(&self) -> &TableLimits {
        &self.limits
    }

    fn width(&self) -> usize {
        self.names.len()
    }

    fn place(&self, index: usize, line: u64) -> Place {
        place_of(&self.names, index, line)
    }

    fn add_column(&mut self, name: &str, line: u64) -> Result<(), T::Error> {
        let place = self.place(self.width(), line);
        let number = self.width() + 1;
        if number > self.limits.columns {
            let allowed = self.limits.columns as u64;
            let (limit, got) = ("columns", number as u64);
            return Err(Error::Limit {
                place,
                limit,
                allowed,
                got,
            }
            .into());
        }
        check_name(name, || place.clone())?;
        if let Some(first) = self.numbers.insert(name.to_owned(), number) {
            let place = Place {
                name: Some(name.to_owned()),
                ..place
            };
            return Err(Error::DuplicateName { place, first }.into());
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    fn end_header(&mut self) -> Result<(), T::Error> {
        self.cells = vec![None; self.names.len()];
        self.lines = vec![0; self.names.len()];
        self.rows.header(&self.names)
    }

    fn begin_row(&mut self, _line: u64) -> Result<(), T::Error> {
        Ok(())
    }

    fn push_integer(&mut self, _index: usize, _integer: i32) -> bool {
        false
    }

    fn push(&mut self, index: usize, cell: Option<&str>, line: u64) -> Result<(), T::Error> {
        self.lines[index] = line;
        let kept = &mut self.cells[index];
        match (cell, kept.as_mut()) {
            (Some(cell), Some(kept)) => {
                kept.clear();
                kept.push_str(cell);
            }
            (cell, _) => *kept = cell.map(str::to_owned),
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), T::Error> {
        let (names, lines) = (&self.names, &self.lines);
        let place = |index: usize| place_of(names, index, lines[index]);
        self.rows.row(&self.cells, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TableLimits = TableLimits {
        columns: 3,
        cells: 0,
        cell_bytes: 20,
        categories: 0,
        category_bytes: 0,
    };

    /// What was read, as text.
    #[derive(Default)]
    struct Read(Vec<String>);

    impl TextRows for Read {
        type Error = Error;

        fn header(&mut self, names: &[String]) -> Result<(), Error> {
            self.0.push(names.join("|"));
            Ok(())
        }

        fn row(
            &mut self,
            cells: &[Option<String>],
            place: impl Fn(usize) -> Place,
        ) -> Result<(), Error> {
            let cells = cells.iter().map(|cell| cell.as_deref().unwrap_or("-"));
            let cells: Vec<_> = cells.collect();
            self.0
                .push(format!("{} at {}", cells.join("|"), place(cells.len() - 1)));
            Ok(())
        }
    }

    fn read(text: &str) -> Result<Vec<String>, String> {
        let mut read = Read::default();
        let done = read_texts(text.as_bytes(), &CsvOptions::default(), LIMITS, &mut read);
        done.map_err(|error| error.to_string())?;
        Ok(read.0)
    }

    #[test]
    fn rows_come_as_texts_with_their_places() {
        let rows = read("a,b\n1,\"x\ny\"\nNA,\n\n2, z \n").expect("rows");
        let expected = [
            "a|b",
            "1|x\ny at line 2, column 2 (\"b\")",
            "-|- at line 4, column 2 (\"b\")",
            "2|z at line 6, column 2 (\"b\")",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn faults_of_the_text_are_told_with_their_places() {
        for (text, told) in [
            (
                "",
                "line 1, column 1: a header row is required, and the text is empty",
            ),
            (
                "a,a\n",
                "line 1, column 2 (\"a\"): column names must differ, and column 1 has this name too",
            ),
            ("a,b\n", "line 1: the table has a header and no rows"),
            (
                "a,b\n1\n",
                "line 2, column 2 (\"b\"): the row has too few cells: 2 expected, got 1",
            ),
            (
                "a,b,c,d\n1,2,3,4\n",
                "line 1, column 4: columns must be at most 3, got 4",
            ),
        ] {
            assert_eq!(read(text).expect_err("a fault"), told);
        }
    }
}
