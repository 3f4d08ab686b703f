//! Writes tables: rows of columns as CSV or Parquet, a run of rows at a time.

mod csv;
mod parquet;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

pub use self::csv::CsvWriter;
use self::parquet::ParquetWriter;
use crate::data::{Column, Kind};

/// The formats that tables are written in.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Text with a header.
    #[default]
    Csv,
    /// Typed columns in row groups, compressed with Snappy.
    Parquet,
}

/// Rows of a column that are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The column.
    pub column: &'a Column,
    /// The first of its rows.
    pub first: usize,
}

/// A table that is being written.
pub enum TableWriter<W: Write + Send> {
    /// As text.
    Csv(CsvWriter<W>),
    /// As a Parquet file.
    Parquet(Box<ParquetWriter<W>>),
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table with columns of these names and kinds.
    ///
    /// Errors: `into` fails.
    pub fn begin(format: TableFormat, into: W, columns: &[(String, Kind)]) -> io::Result<Self> {
        Ok(match format {
            TableFormat::Csv => {
                let names = columns.iter().map(|(name, _)| name.as_str());
                Self::Csv(CsvWriter::begin(into, names)?)
            }
            TableFormat::Parquet => {
                let writer = ParquetWriter::begin(into, columns).map_err(io::Error::other)?;
                Self::Parquet(Box::new(writer))
            }
        })
    }

    /// Writes the next rows, a row group where there are such: so many of each column.
    ///
    /// Errors: `into` fails. Panics: the columns are not those that were begun with, or have not so many rows, the caller's bug.
    pub fn write(&mut self, columns: &[Written], rows: usize) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.write(columns, rows),
            Self::Parquet(writer) => writer.write(columns, rows).map_err(io::Error::other),
        }
    }

    /// Writes what a table ends with.
    ///
    /// Errors: `into` fails.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Csv(writer) => Ok(writer.finish()),
            Self::Parquet(writer) => writer.finish().map_err(io::Error::other),
        }
    }
}
