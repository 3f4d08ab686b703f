//! The classes of a column: what its values are called, whatever they are held as.

use crate::data::{Column, Kind};

impl Column {
    /// The different values as words: categories in sorted order, numbers numerically, `false` before `true`.
    ///
    /// Errors: how many there are, where they are more than `most`.
    pub fn classes(&self, most: usize) -> Result<Vec<String>, usize> {
        let Some(mut numbers) = self.numbers() else {
            let words = self.categories();
            return if words.len() > most {
                Err(words.len())
            } else {
                Ok(words.to_vec())
            };
        };
        numbers.retain(|number| !number.is_nan());
        for number in &mut numbers {
            *number += 0.0; // −0 is 0
        }
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        if numbers.len() > most {
            return Err(numbers.len());
        }
        let words = numbers.iter().map(|&number| self.word_of(number));
        Ok(words.collect())
    }

    /// What a number of the column is called as a class.
    pub fn word_of(&self, number: f64) -> String {
        match self.kind() {
            Kind::Boolean => (number != 0.0).to_string(),
            Kind::Numeric | Kind::Timestamp | Kind::Categorical => (number + 0.0).to_string(),
        }
    }
}
