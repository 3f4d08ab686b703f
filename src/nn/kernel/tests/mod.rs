//! The products against the triple loop, and their bits wherever an element stands, on every instruction set.

mod panels;
mod rectified;

use std::ops::Range;

use super::*;
use crate::nn::random::{keyed, uniform};
use crate::nn::{BLOCK, CHUNK, FixedTree};

/// The sizes of a product.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    inputs: usize,
    units: usize,
}

impl From<[usize; 3]> for Shape {
    fn from([rows, inputs, units]: [usize; 3]) -> Self {
        Self {
            rows,
            inputs,
            units,
        }
    }
}

fn numbers<T: Scalar>(len: usize, purpose: u64) -> Vec<T> {
    if cfg!(miri) {
        // Miri takes minutes over thousands of random numbers.
        let number = |index: u64| ((index + purpose) * 37 % 101) as f64 / 50.0 - 1.0;
        return (0..len as u64).map(|i| T::from_f64(number(i))).collect();
    }
    let mut random = keyed(7, purpose, len as u64, 0);
    (0..len)
        .map(|_| T::from_f64(uniform(&mut random, -1.0, 1.0)))
        .collect()
}

/// Operands of a layer: x, w, b and δ.
struct Layer<T> {
    shape: Shape,
    x: Vec<T>,
    w: Vec<T>,
    b: Vec<T>,
    deltas: Vec<T>,
}

impl<T: Scalar> Layer<T> {
    fn new(shape: Shape) -> Self {
        let Shape {
            rows,
            inputs,
            units,
        } = shape;
        Self {
            shape,
            x: numbers(rows * inputs, 1),
            w: numbers(inputs * units, 2),
            b: numbers(units, 3),
            deltas: numbers(rows * units, 4),
        }
    }

    fn x(&self) -> Matrix<'_, T> {
        Matrix::new(&self.x, self.shape.inputs)
    }

    fn deltas(&self) -> Matrix<'_, T> {
        Matrix::new(&self.deltas, self.shape.units)
    }

    fn forward(&self, set: InstructionSet, rows: Range<usize>, biases: bool) -> Vec<T> {
        let mut z = vec![T::nan(); rows.len() * self.shape.units];
        let biases = biases.then_some(self.b.as_slice());
        let x = self.x().slice(rows);
        let product = Forward::new(x, &self.w, biases, self.shape.units, &mut z);
        T::multiply(set, &mut Product::Forward(product));
        z
    }

    fn backward(&self, set: InstructionSet, rows: Range<usize>) -> Vec<T> {
        let mut gradient = vec![T::nan(); rows.len() * self.shape.inputs];
        let product = Backward {
            deltas: self.deltas().slice(rows),
            w: &self.w,
            inputs: self.shape.inputs,
            gradient: &mut gradient,
            rectified: None,
        };
        T::multiply(set, &mut Product::Backward(product));
        gradient
    }

    fn weight_gradient(&self, set: InstructionSet, columns: Range<usize>) -> Vec<T> {
        let mut gradient = vec![T::nan(); columns.len() * self.shape.units];
        let product = WeightGradient {
            x: self.x(),
            columns,
            deltas: self.deltas(),
            panels: None,
            into: Destination::Gradient(&mut gradient),
        };
        T::multiply(set, &mut Product::WeightGradient(product));
        gradient
    }

    fn bias_gradient(&self, set: InstructionSet, units: Range<usize>) -> Vec<T> {
        let mut sums = vec![T::nan(); units.len()];
        let product = BiasGradient {
            deltas: self.deltas(),
            columns: units,
            sums: &mut sums,
        };
        T::multiply(set, &mut Product::BiasGradient(product));
        sums
    }
}

/// Compares with Σ of `terms` terms: |error| ≤ (n + 1) ε Σ |terms| for any order of addition, Higham (2002), equation 3.5.
fn compare<T: Scalar>(
    got: &[T],
    columns: usize,
    terms: usize,
    term: impl Fn(usize, usize, usize) -> f64,
    what: &dyn Fn() -> String,
) {
    for (index, got) in got.iter().enumerate() {
        let (i, j) = (index / columns, index % columns);
        let (mut sum, mut size) = (0.0, 0.0);
        for p in 0..terms {
            sum += term(i, j, p);
            size += term(i, j, p).abs();
        }
        let bound = (terms as f64 + 1.0) * Scalar::to_f64(T::epsilon()) * size;
        let error = (Scalar::to_f64(*got) - sum).abs();
        assert!(
            error <= bound,
            "{}: {got} instead of {sum} at {i}, {j}",
            what()
        );
    }
}

