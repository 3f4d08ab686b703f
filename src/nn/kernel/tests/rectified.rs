//! Products with relu in them: to the same bits as relu by itself, NaN and −0 too.

use super::Layer;
use crate::nn::kernel::{Backward, Forward, InstructionSet, Product, select};
use crate::nn::{BLOCK, Scalar};

/// The bits of numbers, those of every NaN alike: which NaN an operation makes is left open.
fn bits<T: Scalar>(numbers: &[T]) -> Vec<u64> {
    let nan = |number: f64| if number.is_nan() { f64::NAN } else { number };
    let bits = |number: &T| nan(Scalar::to_f64(*number)).to_bits();
    numbers.iter().map(bits).collect()
}

/// relu, as `activation` has it.
fn relu<T: Scalar>(z: T) -> T {
    select(z <= T::zero(), T::zero(), z)
}

fn check<T: Scalar>([rows, inputs, units]: [usize; 3]) {
    let mut layer = Layer::<T>::new([rows, inputs, units].into());
    // A row of NaN, one of −0 and one of 0, as far as there are rows.
    for (row, x) in [T::nan(), -T::zero(), T::zero()].into_iter().enumerate() {
        if row < rows {
            layer.x[row * inputs..][..inputs].fill(x);
        }
    }
    let what = format!("{rows} × {inputs} × {units}");
    for set in InstructionSet::available() {
        let z = layer.forward(set, 0..rows, true);
        let a: Vec<T> = z.iter().copied().map(relu).collect();
        let (mut both_z, mut both_a) = (vec![T::nan(); z.len()], vec![T::nan(); z.len()]);
        let (x, b) = (layer.x(), Some(layer.b.as_slice()));
        let both = Forward::new(x, &layer.w, b, units, &mut both_z).rectified_into(&mut both_a);
        T::multiply(set, &mut Product::Forward(both));
        assert_eq!(bits(&both_z), bits(&z), "{set:?} {what}");
        assert_eq!(bits(&both_a), bits(&a), "{set:?} {what}");
        let mut alone = vec![T::nan(); z.len()];
        let in_place = Forward::new(x, &layer.w, b, units, &mut alone).rectified();
        T::multiply(set, &mut Product::Forward(in_place));
        assert_eq!(bits(&alone), bits(&a), "{set:?} {what}");
        // Back to the inputs, as if they were a of a relu; an infinite ∂C/∂a at one that is 0 leaves no NaN.
        layer.deltas[0] = T::infinity();
        let mut expected = layer.backward(set, 0..rows);
        for (delta, &a) in expected.iter_mut().zip(&layer.x) {
            *delta = select(a <= T::zero(), T::zero(), *delta);
        }
        let mut deltas = vec![T::nan(); rows * inputs];
        let product = Backward {
            deltas: layer.deltas(),
            w: &layer.w,
            inputs,
            gradient: &mut deltas,
            rectified: Some(&layer.x),
        };
        T::multiply(set, &mut Product::Backward(product));
        assert_eq!(bits(&deltas), bits(&expected), "{set:?} {what}");
    }
}

#[test]
fn products_that_rectify_have_the_same_bits_as_relu_by_itself() {
    let shapes: &[[usize; 3]] = if cfg!(miri) {
        &[[5, 3, 7], [3, 5, 1]]
    } else {
        &[
            [1, 300, 700],
            [1, 64, 64],
            [17, 40, 1],
            [9, 1, 33],
            [40, 19, 1],
            [64, 64, 64],
            // From panels, the last of them in parts.
            [40, 2100, 1100],
            [40, 70, 2100],
            [BLOCK, 30, 17],
        ]
    };
    for &shape in shapes {
        check::<f32>(shape);
        check::<f64>(shape);
    }
}
