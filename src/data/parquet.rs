//! Reads Parquet: flat columns of a file, one after another in each of its row groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, Encoding, LogicalType, TimeUnit, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96, Int96Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;

use crate::data::builder::{Cell, Sink};
use crate::data::intake::{Intake, Reading, Taken};
use crate::data::{At, Error, Kind, format_timestamp, pages};

/// Values that are read at once.
const VALUES: usize = 1024;
/// Values of a dictionary, at most.
const DICTIONARY_VALUES: usize = 4 << 20;
/// Bytes of a file's metadata, at most.
const METADATA_BYTES: u64 = 64 << 20;

/// Reads a table from a Parquet file, a page of a column and a chunk of rows in memory.
///
/// Integers, floats and decimals are numeric, NaN and null missing; booleans boolean; strings categorical; dates and times
/// of a day timestamp, in UTC where they say nothing else. Where a column is declared or known to be of another kind, its
/// values are read as the texts that they are printed as.
///
/// Errors: a file that is cut off or damaged; columns that are nested, repeated or of other types; compression other than
/// Snappy and Zstandard; an infinite number; a limit exceeded. Places are rows; the first is 1.
pub fn read_parquet<R: ChunkReader + 'static, S: Sink>(
    source: R,
    reading: Reading<S>,
) -> Result<Taken, Error> {
    // The crate checks what it reads, and its arithmetic panics where a hostile file has found what it does not check.
    let read = catch_unwind(AssertUnwindSafe(|| read(source, reading)));
    read.unwrap_or_else(|_| Err(damaged("its bytes contradict one another")))
}

fn damaged(detail: impl std::fmt::Display) -> Error {
    Error::Parquet {
        detail: format!("the file is damaged or cut off: {detail}"),
    }
}

impl From<ParquetError> for Error {
    fn from(error: ParquetError) -> Self {
        damaged(error)
    }
}

fn read<R: ChunkReader + 'static, S: Sink>(source: R, reading: Reading<S>) -> Result<Taken, Error> {
    let source = Shared(Arc::new(source));
    check_footer(&source)?;
    let file = SerializedFileReader::new(source.clone())?;
    let metadata = file.metadata();
    let columns = metadata.file_metadata().schema_descr().columns();
    let contents = contents(columns)?;
    let mut intake = Intake::begin(reading, At::Row)?;
    for (column, content) in columns.iter().zip(&contents) {
        intake.add_column(column.name(), 1, Some(content.kind()))?;
    }
    intake.check_columns()?;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).map_err(damaged)?;
        intake.check_room(rows, intake.rows_read() as u64 + 1)?;
        let readers = file.get_row_group(number)?;
        for (index, content) in contents.iter().enumerate() {
            check_pages(&source, group.column(index))?;
            let run = Run {
                pages: Checked(readers.get_column_page_reader(index)?),
                column: &columns[index],
                index,
                rows,
                intake: &mut intake,
            };
            run.read(*content)?;
        }
        intake.end_rows(rows);
    }
    if intake.rows_read() == 0 {
        let detail = "the file has no rows".to_owned();
        return Err(Error::Parquet { detail });
    }
    intake.finish()
}

/// A file that is read from in two ways.
struct Shared<R>(Arc<R>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: ChunkReader> Length for Shared<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for Shared<R> {
    type T = R::T;

    fn get_read(&self, start: u64) -> Result<R::T, ParquetError> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.get_bytes(start, length)
    }
}

/// Checks the last bytes of a file: the length of its metadata and four letters.
fn check_footer<R: ChunkReader>(source: &Shared<R>) -> Result<(), Error> {
    const FOOTER: usize = 8;
    let letters = b"PAR1";
    let length = source.len();
    if length < (letters.len() + FOOTER) as u64 {
        return Err(damaged("it is too short to be Parquet"));
    }
    let start = source.get_bytes(0, letters.len())?;
    let end = source.get_bytes(length - FOOTER as u64, FOOTER)?;
    let (metadata, end) = end.split_at(FOOTER - letters.len());
    if start != letters[..] || end != letters {
        return Err(damaged("Parquet begins and ends with PAR1"));
    }
    let bytes = metadata
        .iter()
        .rev()
        .fold(0, |bytes, &byte| bytes << 8 | u64::from(byte));
    if bytes > METADATA_BYTES {
        let detail = format!("the metadata must have at most {METADATA_BYTES} bytes, got {bytes}");
        return Err(Error::Parquet { detail });
    }
    Ok(())
}

/// Checks that the pages of a column are within the file, compressed in a way that tells how large they become, and not too
/// large to be held.
fn check_pages<R: ChunkReader>(
    source: &Shared<R>,
    column: &ColumnChunkMetaData,
) -> Result<(), Error> {
    let name = column.column_descr().name();
    match column.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
        other => {
            let other = other.to_string();
            let other = other.split('(').next().unwrap_or_default();
            let detail = format!(
                "column {name:?} is compressed with {other}: write the file with SNAPPY, ZSTD or no compression"
            );
            return Err(Error::Parquet { detail });
        }
    }
    let (start, length) = column.byte_range();
    if start
        .checked_add(length)
        .is_none_or(|end| end > source.len())
    {
        return Err(damaged(format!("column {name:?} goes beyond its end")));
    }
    pages::check(source.get_read(start)?, length)
        .map_err(|detail| damaged(format!("in column {name:?}, {detail}")))
}

