//! The digits table shipped in the binary, and digits drawn as characters.

use std::fmt::Write as _;

use hyper::body::Bytes;

/// 1,797 digits; the README beside the file names their origin.
const TABLE: &str = include_str!("../digits.csv");

/// Of so many rows of the table, the network never trains on the last.
const HELD_OUT_EVERY: usize = 5;

/// Width and height of a digit in pixels.
const SIDE: usize = 8;

/// From empty to full; pixels are 0..16.
const SHADES: &[u8] = b" .:-=+*#%@";

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digit {
    /// 8×8 pixels of 0..16, row by row.
    pub(super) pixels: Vec<u8>,
    /// What it shows, 0..9.
    pub(super) class: u8,
}

/// A part of the table: what is uploaded, and what is in it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// With the header.
    pub(super) csv: String,
    /// In the table's order.
    pub(super) digits: Vec<Digit>,
}

impl Part {
    fn new(header: &str, rows: &[&str]) -> Self {
        let csv = format!("{header}\n{}\n", rows.join("\n"));
        Self {
            csv,
            digits: rows.iter().map(|row| digit(row)).collect(),
        }
    }

    pub(super) fn body(&self) -> Bytes {
        Bytes::from(self.csv.clone())
    }
}

/// The rows to train on and the rows held out.
pub(super) fn parts() -> (Part, Part) {
    let (header, body) = TABLE
        .split_once('\n')
        .expect("the shipped table has a header");
    let rows: Vec<&str> = body.lines().collect();
    let is_held_out = |row: usize| row % HELD_OUT_EVERY == HELD_OUT_EVERY - 1;
    let part = |held_out: bool| {
        let rows = rows
            .iter()
            .enumerate()
            .filter(|(row, _)| is_held_out(*row) == held_out);
        Part::new(header, &rows.map(|(_, row)| *row).collect::<Vec<_>>())
    };
    (part(false), part(true))
}

fn digit(row: &str) -> Digit {
    let mut cells: Vec<u8> = row
        .split(',')
        .map(|cell| cell.parse().expect("the shipped cells are small integers"))
        .collect();
    let class = cells.pop().expect("the class is the last column");
    Digit {
        pixels: cells,
        class,
    }
}

/// Digits side by side, each pixel two characters wide, with two lines of caption under each.
pub(super) fn draw(digits: &[(&Digit, [String; 2])]) -> String {
    let mut text = String::new();
    for line in 0..SIDE {
        let drawn = digits
            .iter()
            .map(|(digit, _)| pixel_line(&digit.pixels[line * SIDE..][..SIDE]));
        push_line(&mut text, drawn);
    }
    for line in 0..2 {
        push_line(
            &mut text,
            digits.iter().map(|(_, caption)| caption[line].clone()),
        );
    }
    text
}

fn push_line(text: &mut String, cells: impl Iterator<Item = String>) {
    let mut line = String::new();
    for cell in cells {
        write!(line, "  {cell:<17}").expect("a String takes everything");
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn pixel_line(pixels: &[u8]) -> String {
    let shade =
        |pixel: u8| char::from(SHADES[usize::from(pixel.min(16)) * (SHADES.len() - 1) / 16]);
    pixels.iter().flat_map(|&pixel| [shade(pixel); 2]).collect()
}

#[cfg(test)]
mod tests {
    use super::{Digit, draw, parts};

    #[test]
    fn the_table_splits_into_1438_rows_to_train_on_and_359_held_out() {
        let (train, held_out) = parts();
        assert_eq!((train.digits.len(), held_out.digits.len()), (1438, 359));
        for part in [train, held_out] {
            let lines: Vec<&str> = part.csv.lines().collect();
            assert_eq!(lines.len(), part.digits.len() + 1);
            assert!(
                lines[0].starts_with("p0,p1,") && lines[0].ends_with(",p63,digit"),
                "{}",
                lines[0]
            );
            assert!(
                part.digits
                    .iter()
                    .all(|digit| digit.pixels.len() == 64 && digit.class < 10)
            );
        }
    }

    #[test]
    fn the_first_digit_of_the_table_is_drawn_as_a_zero() {
        let (train, _) = parts();
        let drawn = draw(&[(&train.digits[0], ["predicted 0".into(), "is 0".into()])]);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            lines[0], "      ::##++",
            "blank, blank, 5, 13, 9 and 1 of 16"
        );
        assert_eq!(drawn.lines().count(), 10);
        assert_eq!(drawn.lines().last(), Some("  is 0"));
    }

    #[test]
    fn four_digits_side_by_side_fit_80_columns() {
        let full = Digit {
            pixels: vec![16; 64],
            class: 8,
        };
        let empty = Digit {
            pixels: vec![0; 64],
            class: 1,
        };
        let caption = || ["predicted 8 (0.98)"[..17].to_owned(), "is 8".to_owned()];
        let drawn = draw(&[
            (&full, caption()),
            (&empty, caption()),
            (&full, caption()),
            (&full, caption()),
        ]);
        assert!(
            drawn.lines().all(|line| line.chars().count() <= 80),
            "{drawn}"
        );
        let filled = "@".repeat(16);
        assert!(
            drawn
                .lines()
                .next()
                .is_some_and(|line| line.contains(&filled)),
            "{drawn}"
        );
    }
}
