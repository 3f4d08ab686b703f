//! Folds: the rows of a table cut into parts, each of which is left out and validated on in its turn.

use std::cmp::Reverse;

use crate::data::{Error, group_sizes, permutation};

/// The purpose of a permutation that cuts rows into folds.
const FOLDS: u64 = 6;

/// The fold of each of n rows, from 0: the rows in a random order are dealt to the folds in turn, so that sizes differ by at most
/// one.
///
/// Errors: fewer rows than folds.
pub fn folds(n: usize, folds: usize, seed: u64) -> Result<Vec<u32>, Error> {
    folds_stratified(&vec![0; n], folds, seed)
}

/// Like [`folds`] over `classes.len()` rows, which are dealt class by class, in the order of the classes' codes: the rows of a class
/// in two folds differ by at most one in number, too.
///
/// Errors: fewer rows than folds.
pub fn folds_stratified(classes: &[u32], folds: usize, seed: u64) -> Result<Vec<u32>, Error> {
    let n = classes.len();
    if n < folds {
        return Err(Error::Folds { folds, rows: n });
    }
    let mut order = Vec::new();
    permutation(seed, FOLDS, 0, n, &mut order);
    // The sort is stable, so the rows of a class stay in their random order.
    order.sort_by_key(|&row| classes[row as usize]);
    let mut fold = vec![0; n];
    for (place, row) in order.into_iter().enumerate() {
        fold[row as usize] = (place % folds) as u32;
    }
    Ok(fold)
}

/// Like [`folds`] over `groups.len()` rows, with every group, numbered from 0, whole in one fold: the largest group first, of equally
/// large ones in a random order, each is given to the fold that has the fewest rows, of equal ones the first.
///
/// Sizes differ by at most the largest group. Errors: fewer groups than folds.
/// Source: Graham (1969), "Bounds on multiprocessing timing anomalies", longest processing time first; as scikit-learn's
/// `GroupKFold`, whose order of equally large groups is another.
pub fn folds_grouped(groups: &[u32], folds: usize, seed: u64) -> Result<Vec<u32>, Error> {
    let sizes = group_sizes(groups);
    if sizes.len() < folds {
        let groups = sizes.len();
        return Err(Error::Groups {
            groups,
            least: folds,
        });
    }
    let mut order = Vec::new();
    permutation(seed, FOLDS, 0, sizes.len(), &mut order);
    order.sort_by_key(|&group| Reverse(sizes[group as usize]));
    let (mut rows, mut of_group) = (vec![0; folds], vec![0; sizes.len()]);
    for group in order {
        let fewest = (0..folds).min_by_key(|&fold| rows[fold]);
        let fold = fewest.expect("there are folds");
        rows[fold] += sizes[group as usize];
        of_group[group as usize] = fold as u32;
    }
    Ok(groups
        .iter()
        .map(|&group| of_group[group as usize])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rows are in each fold.
    fn sizes(fold: &[u32]) -> Vec<usize> {
        group_sizes(fold)
    }

    #[test]
    fn every_row_is_in_one_fold_and_sizes_differ_by_at_most_one() {
        for (n, count, expected) in [
            (10, 5, vec![2; 5]),
            (11, 3, vec![4, 4, 3]),
            (2, 2, vec![1, 1]),
        ] {
            let cut = folds(n, count, 7).expect("enough rows");
            assert_eq!((cut.len(), sizes(&cut)), (n, expected));
            assert_eq!(cut, folds(n, count, 7).expect("enough rows"));
        }
        assert_ne!(
            folds(40, 2, 7).expect("rows"),
            folds(40, 2, 8).expect("rows")
        );
        assert_eq!(
            folds(2, 3, 0).expect_err("2 rows").to_string(),
            "the rows must be at least as many as the folds, 3, got 2"
        );
    }

    #[test]
    fn each_class_is_dealt_to_the_folds_as_evenly_as_it_can_be() {
        // 7 rows of class 0, 4 of class 1 and 1 of class 2.
        let classes = [0, 1, 0, 0, 1, 0, 2, 0, 0, 1, 0, 1];
        let cut = folds_stratified(&classes, 3, 5).expect("enough rows");
        assert_eq!(sizes(&cut), [4, 4, 4]);
        for (class, rows) in [(0, 7), (1, 4), (2, 1)] {
            let of_class = cut.iter().zip(&classes).filter(|(_, one)| **one == class);
            let mut counts = [0; 3];
            for (fold, _) in of_class {
                counts[*fold as usize] += 1;
            }
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert_eq!(counts.iter().sum::<usize>(), rows);
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }

    #[test]
    fn a_group_is_whole_in_one_fold_and_the_largest_are_dealt_first() {
        // Groups of 5, 4, 3, 2 and 1 rows: 5 and 4, then 3 to the 4, 2 to the 5, and of 7 and 7 the first has the last.
        let groups = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4];
        let cut = folds_grouped(&groups, 2, 1).expect("enough groups");
        let expected = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
        assert_eq!(cut, expected);
        assert_eq!(
            folds_grouped(&[0, 0, 1], 3, 1)
                .expect_err("2 groups")
                .to_string(),
            "the groups must number at least 3, got 2"
        );
    }
}
