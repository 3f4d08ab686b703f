//! Which rows train and which validate, and in which order they come: functions of a seed, with no state to save.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::data::Error;

/// The purpose of a permutation that chooses validation rows.
pub const SPLIT: u64 = 2;
/// The purpose of a permutation that orders an epoch's training rows.
pub const SHUFFLE: u64 = 3;

/// Row numbers to train on and to validate on, each in the table's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The rows to train on.
    pub train: Vec<u32>,
    /// The rows held out.
    pub validation: Vec<u32>,
}

/// Writes a uniformly random permutation of 0..n to `out`, keeping its capacity.
///
/// For i = n − 1, …, 1: swap elements i and j, j uniform in 0..=i from 32-bit words of ChaCha8 (stream 0, from block 0),
/// whose 32-byte key is seed, purpose, epoch and 0 as little-endian 64-bit words.
///
/// Panics: n is not below 2³², the caller's bug.
///
/// Source: Durstenfeld (1964), Algorithm 235, for the shuffle; Lemire (2019), "Fast random integer generation in an
/// interval", algorithm 5, for j; Bernstein (2008) for ChaCha, with 8 rounds.
pub fn permutation(seed: u64, purpose: u64, epoch: u64, n: usize, out: &mut Vec<u32>) {
    let n = u32::try_from(n).expect("a table has fewer than 2^32 rows");
    out.clear();
    out.extend(0..n);
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose, epoch, 0]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    for i in (1..n).rev() {
        out.swap(i as usize, below(i + 1, &mut rng) as usize);
    }
}

/// A uniform integer in 0..bound: the high word of bound·x, where a low word below 2³² mod bound is drawn again.
fn below(bound: u32, rng: &mut ChaCha8Rng) -> u32 {
    let mut product = u64::from(rng.next_u32()) * u64::from(bound);
    if (product as u32) < bound {
        let threshold = bound.wrapping_neg() % bound;
        while (product as u32) < threshold {
            product = u64::from(rng.next_u32()) * u64::from(bound);
        }
    }
    (product >> 32) as u32
}

/// Holds out round(f·n) random rows (half away from zero), at least 1, and leaves at least 1 to train on.
///
/// Errors: a fraction outside (0, 1); fewer than 2 rows.
pub fn split(n: usize, fraction: f64, seed: u64) -> Result<Split, Error> {
    let held_out = held_out(n, fraction)?;
    let mut order = Vec::new();
    permutation(seed, SPLIT, 0, n, &mut order);
    Ok(divide(n, &order[..held_out]))
}

/// Like [`split`] over `classes.len()` rows, with every class held out in its share.
///
/// Of v = round(f·n) rows, class c with n_c rows gets ⌊v·n_c/n⌋, and the classes with the largest remainders (of equal ones,
/// those with the lower code) get one more until v are held out. Within a class the rows come in the order of [`split`]'s permutation.
///
/// Errors: a fraction outside (0, 1); fewer than 2 rows.
///
/// Source: the method of Hamilton, known as largest remainder.
pub fn split_stratified(classes: &[u32], fraction: f64, seed: u64) -> Result<Split, Error> {
    let n = classes.len();
    let held_out = held_out(n, fraction)?;
    let mut quotas = quotas(classes, held_out);
    let mut order = Vec::new();
    permutation(seed, SPLIT, 0, n, &mut order);
    order.retain(|&row| {
        let quota = quotas
            .get_mut(&classes[row as usize])
            .expect("every class has a quota");
        let chosen = *quota > 0;
        *quota -= usize::from(chosen);
        chosen
    });
    Ok(divide(n, &order))
}

fn held_out(n: usize, fraction: f64) -> Result<usize, Error> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::Fraction { fraction });
    }
    if n < 2 || u32::try_from(n).is_err() {
        return Err(Error::RowsToSplit { rows: n });
    }
    Ok(((fraction * n as f64).round() as usize).clamp(1, n - 1))
}

fn quotas(classes: &[u32], held_out: usize) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for &class in classes {
        *counts.entry(class).or_insert(0_u128) += 1;
    }
    let (n, held_out) = (classes.len() as u128, held_out as u128);
    let mut quotas: BTreeMap<u32, usize> = counts
        .iter()
        .map(|(&class, count)| (class, (held_out * count / n) as usize))
        .collect();
    let mut by_remainder: Vec<u32> = counts.keys().copied().collect();
    // The sort is stable, so equal remainders stay in the order of their codes.
    by_remainder.sort_by_key(|class| std::cmp::Reverse(held_out * counts[class] % n));
    let left = held_out as usize - quotas.values().sum::<usize>();
    for class in &by_remainder[..left] {
        *quotas.get_mut(class).expect("every class has a quota") += 1;
    }
    quotas
}

fn divide(n: usize, chosen: &[u32]) -> Split {
    let mut held_out = vec![false; n];
    for &row in chosen {
        held_out[row as usize] = true;
    }
    let (validation, train) = (0..n as u32).partition(|&row| held_out[row as usize]);
    Split { train, validation }
}

#[cfg(test)]
mod tests {
    use crate::data::{split, split_stratified};

    #[test]
    fn a_split_is_exhaustive_disjoint_ordered_and_of_the_right_size() {
        for (n, fraction, held_out) in [
            (10, 0.25, 3),
            (10, 0.2, 2),
            (2, 0.01, 1),
            (2, 0.99, 1),
            (1797, 0.2, 359),
        ] {
            let split = split(n, fraction, 1).expect("a split");
            assert_eq!(
                (split.validation.len(), split.train.len()),
                (held_out, n - held_out)
            );
            assert!(split.train.is_sorted() && split.validation.is_sorted());
            let mut rows = [split.train, split.validation].concat();
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..n as u32));
        }
        assert_eq!(
            split(1, 0.5, 0).expect_err("one row").to_string(),
            "the rows to split must number in [2, 4294967295], got 1"
        );
        assert_eq!(
            split(9, 1.0, 0).expect_err("all rows").to_string(),
            "fraction must be in (0, 1), got 1"
        );
        assert!(split(9, f64::NAN, 0).is_err());
    }

    #[test]
    fn a_stratified_split_holds_out_each_class_by_largest_remainder() {
        let classes: Vec<u32> = (0..20)
            .map(|row| if row < 11 { 0 } else { u32::from(row < 17) + 4 })
            .collect();
        let split = split_stratified(&classes, 0.25, 3).expect("a split");
        let held_out = |class| {
            split
                .validation
                .iter()
                .filter(|&&row| classes[row as usize] == class)
                .count()
        };
        // Shares 2.75, 1.5 and 0.75 of classes 0 (11 rows), 5 (6 rows) and 4 (3 rows).
        assert_eq!(
            (held_out(0), held_out(5), held_out(4), split.train.len()),
            (3, 1, 1, 15)
        );
    }
}
