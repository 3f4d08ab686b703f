//! Parquet: typed columns, each run of rows a row group.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type};

use crate::data::writer::Written;
use crate::data::{Kind, Value, format_timestamp};

/// Values that are handed over at once.
const VALUES: usize = 1024;

/// A Parquet file that is being written.
pub struct ParquetWriter<W: Write + Send>(SerializedFileWriter<W>);

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn begin(into: W, columns: &[(String, Kind)]) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("table").with_fields(fields);
        // Statistics and an index of pages are for who looks for some of the rows, and are kept in memory to the end.
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_dictionary_enabled(false)
            .set_created_by(concat!("gradientd ", env!("CARGO_PKG_VERSION")).to_owned());
        for (name, kind) in columns {
            if *kind == Kind::Categorical {
                let path = ColumnPath::new(vec![name.clone()]);
                properties = properties.set_column_dictionary_enabled(path, true);
            }
        }
        let (schema, properties) = (Arc::new(schema.build()?), Arc::new(properties.build()));
        SerializedFileWriter::new(into, schema, properties).map(Self)
    }

    pub(super) fn write(&mut self, columns: &[Written], rows: usize) -> Result<(), ParquetError> {
        let mut group = self.0.next_row_group()?;
        for written in columns {
            let writer = group.next_column()?;
            let writer = writer.expect("the columns are those that were begun with");
            write_column(writer, written, rows)?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<W, ParquetError> {
        self.0.into_inner()
    }
}

/// A column of the schema: a double, a truth value, or a text. Any value may be missing.
fn field((name, kind): &(String, Kind)) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Numeric => (PhysicalType::DOUBLE, None),
        Kind::Boolean => (PhysicalType::BOOLEAN, None),
        Kind::Categorical | Kind::Timestamp => {
            (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
        }
    };
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    field.build().map(Arc::new)
}

fn write_column(
    mut writer: SerializedColumnWriter,
    written: &Written,
    rows: usize,
) -> Result<(), ParquetError> {
    let rows = written.first..written.first + rows;
    let wrong = "a column has values of its kind alone";
    match written.column.kind() {
        Kind::Numeric => write_values::<DoubleType>(&mut writer, written, rows, |value| {
            let Value::Number(number) = value else {
                unreachable!("{wrong}")
            };
            number
        }),
        Kind::Boolean => write_values::<BoolType>(&mut writer, written, rows, |value| {
            let Value::Boolean(truth) = value else {
                unreachable!("{wrong}")
            };
            truth
        }),
        Kind::Categorical => write_values::<ByteArrayType>(&mut writer, written, rows, |value| {
            let Value::Word(word) = value else {
                unreachable!("{wrong}")
            };
            ByteArray::from(word)
        }),
        Kind::Timestamp => write_values::<ByteArrayType>(&mut writer, written, rows, |value| {
            let Value::Timestamp(moment) = value else {
                unreachable!("{wrong}")
            };
            ByteArray::from(format_timestamp(moment).into_bytes())
        }),
    }?;
    writer.close()
}

/// Writes what `convert` makes of the values that are there.
fn write_values<T: DataType>(
    writer: &mut SerializedColumnWriter,
    written: &Written,
    rows: Range<usize>,
    convert: impl Fn(Value) -> T::T,
) -> Result<(), ParquetError> {
    let (mut values, mut levels) = (Vec::with_capacity(VALUES), Vec::with_capacity(VALUES));
    for first in rows.clone().step_by(VALUES) {
        values.clear();
        levels.clear();
        for row in first..rows.end.min(first + VALUES) {
            let value = written.column.value(row);
            let is_there = value != Value::Missing;
            levels.push(i16::from(is_there));
            if is_there {
                values.push(convert(value));
            }
        }
        let typed = writer.typed::<T>();
        typed.write_batch(&values, Some(&levels), None)?;
    }
    Ok(())
}