/// Pages of which none makes its reader hold more than its bytes allow.
struct Checked(Box<dyn PageReader>);

impl Checked {
    fn check(page: &Page) -> Result<(), ParquetError> {
        let plain = matches!(
            page.encoding(),
            Encoding::PLAIN | Encoding::RLE | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY
        );
        if !plain {
            return Err(ParquetError::General(format!(
                "encoding {} is not read: write the file with PLAIN or dictionary encoding",
                page.encoding()
            )));
        }
        let values = page.num_values() as usize;
        if page.is_dictionary_page() && values > DICTIONARY_VALUES.min(page.buffer().len()) {
            return Err(ParquetError::General(format!(
                "a dictionary declares {values} values"
            )));
        }
        Ok(())
    }
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.0.get_next_page()?;
        page.as_ref().map_or(Ok(()), Self::check)?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.skip_next_page()
    }
}

impl Iterator for Checked {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// What the values of a column are.
#[derive(Clone, Copy)]
enum Content {
    Boolean,
    Signed,
    Unsigned,
    Float,
    /// Units of 10⁻ˢ.
    Decimal(i32),
    Days,
    /// So many units in a second.
    Moment(f64),
    Words,
}

impl Content {
    fn kind(self) -> Kind {
        match self {
            Self::Boolean => Kind::Boolean,
            Self::Signed | Self::Unsigned | Self::Float | Self::Decimal(_) => Kind::Numeric,
            Self::Days | Self::Moment(_) => Kind::Timestamp,
            Self::Words => Kind::Categorical,
        }
    }

    /// What a column has, if that is something of which there is a column here.
    fn of(column: &ColumnDescPtr) -> Option<Self> {
        if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
            return None;
        }
        let integers = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        let bytes = matches!(column.physical_type(), Type::BYTE_ARRAY);
        let fixed = matches!(column.physical_type(), Type::FIXED_LEN_BYTE_ARRAY);
        let per_second = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1e3,
            TimeUnit::MICROS => 1e6,
            TimeUnit::NANOS => 1e9,
        };
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
            | (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => {
                bytes.then_some(Self::Words)
            }
            (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
                let wide = column.type_length() > 16;
                (integers || (fixed && !wide)).then(|| Self::Decimal(column.type_scale()))
            }
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => {
                integers.then_some(Self::Days)
            }
            (Some(LogicalType::Timestamp(of)), _) => {
                integers.then(|| Self::Moment(per_second(&of.unit)))
            }
            (None, ConvertedType::TIMESTAMP_MILLIS) => integers.then_some(Self::Moment(1e3)),
            (None, ConvertedType::TIMESTAMP_MICROS) => integers.then_some(Self::Moment(1e6)),
            (Some(LogicalType::Integer(of)), _) => integers.then_some(if of.is_signed {
                Self::Signed
            } else {
                Self::Unsigned
            }),
            (
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => integers.then_some(Self::Unsigned),
            (
                None | Some(LogicalType::Unknown),
                ConvertedType::NONE
                | ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64,
            ) => match column.physical_type() {
                Type::BOOLEAN => Some(Self::Boolean),
                Type::INT32 | Type::INT64 => Some(Self::Signed),
                Type::FLOAT | Type::DOUBLE => Some(Self::Float),
                Type::INT96 => Some(Self::Moment(1e6)),
                Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => None,
            },
            _ => None,
        }
    }
}

/// What the columns have.
///
/// Errors: all of those that cannot be columns here.
fn contents(columns: &[ColumnDescPtr]) -> Result<Vec<Content>, Error> {
    let found: Vec<_> = columns.iter().map(Content::of).collect();
    let others = columns
        .iter()
        .zip(&found)
        .filter(|(_, content)| content.is_none());
    let others: Vec<String> = others.map(|(column, _)| column.path().string()).collect();
    if others.is_empty() && !columns.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    Err(Error::ParquetColumns { columns: others })
}

/// The values of a column in a row group, on their way into a table.
struct Run<'a, S> {
    pages: Checked,
    column: &'a ColumnDescPtr,
    index: usize,
    rows: usize,
    intake: &'a mut Intake<S>,
}

