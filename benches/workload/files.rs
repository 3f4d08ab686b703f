//! The samples and first parameters of a workload as `side_by_side.py` writes them: raw little-endian f32, row by row.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use gradientd::model::Model;
use gradientd::train::Source;
use ndarray::Array2;

use crate::shapes::{Workload, source};

/// A file of numbers, read one after the other.
struct Numbers {
    from: BufReader<File>,
}

impl Numbers {
    /// Panics: where the file is not `expected` numbers long.
    fn open(folder: &Path, workload: &Workload, what: &str, expected: usize) -> Self {
        let path = folder.join(format!("{}.{what}.f32", workload.name));
        let shown = path.display();
        let file = File::open(&path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let bytes = file.metadata().expect("the size of an open file").len();
        assert_eq!(bytes, 4 * expected as u64, "bytes of {shown}");
        Self {
            from: BufReader::with_capacity(1 << 20, file),
        }
    }

    fn next(&mut self) -> f32 {
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes).expect("a number is left");
        f32::from_le_bytes(bytes)
    }
}

/// The model that every peer starts from.
pub(crate) fn model(folder: &Path, workload: &Workload) -> Model {
    let mut numbers = Numbers::open(folder, workload, "parameters", workload.parameters());
    workload.model(|_| numbers.next())
}

/// The samples that every peer trains on.
pub(crate) fn samples(folder: &Path, workload: &Workload) -> Source {
    let (inputs, outputs) = workload.ends();
    let read = |what, width| {
        let mut numbers = Numbers::open(folder, workload, what, workload.rows * width);
        Array2::from_shape_simple_fn((workload.rows, width), || f64::from(numbers.next()))
    };
    source(read("inputs", inputs), read("targets", outputs))
}

/// The samples as a table: columns x0, x1, … of inputs and y0, y1, … of targets, each number in the fewest digits that
/// read back to it.
pub(crate) fn write_csv(folder: &Path, workload: &Workload, to: impl Write) -> std::io::Result<()> {
    let (inputs, outputs) = workload.ends();
    let rows = workload.rows;
    let mut x = Numbers::open(folder, workload, "inputs", rows * inputs);
    let mut y = Numbers::open(folder, workload, "targets", rows * outputs);
    let mut to = BufWriter::with_capacity(1 << 20, to);
    let names = (0..inputs).map(|column| format!("x{column}"));
    let names = names.chain((0..outputs).map(|column| format!("y{column}")));
    writeln!(to, "{}", names.collect::<Vec<_>>().join(","))?;
    for _ in 0..rows {
        for _ in 0..inputs {
            write!(to, "{},", x.next())?;
        }
        for column in 1..=outputs {
            let end = if column == outputs { '\n' } else { ',' };
            write!(to, "{}{end}", y.next())?;
        }
    }
    to.flush()
}
