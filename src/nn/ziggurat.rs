//! Numbers from N(0, 1), many of them: by the ziggurat, five times as fast as by Box and Muller.

use rand_core::Rng;

use crate::nn::random::uniform01;

/// Layers of the ziggurat.
const LAYERS: usize = 128;
/// r, where the tail begins. Source: Marsaglia and Tsang (2000), for 128 layers.
const TAIL: f64 = 3.442_619_855_899;
/// v, the area of each layer. Source: Marsaglia and Tsang (2000), for 128 layers.
const AREA: f64 = 9.912_563_035_262_17e-3;

/// The half of the density exp(−x²/2) to the right of 0, covered by 127 rectangles and a base with a tail, of the same
/// area each.
///
/// Source: Marsaglia and Tsang (2000), in the form of Doornik (2005), ZIGNOR: which layer, and where in it, are bits of
/// their own, as those of one draw in the first are not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ziggurat {
    /// Right ends of the layers, the base first, falling to 0.
    ends: [f64; LAYERS + 1],
}

impl Ziggurat {
    pub(crate) fn new() -> Self {
        let mut ends = [0.0; LAYERS + 1];
        let mut density = (-0.5 * TAIL * TAIL).exp();
        ends[0] = AREA / density;
        ends[1] = TAIL;
        for layer in 2..LAYERS {
            ends[layer] = (-2.0 * (AREA / ends[layer - 1] + density).ln()).sqrt();
            density = (-0.5 * ends[layer] * ends[layer]).exp();
        }
        Self { ends }
    }

    /// A number from N(0, 1): of one draw of 64 bits in 98 of 100 cases, else of some more.
    pub(crate) fn draw(&self, random: &mut impl Rng) -> f64 {
        loop {
            let bits = random.next_u64();
            let layer = bits as usize % LAYERS;
            // In [−1, 1), from the upper 53 bits; the layer has the lowest 7.
            let place = (bits as i64 >> 11) as f64 / (1_u64 << 52) as f64;
            let (end, next) = (self.ends[layer], self.ends[layer + 1]);
            let x = place * end;
            if x.abs() < next {
                return x;
            }
            if layer == 0 {
                return tail(random).copysign(x);
            }
            // Beyond the next layer, under the density or not: from its height at `end` to that at `next`, over that at x.
            let (lower, upper) = (relative(end, x), relative(next, x));
            if lower + uniform01(random) * (upper - lower) < 1.0 {
                return x;
            }
        }
    }
}

/// exp(−a²/2) / exp(−x²/2).
fn relative(a: f64, x: f64) -> f64 {
    (-0.5 * (a * a - x * x)).exp()
}

/// A number from the tail beyond r. Source: Marsaglia (1964), "Generating a variable from the tail of the normal distribution".
fn tail(random: &mut impl Rng) -> f64 {
    loop {
        let x = -(1.0 - uniform01(random)).ln() / TAIL;
        let y = -(1.0 - uniform01(random)).ln();
        if 2.0 * y > x * x {
            return TAIL + x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::keyed;

    #[test]
    fn every_layer_has_the_same_area() {
        let ends = Ziggurat::new().ends;
        assert!(ends.windows(2).all(|ends| ends[0] > ends[1]));
        let density = |x: f64| (-0.5 * x * x).exp();
        for layer in 1..LAYERS {
            let area = ends[layer] * (density(ends[layer + 1]) - density(ends[layer]));
            // What rounding leaves of v adds up to 1e-8 in the layer at the top.
            assert!((area / AREA - 1.0).abs() < 1e-7, "{layer}: {area}");
        }
        // The base: a rectangle up to r, and ∫ exp(−x²/2) beyond it.
        let beyond = (std::f64::consts::PI / 2.0).sqrt() * libm::erfc(TAIL / 2.0_f64.sqrt());
        let base = TAIL * density(TAIL) + beyond;
        assert!((base / AREA - 1.0).abs() < 1e-9, "{base}");
    }

    #[test]
    fn numbers_are_spread_as_those_of_the_normal_distribution() {
        const DRAWS: usize = 2_000_000;
        let (ziggurat, mut random) = (Ziggurat::new(), keyed(5, 0, 0, 0));
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| ziggurat.draw(&mut random)).collect();
        draws.sort_by(f64::total_cmp);
        // Everywhere, and beyond r, which one of 1,737 numbers is: the share below x within five standard errors of Φ(x).
        for x in (-45..=45)
            .map(|tenth| f64::from(tenth) / 10.0)
            .chain([-TAIL, TAIL])
        {
            let share = draws.partition_point(|&draw| draw < x) as f64 / DRAWS as f64;
            let below = 0.5 * libm::erfc(-x / 2.0_f64.sqrt());
            let bound = 5.0 * (below * (1.0 - below) / DRAWS as f64).sqrt();
            assert!(
                (share - below).abs() < bound.max(1e-6),
                "{x}: {share}, {below}"
            );
        }
        let mean = draws.iter().sum::<f64>() / DRAWS as f64;
        let moment = |power| draws.iter().map(|x| x.powi(power)).sum::<f64>() / DRAWS as f64;
        // Standard errors of the moments: √(1/n), √(2/n), √(96/n).
        let errors = [
            (mean, 0.0, 1.0),
            (moment(2), 1.0, 2.0),
            (moment(4), 3.0, 96.0),
        ];
        for (got, expected, variance) in errors {
            let bound = 5.0 * (variance / DRAWS as f64).sqrt();
            assert!((got - expected).abs() < bound, "{got} {expected}");
        }
    }
}
