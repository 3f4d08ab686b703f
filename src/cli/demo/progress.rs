//! Following a job while it trains: a bar on a terminal, a few plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    super::{Error, client::Client},
    screen::Screen,
};

/// How long to wait between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most plain lines that a job is told in.
const PLAIN_LINES: u64 = 15;

/// One epoch of the loss history.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LossRow {
    /// From 1.
    pub(super) epoch: u64,
    /// Mean of the batch losses of the epoch.
    pub(super) train_loss: f64,
    /// Over the validation rows, after the epoch.
    pub(super) validation_loss: Option<f64>,
    /// Share of the validation rows that are classified rightly.
    pub(super) accuracy: Option<f64>,
}

impl LossRow {
    fn read(row: &Value) -> Option<Self> {
        Some(Self {
            epoch: row["epoch"].as_u64()?,
            train_loss: row["train"]["loss"].as_f64()?,
            validation_loss: row["validation"]["loss"].as_f64(),
            accuracy: row["validation"]["accuracy"].as_f64(),
        })
    }
}

/// What is told of a job while it trains.
#[derive(Debug, Clone, PartialEq)]
struct Moment {
    epochs: u64,
    row: LossRow,
    samples_per_second: Option<f64>,
    left: Option<Duration>,
}

impl Moment {
    /// `epoch 12/100  loss 0.01234  accuracy 95.8 %  123,456 samples/s  3 s left`.
    fn line(&self) -> String {
        let digits = self.epochs.to_string().len();
        let mut parts = vec![
            format!("epoch {:>digits$}/{}", self.row.epoch, self.epochs),
            format!("loss {:.5}", self.row.train_loss),
        ];
        parts.extend(
            self.row
                .accuracy
                .map(|share| format!("accuracy {:.1} %", 100.0 * share)),
        );
        parts.extend(
            self.samples_per_second
                .map(|rate| format!("{} samples/s", grouped(rate.round() as u64))),
        );
        parts.extend(
            self.left
                .map(|left| format!("{} s left", left.as_secs_f64().ceil())),
        );
        parts.join("  ")
    }
}

/// A job that succeeded.
#[derive(Debug)]
pub(super) struct Trained {
    /// Every epoch, from the first to the last.
    pub(super) history: Vec<LossRow>,
    /// From the last sight of it waiting to its end.
    pub(super) took: Duration,
}

/// Follows a job to its end and returns its loss history.
///
/// Errors: the job failed or was cancelled; the server is gone.
pub(super) async fn follow(
    client: &mut Client,
    screen: &Screen,
    job: &str,
) -> Result<Trained, Error> {
    let mut history: Vec<LossRow> = Vec::new();
    let mut teller = Teller::new(screen);
    let mut since = Instant::now();
    loop {
        let path = format!("/v1/jobs/{job}");
        let state = client.get(&path).await?;
        let status = state["status"].as_str().unwrap_or_default();
        if status == "queued" {
            since = Instant::now();
        }
        let took = since.elapsed();
        let news = fetch_losses(client, &path, history.last().map_or(0, |row| row.epoch)).await?;
        history.extend(news);
        if let Some(row) = history.last() {
            teller.tell(&moment(&state, row.clone(), took))?;
        }
        match status {
            "queued" | "running" | "paused" => sleep(LOOK_EVERY).await,
            "succeeded" => {
                teller.finish();
                return Ok(Trained { history, took });
            }
            _ => {
                teller.finish();
                return Err(ended(job, status, &state["error"]));
            }
        }
    }
}

async fn fetch_losses(client: &mut Client, job: &str, after: u64) -> Result<Vec<LossRow>, Error> {
    let path = format!("{job}/loss?after={after}&limit=10000");
    let answer = client.get(&path).await?;
    let rows = answer["data"]
        .as_array()
        .map(|rows| rows.iter().map(LossRow::read).collect());
    rows.unwrap_or(None).ok_or_else(|| Error::Unexpected {
        request: format!("GET {path}"),
        fault: "data must be rows with epoch and train.loss".into(),
    })
}

fn moment(state: &Value, row: LossRow, took: Duration) -> Moment {
    let epochs = state["progress"]["epochs"].as_u64().unwrap_or(row.epoch);
    let remaining = epochs.saturating_sub(row.epoch);
    let per_epoch = took.as_secs_f64() / row.epoch.max(1) as f64;
    Moment {
        epochs,
        samples_per_second: state["progress"]["samples_per_second"].as_f64(),
        left: (remaining > 0).then(|| Duration::from_secs_f64(per_epoch * remaining as f64)),
        row,
    }
}

