//! Panels of δ, and weights that move with their gradient: to the same bits as a gradient by itself.

use std::ops::Range;

use super::{Layer, bits};
use crate::nn::Scalar;
use crate::nn::kernel::{
    Destination, InstructionSet, Matrix, PANEL_UNITS, Panels, Product, WeightGradient,
};

#[test]
fn a_gradient_from_panels_has_the_same_bits() {
    fn check<T: Scalar>([rows, inputs, units]: [usize; 3], columns: Range<usize>) {
        let layer = Layer::<T>::new([rows, inputs, units].into());
        for set in InstructionSet::available() {
            let expected = layer.weight_gradient(set, columns.clone());
            let mut panels = vec![T::nan(); rows * units.next_multiple_of(PANEL_UNITS)];
            // Made in two parts.
            let half = units / 2 / PANEL_UNITS * PANEL_UNITS;
            let (first, second) = panels.split_at_mut(rows * half);
            for (columns, panels) in [(half..units, second), (0..half, first)] {
                let product = Panels {
                    deltas: layer.deltas(),
                    columns,
                    into: panels,
                };
                T::multiply(set, &mut Product::Panels(product));
            }
            let mut gradient = vec![T::nan(); columns.len() * units];
            let product = WeightGradient {
                x: layer.x(),
                columns: columns.clone(),
                deltas: layer.deltas(),
                panels: Some(&panels),
                into: Destination::Gradient(&mut gradient),
            };
            T::multiply(set, &mut Product::WeightGradient(product));
            assert_eq!(
                bits(&gradient),
                bits(&expected),
                "{set:?} {rows} {inputs} {units}"
            );
        }
    }
    let cases: &[([usize; 3], Range<usize>)] = if cfg!(miri) {
        // More than a chunk; and x copied too.
        &[([66, 5, 9], 1..4), ([3, 21, 5], 16..21)]
    } else {
        &[
            ([7, 5, 19], 0..5),
            ([70, 40, 37], 3..39),
            // x is copied too.
            ([65, 1100, 70], 1000..1048),
            ([130, 1100, 64], 7..71),
        ]
    };
    for (shape, columns) in cases {
        check::<f32>(*shape, columns.clone());
        check::<f64>(*shape, columns.clone());
    }
}

#[test]
fn weights_that_move_at_once_have_the_same_bits() {
    fn check<T: Scalar>([rows, inputs, units]: [usize; 3]) {
        let layer = Layer::<T>::new([rows, inputs, units].into());
        let rate = T::from_f64(0.3);
        for set in InstructionSet::available() {
            let gradient = layer.weight_gradient(set, 0..inputs);
            let step = |(&w, &g): (&T, &T)| w - rate * g;
            let expected: Vec<T> = layer.w.iter().zip(&gradient).map(step).collect();
            let mut panels = vec![T::nan(); rows * units.next_multiple_of(PANEL_UNITS)];
            let product = Panels {
                deltas: layer.deltas(),
                columns: 0..units,
                into: &mut panels,
            };
            T::multiply(set, &mut Product::Panels(product));
            let descend = |x: &[T], panels: Option<&[T]>, weights: &mut [T]| {
                let mut finite = false;
                let product = WeightGradient {
                    x: Matrix::new(x, inputs),
                    columns: 0..inputs,
                    deltas: layer.deltas(),
                    panels,
                    into: Destination::Weights(weights, rate, &mut finite),
                };
                T::multiply(set, &mut Product::WeightGradient(product));
                finite
            };
            // Of one unit, the sums of a gradient by itself are in vectors of inputs, and rounded alike.
            for panels in [None, Some(panels.as_slice())] {
                let mut weights = layer.w.clone();
                assert!(descend(&layer.x, panels, &mut weights));
                assert_eq!(
                    bits(&weights),
                    bits(&expected),
                    "{set:?} {rows} {inputs} {units}"
                );
            }
            for number in [T::nan(), T::infinity()] {
                for place in [0, inputs / 2, inputs - 1] {
                    let mut x = layer.x.clone();
                    x[place] = number;
                    let finite = descend(&x, None, &mut layer.w.clone());
                    assert!(!finite, "{number} at {place}");
                }
            }
        }
    }
    let shapes: &[[usize; 3]] = if cfg!(miri) {
        &[[66, 5, 9], [3, 6, 1]]
    } else {
        &[
            [10, 70, 30],
            [7, 5, 19],
            [130, 33, 64],
            [3, 20, 1],
            [1, 14, 33],
        ]
    };
    for &shape in shapes {
        check::<f32>(shape);
        check::<f64>(shape);
    }
}
