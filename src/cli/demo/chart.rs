//! The loss curve, drawn with characters.

use std::fmt::Write as _;

use super::progress::LossRow;

const WIDTH: usize = 64;
const HEIGHT: usize = 14;

/// What stands in a cell where one curve passes, the other, or both.
const TRAIN: char = '+';
const VALIDATION: char = 'o';
const BOTH: char = '*';

/// Loss over epochs on a logarithmic scale: a legend, `HEIGHT` lines, the axis and its epochs.
///
/// Nothing where no loss is a positive number, as then there is no scale.
pub(super) fn loss_chart(rows: &[LossRow]) -> String {
    let train = curve(rows, |row| Some(row.train_loss));
    let validation = curve(rows, |row| row.validation_loss);
    let Some(scale) = Scale::over(&[&train, &validation]) else {
        return String::new();
    };
    let mut cells = vec![[' '; WIDTH]; HEIGHT];
    for (mark, points) in [(TRAIN, &train), (VALIDATION, &validation)] {
        for &point in points {
            let (column, line) = scale.cell(point);
            let cell = &mut cells[line][column];
            *cell = if *cell == ' ' || *cell == mark {
                mark
            } else {
                BOTH
            };
        }
    }
    scale.frame(&cells)
}

/// The points of a curve: (epoch, log10 of the loss).
fn curve(rows: &[LossRow], loss: impl Fn(&LossRow) -> Option<f64>) -> Vec<(f64, f64)> {
    rows.iter()
        .filter_map(|row| loss(row).map(|loss| (row.epoch as f64, loss.log10())))
        .filter(|(_, height)| height.is_finite())
        .collect()
}

/// What the edges of the chart stand for.
#[derive(Debug)]
struct Scale {
    first: f64,
    last: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn over(curves: &[&[(f64, f64)]]) -> Option<Self> {
        let mut points = curves.iter().copied().flatten();
        let &(epoch, height) = points.next()?;
        let start = Self {
            first: epoch,
            last: epoch,
            low: height,
            high: height,
        };
        Some(points.fold(start, |scale, &(epoch, height)| Self {
            first: scale.first.min(epoch),
            last: scale.last.max(epoch),
            low: scale.low.min(height),
            high: scale.high.max(height),
        }))
    }

    /// Column from the left and line from the top.
    fn cell(&self, (epoch, height): (f64, f64)) -> (usize, usize) {
        let column = share(epoch, self.first, self.last) * (WIDTH - 1) as f64;
        let line = (1.0 - share(height, self.low, self.high)) * (HEIGHT - 1) as f64;
        (column.round() as usize, line.round() as usize)
    }

    fn frame(&self, cells: &[[char; WIDTH]]) -> String {
        let mut text = format!(
            "  loss, logarithmic   {TRAIN} training   {VALIDATION} held-out   {BOTH} both\n"
        );
        for (line, cells) in cells.iter().enumerate() {
            let label = match self.labelled(line) {
                Some(loss) => format!("{loss:8.5} ┤"),
                None => format!("{:8} │", ""),
            };
            let row: String = cells.iter().collect();
            writeln!(text, "  {label}{}", row.trim_end()).expect("a String takes everything");
        }
        writeln!(text, "  {:8} └{}", "", "─".repeat(WIDTH)).expect("a String takes everything");
        let right = format!("{}", self.last);
        let left = format!("epoch {}", self.first);
        let room = WIDTH - right.len();
        writeln!(text, "  {:8}  {left:<room$}{right}", "").expect("a String takes everything");
        text
    }

    /// The loss that a line stands for, at the top, the bottom and two lines between.
    fn labelled(&self, line: usize) -> Option<f64> {
        let from_bottom = (HEIGHT - 1 - line) as f64 / (HEIGHT - 1) as f64;
        let marked = [0, 4, 9, HEIGHT - 1].contains(&line);
        marked.then(|| 10_f64.powf(self.low + (self.high - self.low) * from_bottom))
    }
}

/// Where a value lies between two others, 0..1; in the middle where they are the same.
fn share(value: f64, from: f64, to: f64) -> f64 {
    if to > from {
        (value - from) / (to - from)
    } else {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use super::{HEIGHT, LossRow, loss_chart};

    fn rows(losses: &[(f64, Option<f64>)]) -> Vec<LossRow> {
        (1..)
            .zip(losses)
            .map(|(epoch, &(train_loss, validation_loss))| LossRow {
                epoch,
                train_loss,
                validation_loss,
                accuracy: None,
            })
            .collect()
    }

    #[test]
    fn the_chart_has_its_lines_and_fits_80_columns() {
        let falling: Vec<_> = (1..=300)
            .map(|n| (1.0 / f64::from(n), Some(1.5 / f64::from(n))))
            .collect();
        let chart = loss_chart(&rows(&falling));
        assert_eq!(chart.lines().count(), HEIGHT + 3);
        assert!(
            chart.lines().all(|line| line.chars().count() <= 80),
            "{chart}"
        );
        let lines: Vec<&str> = chart.lines().collect();
        assert!(lines[1].starts_with("   1.50000 ┤o"), "{chart}");
        assert!(
            lines[HEIGHT].starts_with("   0.00333 ┤") && lines[HEIGHT].ends_with('+'),
            "{chart}"
        );
        assert!(lines[HEIGHT + 2].ends_with(" 300"), "{chart}");
    }

    #[test]
    fn curves_that_meet_share_a_mark() {
        let chart = loss_chart(&rows(&[(1.0, Some(0.5)), (0.1, Some(0.1))]));
        assert_eq!(
            chart
                .lines()
                .skip(1)
                .filter(|line| line.contains('*'))
                .count(),
            1,
            "{chart}"
        );
    }

    #[test]
    fn a_single_epoch_is_drawn_in_the_middle() {
        let chart = loss_chart(&rows(&[(0.5, None)]));
        assert_eq!(
            chart.matches('+').count(),
            2,
            "one in the legend, one in the chart:\n{chart}"
        );
    }

    #[test]
    fn losses_without_a_scale_are_not_drawn() {
        assert_eq!(loss_chart(&rows(&[(0.0, None), (0.0, None)])), "");
        assert_eq!(loss_chart(&[]), "");
    }
}