fn check<T: Scalar>(shape: Shape) {
    let layer = Layer::<T>::new(shape);
    let Shape {
        rows,
        inputs,
        units,
    } = shape;
    let x = |i: usize, p: usize| layer.x[i * inputs + p].to_f64();
    let w = |p: usize, j: usize| layer.w[p * units + j].to_f64();
    let delta = |i: usize, j: usize| layer.deltas[i * units + j].to_f64();
    for set in InstructionSet::available() {
        let named = |name: &'static str| move || format!("{set:?} {name} {shape:?}");
        if rows > 0 {
            for biases in [true, false] {
                let term = |i: usize, j: usize, p: usize| {
                    if p < inputs {
                        x(i, p) * w(p, j)
                    } else {
                        layer.b[j].to_f64()
                    }
                };
                let terms = inputs + usize::from(biases);
                let z = layer.forward(set, 0..rows, biases);
                compare(&z, units, terms, term, &named("z"));
            }
            let gradient = layer.backward(set, 0..rows);
            let term = |i: usize, k: usize, j: usize| delta(i, j) * w(k, j);
            compare(&gradient, inputs, units, term, &named("Σ δ w"));
        }
        let gradient = layer.weight_gradient(set, 0..inputs);
        let term = |k: usize, j: usize, i: usize| x(i, k) * delta(i, j);
        compare(&gradient, units, rows, term, &named("∂C/∂w"));
        let sums = layer.bias_gradient(set, 0..units);
        let term = |_: usize, j: usize, i: usize| delta(i, j);
        compare(&sums, units, rows, term, &named("∂C/∂b"));
    }
}

#[test]
fn products_are_those_of_the_triple_loop_for_all_small_shapes() {
    // Every height of a tile, and every number of lanes in one and two vectors of every set.
    let (rows, inputs, units): (_, &[usize], _) = if cfg!(miri) {
        (5, &[1, 3, 5], 5)
    } else {
        (14, &[1, 2, 3, 8, 17], 34)
    };
    for rows in 0..=rows {
        for &inputs in inputs {
            for units in 1..=units {
                let shape = Shape {
                    rows,
                    inputs,
                    units,
                };
                check::<f32>(shape);
                check::<f64>(shape);
            }
        }
    }
}

#[test]
fn products_are_those_of_the_triple_loop_for_odd_large_shapes() {
    let shapes: &[[usize; 3]] = if cfg!(miri) {
        // Under Miri, rows of 37 numbers are far apart.
        &[[13, 9, 37]]
    } else {
        &[
            [10, 784, 30],
            [30, 10, 784],
            [64, 257, 129],
            [63, 100, 37],
            [1, 1000, 3],
            [1, 50, 700],
            [2, 50, 700],
            [129, 1, 65],
            [129, 65, 1],
            [512, 70, 33],
            [449, 33, 17],
            // Rows far apart, so that panels are copied; longer than a panel; and not whole.
            [40, 70, 1100],
            [65, 2100, 1030],
            [33, 1030, 2100],
            [33, 2500, 1],
        ]
    };
    for &shape in shapes {
        check::<f32>(shape.into());
        check::<f64>(shape.into());
    }
}

fn bits<T: Scalar>(numbers: &[T]) -> Vec<u64> {
    numbers
        .iter()
        .map(|number| Scalar::to_f64(*number).to_bits())
        .collect()
}

fn same_bits<T: Scalar>(shape: Shape) {
    let layer = Layer::<T>::new(shape);
    let Shape {
        rows,
        inputs,
        units,
    } = shape;
    for set in InstructionSet::available() {
        let z = layer.forward(set, 0..rows, true);
        let back = layer.backward(set, 0..rows);
        for part in [0..1, rows / 2..rows, 1..rows - 1, rows - 1..rows] {
            let of =
                |numbers: &[T], width: usize| bits(&numbers[part.start * width..part.end * width]);
            let what = format!("{set:?} {shape:?}, rows {part:?}");
            let alone = layer.forward(set, part.clone(), true);
            assert_eq!(bits(&alone), of(&z, units), "{what}");
            let alone = layer.backward(set, part.clone());
            assert_eq!(bits(&alone), of(&back, inputs), "{what}");
        }
        let gradient = layer.weight_gradient(set, 0..inputs);
        for part in [0..1, inputs / 2..inputs, 1..inputs - 1] {
            let alone = layer.weight_gradient(set, part.clone());
            let of_whole = &gradient[part.start * units..part.end * units];
            assert_eq!(
                bits(&alone),
                bits(of_whole),
                "{set:?} {shape:?}, inputs {part:?}"
            );
        }
        let sums = layer.bias_gradient(set, 0..units);
        for part in [0..1, units / 2..units, units - 1..units] {
            let alone = layer.bias_gradient(set, part.clone());
            assert_eq!(
                bits(&alone),
                bits(&sums[part.clone()]),
                "{set:?} {shape:?}, units {part:?}"
            );
        }
    }
}

