//! Which rows train and which validate, and in which order they come: functions of a seed, with no state to save.

use std::collections::{BTreeMap, HashMap};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::data::{Column, Error};

/// The purpose of a permutation that chooses validation rows.
pub const SPLIT: u64 = 2;
/// The purpose of a permutation that orders an epoch's training rows.
pub const SHUFFLE: u64 = 3;
/// The purpose of a permutation that orders the blocks in which an epoch reads a table.
pub const SHUFFLE_BLOCKS: u64 = 7;

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
    permutation_of_part(seed, purpose, (epoch, 0), n, out);
}

/// [`permutation`] of a part of an epoch's rows, whose number, from 1, stands in the key in the place of the 0.
pub fn permutation_of_part(
    seed: u64,
    purpose: u64,
    (epoch, part): (u64, u64),
    n: usize,
    out: &mut Vec<u32>,
) {
    let n = u32::try_from(n).expect("a table has fewer than 2^32 rows");
    out.clear();
    out.extend(0..n);
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose, epoch, part]) {
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

/// Like [`split`] over `groups.len()` rows, with every group, numbered from 0, whole on one side.
///
/// Of n rows v = round(f·n) are to be held out. The groups come in the order of a permutation drawn by the seed, and each is held
/// out where that brings the rows held out nearer to v; the others train. Where it does of none, the smallest is held out, of equal
/// ones that which comes first. One group is always left to train on.
///
/// Errors: a fraction outside (0, 1); fewer than 2 groups.
pub fn split_grouped(groups: &[u32], fraction: f64, seed: u64) -> Result<Split, Error> {
    let n = groups.len();
    let wanted = held_out(n, fraction)?;
    let sizes = group_sizes(groups);
    if sizes.len() < 2 {
        let groups = sizes.len();
        return Err(Error::Groups { groups, least: 2 });
    }
    let mut order = Vec::new();
    permutation(seed, SPLIT, 0, sizes.len(), &mut order);
    let (mut rows, mut chosen) = (0, vec![false; sizes.len()]);
    let mut left = sizes.len();
    for &group in &order {
        let size = sizes[group as usize];
        // |v − (rows + size)| < |v − rows|
        if left > 1 && size < 2 * wanted.saturating_sub(rows) {
            chosen[group as usize] = true;
            rows += size;
            left -= 1;
        }
    }
    if rows == 0 {
        let smallest = order.iter().min_by_key(|&&group| sizes[group as usize]);
        chosen[*smallest.expect("there are groups") as usize] = true;
    }
    let (validation, train) = (0..n as u32).partition(|&row| chosen[groups[row as usize] as usize]);
    Ok(Split { train, validation })
}

/// Holds out the latest round(f·n) rows, at least 1, and leaves at least 1 to train on. Of rows at the same time the later ones in
/// the table are later.
///
/// Errors: a fraction outside (0, 1); fewer than 2 rows.
pub fn split_latest(times: &[f64], fraction: f64) -> Result<Split, Error> {
    let n = times.len();
    let held_out = held_out(n, fraction)?;
    let mut order: Vec<u32> = (0..n as u32).collect();
    // The sort is stable; −0 is 0.
    order.sort_by(|&one, &next| {
        let time = |row: u32| times[row as usize] + 0.0;
        time(one).total_cmp(&time(next))
    });
    Ok(divide(n, &order[n - held_out..]))
}

/// The groups of equal values of some rows, none of them missing, numbered from 0 as they come.
pub fn groups_of(column: &Column, rows: &[u32]) -> Vec<u32> {
    let mut numbered = HashMap::new();
    let mut number = |value: u64| {
        let next = numbered.len() as u32;
        *numbered.entry(value).or_insert(next)
    };
    if let Some(codes) = column.codes() {
        let values = rows.iter().map(|&row| u64::from(codes[row as usize]));
        return values.map(&mut number).collect();
    }
    let numbers = column.numbers().unwrap_or_default();
    let values = rows
        .iter()
        .map(|&row| (numbers[row as usize] + 0.0).to_bits()); // −0 is 0
    values.map(&mut number).collect()
}

/// The rows of each group.
pub fn group_sizes(groups: &[u32]) -> Vec<usize> {
    let mut sizes = Vec::new();
    for &group in groups {
        let group = group as usize;
        if group >= sizes.len() {
            sizes.resize(group + 1, 0);
        }
        sizes[group] += 1;
    }
    sizes
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
    use super::*;

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

    #[test]
    fn a_group_is_held_out_whole_where_that_comes_nearer_to_the_fraction() {
        let groups: Vec<u32> = (0..40).map(|row| row / 4 * 3 % 10).collect();
        for seed in 0..20 {
            let split = split_grouped(&groups, 0.2, seed).expect("10 groups");
            assert_eq!((split.validation.len(), split.train.len()), (8, 32));
            let held: Vec<_> = split
                .validation
                .iter()
                .map(|&row| groups[row as usize])
                .collect();
            assert!(
                split
                    .train
                    .iter()
                    .all(|&row| !held.contains(&groups[row as usize]))
            );
            assert_eq!(split, split_grouped(&groups, 0.2, seed).expect("the same"));
        }
        assert_ne!(
            split_grouped(&groups, 0.2, 0).expect("groups"),
            split_grouped(&groups, 0.2, 1).expect("groups")
        );
        // Of 10 rows 2 are wanted. The group of 8 is never nearer than none, and that of 2 always is.
        let uneven = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        for seed in 0..9 {
            let split = split_grouped(&uneven, 0.2, seed).expect("2 groups");
            assert_eq!(split.validation, [8, 9]);
        }
        // Of 6 rows 1 is wanted: neither group comes nearer, and the smaller one is held out.
        let both_too_large = [0, 0, 1, 1, 1, 1];
        let split = split_grouped(&both_too_large, 0.1, 3).expect("2 groups");
        assert_eq!(split.validation, [0, 1]);
        // All but one of 4 rows are wanted; the group that comes last is left to train on.
        let split = split_grouped(&[0, 0, 1, 1], 0.99, 3).expect("2 groups");
        assert_eq!((split.validation.len(), split.train.len()), (2, 2));
        assert_eq!(
            split_grouped(&[0; 9], 0.5, 0)
                .expect_err("one group")
                .to_string(),
            "the groups must number at least 2, got 1"
        );
    }

    #[test]
    fn the_latest_rows_are_held_out_and_of_equal_times_those_that_come_later() {
        let times = [3.0, -1.0, 5.0, 3.0, 0.0, 3.0, -0.0, 2.0];
        let held_out = |fraction| split_latest(&times, fraction).expect("a split").validation;
        assert_eq!(held_out(0.125), [2]);
        assert_eq!(held_out(0.25), [2, 5]);
        assert_eq!(held_out(0.375), [2, 3, 5]);
        assert_eq!(held_out(0.75), [0, 2, 3, 5, 6, 7]);
    }

    #[test]
    fn groups_are_numbered_as_their_values_come() {
        let words = Column::categorical("w", &[Some("b"), Some("a"), Some("b"), None]);
        assert_eq!(groups_of(&words, &[0, 1, 2]), [0, 1, 0]);
        assert_eq!(groups_of(&words, &[1, 2]), [0, 1]);
        let numbers = Column::numeric("x", [-0.0, 2.5, 0.0]).expect("finite numbers");
        assert_eq!(groups_of(&numbers, &[0, 1, 2]), [0, 1, 0]);
    }
}