fn ended(job: &str, status: &str, error: &Value) -> Error {
    let detail = error["detail"].as_str().unwrap_or("no reason was given");
    Error::JobEnded {
        job: job.into(),
        status: status.into(),
        detail: detail.into(),
    }
}

/// Tells moments to a person: redrawn in place on a terminal, now and then a line elsewhere.
struct Teller<'a> {
    screen: &'a Screen,
    bar: Option<ProgressBar>,
    told: u64,
}

impl<'a> Teller<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            bar: screen.is_terminal().then(bar),
            told: 0,
        }
    }

    fn tell(&mut self, moment: &Moment) -> Result<(), Error> {
        if let Some(bar) = &self.bar {
            bar.set_length(moment.epochs);
            bar.set_position(moment.row.epoch);
            bar.set_message(moment.line());
        } else if is_worth_a_line(self.told, moment.row.epoch, moment.epochs) {
            self.told = moment.row.epoch;
            self.screen.say(&format!("  {}", moment.line()))?;
        }
        Ok(())
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:70} {percent:>3} %\n  {msg}")
        .expect("the template is right");
    ProgressBar::new(1).with_style(style.progress_chars("█▌░"))
}

/// The first epoch seen, the last, and between them one in each fifteenth of the job.
fn is_worth_a_line(told: u64, epoch: u64, epochs: u64) -> bool {
    let part = |epoch: u64| epoch * PLAIN_LINES / epochs.max(1);
    epoch > told && (told == 0 || epoch == epochs || part(epoch) > part(told))
}

/// 1234567 as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{LossRow, Moment, ended, grouped, is_worth_a_line, moment};

    fn row() -> LossRow {
        let row = json!({"epoch": 12, "step": 1728, "learning_rate": 1.0, "seconds": 0.02,
            "train": {"loss": 0.012_345}, "validation": {"loss": 0.02, "accuracy": 0.958_333}});
        LossRow::read(&row).expect("epoch and loss are there")
    }

    #[test]
    fn a_row_without_validation_has_no_accuracy() {
        let row = LossRow::read(&json!({"epoch": 1, "train": {"loss": 0.5}, "validation": null}));
        let expected = LossRow {
            epoch: 1,
            train_loss: 0.5,
            validation_loss: None,
            accuracy: None,
        };
        assert_eq!(row, Some(expected));
        assert_eq!(
            LossRow::read(&json!({"epoch": 1, "train": {"loss": null}})),
            None
        );
    }

    #[test]
    fn the_progress_line_has_everything_and_fits_under_the_bar() {
        let state = json!({"progress": {"epochs": 100, "samples_per_second": 123_456.4}});
        let moment = moment(&state, row(), Duration::from_millis(600));
        let line = moment.line();
        assert_eq!(
            line,
            "epoch  12/100  loss 0.01235  accuracy 95.8 %  123,456 samples/s  5 s left"
        );
        assert!(line.len() + 2 <= 80, "indented by two, it must not be cut");
    }

    #[test]
    fn the_last_epoch_leaves_no_time() {
        let moment = Moment {
            epochs: 12,
            row: row(),
            samples_per_second: None,
            left: None,
        };
        assert_eq!(moment.line(), "epoch 12/12  loss 0.01235  accuracy 95.8 %");
    }

    #[test]
    fn a_long_job_is_told_in_at_most_20_lines_ending_with_its_last_epoch() {
        for epochs in [1, 2, 15, 16, 100, 5000] {
            let mut told = 0;
            let mut lines = 0;
            for epoch in 1..=epochs {
                if is_worth_a_line(told, epoch, epochs) {
                    (told, lines) = (epoch, lines + 1);
                }
            }
            assert!(lines <= 20, "{epochs} epochs were told in {lines} lines");
            assert_eq!(told, epochs);
        }
    }

    #[test]
    fn the_same_epoch_is_not_told_twice() {
        assert!(!is_worth_a_line(100, 100, 100));
    }

    #[test]
    fn a_job_that_diverged_says_why() {
        let error = ended(
            "019",
            "failed",
            &json!({"code": "diverged", "detail": "the loss became NaN"}),
        );
        assert_eq!(
            error.to_string(),
            "job 019 ended as failed: the loss became NaN"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