#[test]
fn an_element_has_the_same_bits_whatever_rows_are_computed_with_it() {
    let shapes: &[[usize; 3]] = if cfg!(miri) {
        &[[7, 5, 19]]
    } else {
        &[
            [23, 43, 37],
            [64, 9, 1],
            [25, 300, 5],
            // The whole copies panels, its parts do not.
            [60, 33, 1500],
            [40, 2100, 1100],
            [500, 37, 20],
        ]
    };
    for &shape in shapes {
        same_bits::<f32>(shape.into());
        same_bits::<f64>(shape.into());
    }
}

#[test]
fn rows_that_are_picked_are_those_rows() {
    fn check<T: Scalar>([rows, inputs, units]: [usize; 3]) {
        let table = numbers::<T>(50 * inputs, 1);
        let picked: Vec<u32> = (0..rows as u32).map(|i| (i * 37) % 50).collect();
        let mut copied = Vec::new();
        for &row in &picked {
            copied.extend_from_slice(&table[row as usize * inputs..][..inputs]);
        }
        let w = numbers::<T>(inputs * units, 2);
        let deltas = numbers::<T>(rows * units, 3);
        let results = [
            Matrix::picked(&table, inputs, &picked),
            Matrix::new(&copied, inputs),
        ]
        .map(|x| {
            let mut z = vec![T::nan(); rows * units];
            let mut gradient = vec![T::nan(); inputs * units];
            forward(x, &w, None, &mut z);
            let deltas = (Matrix::new(&deltas, units), None);
            weight_gradient(x, 0..inputs, deltas, &mut gradient);
            (bits(&z), bits(&gradient))
        });
        assert_eq!(results[0], results[1]);
    }
    let shape = if cfg!(miri) { [5, 7, 9] } else { [33, 21, 19] };
    check::<f32>(shape);
    check::<f64>(shape);
}

#[test]
fn sums_over_samples_are_those_of_the_fixed_tree() {
    fn check<T: Scalar>(rows: usize) {
        let layer = Layer::<T>::new(Shape {
            rows,
            inputs: 5,
            units: 3,
        });
        for set in InstructionSet::available() {
            let mut tree = FixedTree::new(rows, || ndarray::Array1::zeros(15));
            let whole = layer.weight_gradient(set, 0..5);
            let sum = tree.sum(rows, |rows, sum: &mut ndarray::Array1<T>| {
                let product = WeightGradient {
                    x: layer.x().slice(rows.clone()),
                    columns: 0..5,
                    deltas: layer.deltas().slice(rows),
                    panels: None,
                    into: Destination::Gradient(sum.as_slice_mut().expect("contiguous")),
                };
                T::multiply(set, &mut Product::WeightGradient(product));
                std::ops::ControlFlow::<()>::Continue(())
            });
            let sum = sum.continue_value().expect("nothing breaks").to_vec();
            assert_eq!(bits(&whole), bits(&sum), "{set:?} {rows} rows");
        }
    }
    let rows: &[usize] = if cfg!(miri) {
        &[1, 3 * CHUNK + 1, BLOCK]
    } else {
        &[
            1,
            CHUNK,
            CHUNK + 1,
            3 * CHUNK,
            5 * CHUNK + 7,
            7 * CHUNK,
            BLOCK - 1,
            BLOCK,
        ]
    };
    for &rows in rows {
        check::<f32>(rows);
        check::<f64>(rows);
    }
}

#[test]
#[should_panic(expected = "operands of")]
fn operands_of_the_wrong_size_are_a_bug() {
    forward(
        Matrix::new(&[0.0_f32; 4], 2),
        &[0.0; 4],
        None,
        &mut [0.0; 3],
    );
}
