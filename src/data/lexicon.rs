//! The different words of a column, numbered as they come, in little more memory than their letters take.

use std::hash::{BuildHasher, RandomState};

/// Bytes that a word takes beside its letters: its end, and up to three slots that find it.
pub(super) const BYTES_BESIDE: usize = 8 + 3 * 4;

/// An empty slot.
const FREE: u32 = u32::MAX;

/// Different words, each with a code: 0 for the first that came, 1 for the next.
///
/// The words stand one after another in one text, and a table of codes with linear probing finds them. Hashes are keyed
/// at random, so nobody can choose words that all fall into one place.
#[derive(Default)]
pub(super) struct Lexicon {
    text: String,
    ends: Vec<usize>,
    slots: Vec<u32>,
    keys: RandomState,
}

impl Lexicon {
    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The word of a code.
    ///
    /// Panics: there is none, the caller's bug.
    pub(super) fn word(&self, code: u32) -> &str {
        let code = code as usize;
        let start = code.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[code]]
    }

    /// The words in the order of their codes, from one code on.
    pub(super) fn words_from(&self, code: usize) -> impl Iterator<Item = &str> {
        (code..self.len()).map(|code| self.word(code as u32))
    }

    /// The code of a word that is here, or the slot where it would be found.
    fn find(&self, word: &str) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = self.keys.hash_one(word) as usize & mask;
        loop {
            match self.slots[slot] {
                FREE => return Err(slot),
                code if self.word(code) == word => return Ok(code),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The code of a word, which is put to the others where it is new.
    pub(super) fn code(&mut self, word: &str) -> u32 {
        if self.slots.len() < 2 * (self.len() + 1) {
            self.grow();
        }
        self.find(word).unwrap_or_else(|slot| {
            let code = self.len() as u32;
            self.slots[slot] = code;
            self.text.push_str(word);
            self.ends.push(self.text.len());
            code
        })
    }

    /// Makes the slots twice as many.
    fn grow(&mut self) {
        self.slots = vec![FREE; (2 * self.slots.len()).max(16)];
        for code in 0..self.len() as u32 {
            if let Err(slot) = self.find(self.word(code)) {
                self.slots[slot] = code;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_the_code_that_it_got_when_it_first_came() {
        let mut lexicon = Lexicon::default();
        let word = |number: u32| format!("w{}", number % 5000);
        for number in 0..15_000 {
            assert_eq!(lexicon.code(&word(number)), number % 5000);
        }
        assert_eq!(lexicon.code(""), 5000);
        assert_eq!(lexicon.len(), 5001);
        assert!((0..5000).all(|code| lexicon.word(code) == word(code)));
        assert_eq!(lexicon.words_from(4999).collect::<Vec<_>>(), ["w4999", ""]);
    }
}