impl<S: Sink> Run<'_, S> {
    fn read(self, content: Content) -> Result<(), Error> {
        match self.column.physical_type() {
            Type::BOOLEAN => self.numbers::<BoolType>(|&truth| f64::from(truth), bool::to_string),
            Type::INT32 => match content {
                Content::Unsigned => self.numbers::<Int32Type>(
                    |&value| (value as u32).into(),
                    |&value| (value as u32).to_string(),
                ),
                _ => self.integers::<Int32Type>(content, |&value| value.into()),
            },
            Type::INT64 => match content {
                Content::Unsigned => self.numbers::<Int64Type>(
                    |&value| value as u64 as f64,
                    |&value| (value as u64).to_string(),
                ),
                _ => self.integers::<Int64Type>(content, |&value| value),
            },
            Type::INT96 => self.integers::<Int96Type>(content, Int96::to_micros),
            Type::FLOAT => self.numbers::<FloatType>(|&value| value.into(), f32::to_string),
            Type::DOUBLE => self.numbers::<DoubleType>(|&value| value, f64::to_string),
            Type::BYTE_ARRAY => self.words(),
            Type::FIXED_LEN_BYTE_ARRAY => {
                let scale = self.column.type_scale();
                self.decimals::<FixedLenByteArrayType>(scale, |value| {
                    let bytes = value.data();
                    let negative = bytes.first().is_some_and(|&byte| byte >= 0x80);
                    let sign = if negative { -1 } else { 0 };
                    bytes
                        .iter()
                        .fold(sign, |number, &byte| number << 8 | i128::from(byte))
                })
            }
        }
    }

    fn integers<T: DataType>(
        self,
        content: Content,
        integer: impl Fn(&T::T) -> i64 + Copy,
    ) -> Result<(), Error> {
        match content {
            Content::Decimal(scale) => {
                self.decimals::<T>(scale, move |value| integer(value).into())
            }
            Content::Days => self.moments::<T>(move |value| integer(value) as f64 * 86_400.0),
            Content::Moment(unit) => self.moments::<T>(move |value| integer(value) as f64 / unit),
            _ => self.numbers::<T>(
                move |value| integer(value) as f64,
                move |value| integer(value).to_string(),
            ),
        }
    }

    fn moments<T: DataType>(self, seconds: impl Fn(&T::T) -> f64 + Copy) -> Result<(), Error> {
        self.numbers::<T>(seconds, move |value| format_timestamp(seconds(value)))
    }

    /// Numbers of units of 10⁻ˢ, each rounded once.
    fn decimals<T: DataType>(
        self,
        scale: i32,
        unscaled: impl Fn(&T::T) -> i128 + Copy,
    ) -> Result<(), Error> {
        let number = move |value: &T::T| -> f64 {
            let text = format!("{}e{}", unscaled(value), -i64::from(scale));
            text.parse().expect("digits and an exponent are a number")
        };
        self.numbers::<T>(number, move |value| number(value).to_string())
    }

    /// Values that are numbers, and print as texts where the column is of another kind.
    fn numbers<T: DataType>(
        self,
        number: impl Fn(&T::T) -> f64,
        print: impl Fn(&T::T) -> String,
    ) -> Result<(), Error> {
        let content = Content::of(self.column).map(Content::kind);
        let is_of_kind = content == self.intake.kind(self.index);
        self.values::<T>(|intake, index, value, row| {
            let number = number(value);
            if number.is_nan() {
                intake.push(index, Cell::Missing, row)
            } else if is_of_kind {
                intake.push(index, Cell::Number(number), row)
            } else {
                intake.push(index, Cell::Text(&print(value)), row)
            }
        })
    }

    fn words(self) -> Result<(), Error> {
        self.values::<ByteArrayType>(|intake, index, value, row| {
            let bytes = value.data();
            let allowed = intake.limits().cell_bytes;
            let place = || intake.place(index, row);
            if bytes.len() > allowed {
                return Err(Error::Limit {
                    place: place(),
                    limit: "bytes of a cell",
                    allowed: allowed as u64,
                    got: bytes.len() as u64,
                });
            }
            let word = str::from_utf8(bytes).map_err(|_| Error::InvalidUtf8 { place: place() })?;
            intake.push(index, Cell::Text(word), row)
        })
    }

    /// Hands on the values of all rows, of which those that are null are missing.
    fn values<T: DataType>(
        self,
        mut push: impl FnMut(&mut Intake<S>, usize, &T::T, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self {
            pages,
            column,
            index,
            rows,
            intake,
        } = self;
        let present = column.max_def_level();
        let mut reader = ColumnReaderImpl::<T>::new(column.clone(), Box::new(pages));
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let first = intake.rows_read() as u64 + 1;
        let few = || damaged(format!("column {:?} has too few values", column.name()));
        let mut done = 0;
        while done < rows {
            levels.clear();
            values.clear();
            let some = VALUES.min(rows - done);
            let nullable = (present > 0).then_some(&mut levels);
            let (records, _, _) = reader.read_records(some, nullable, None, &mut values)?;
            if records == 0 {
                return Err(few());
            }
            let mut next = values.iter();
            for record in 0..records {
                let row = first + done as u64;
                if present == 0 || levels.get(record) == Some(&present) {
                    push(intake, index, next.next().ok_or_else(few)?, row)?;
                } else {
                    intake.push(index, Cell::Missing, row)?;
                }
                done += 1;
                intake.end_value(index, done)?;
            }
        }
        Ok(())
    }
}
