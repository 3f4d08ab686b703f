//! Verification: epochs of a job trained once more from what is stored, and compared with its history to the last bit.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::jobs::load::Start;
use crate::jobs::pace::Pace;
use crate::jobs::{Error, Jobs, VERIFICATIONS, lock};
use crate::machine::{Reservation, Use};
use crate::model::{Violations, given};
use crate::store::{EpochTime, HistoryRow, Job};
use crate::train::{
    Checkpoint, EpochReport, Error as TrainError, Observer, Outcome, train_on_all_rows,
};

/// Epochs that may wait to be compared before the training thread waits too.
const REPORTS: usize = 256;
/// Epochs of the history that are read at once.
const PAGE: u32 = 1000;
/// What is compared of an epoch, and in which order: how long it took is no matter.
const COMPARED: [&str; 5] = [
    "parameter_digest",
    "train",
    "validation",
    "learning_rate",
    "step",
];

/// Which epochs of a job are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerificationSpec {
    /// The epoch whose end it starts from: 0, or one that is kept as a checkpoint. Left out, the newest that is kept before the
    /// last epoch to verify, or 0.
    #[serde(default, deserialize_with = "given")]
    pub from_epoch: Option<u64>,
    /// The last epoch; left out, that of the history, or as far as it may go.
    #[serde(default, deserialize_with = "given")]
    pub to_epoch: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// The job.
    pub job: Uuid,
    /// The epoch whose end it started from.
    pub from_epoch: u64,
    /// The last epoch that was to be compared.
    pub to_epoch: u64,
    /// Epochs that were compared: up to the first that differs.
    pub epochs: u64,
    /// Whether all of them came to what the history says.
    pub identical: bool,
    /// Where they did not.
    pub first_difference: Option<Difference>,
    /// How long it took.
    pub seconds: f64,
}

/// What differs first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The epoch.
    pub epoch: u64,
    /// A field of the epoch in the history; `error`, where the run failed in that epoch, and `epoch`, where it ended before it.
    pub field: &'static str,
    /// What the history says.
    pub stored: Value,
    /// What it came to now.
    pub found: Value,
}

/// Tells of each epoch up to the last one that is wanted, for as long as somebody listens.
struct Repeater {
    to_epoch: u64,
    is_done: bool,
    told: mpsc::Sender<HistoryRow>,
    pace: Arc<Pace>,
}

impl Observer for Repeater {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        self.poll()
    }

    fn poll(&mut self) -> ControlFlow<()> {
        self.pace.keep();
        if self.is_done || self.told.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn wants_checkpoint(&mut self, _: bool) -> bool {
        false
    }

    fn checkpoint(&mut self, _: Checkpoint) {}

    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn epoch(&mut self, report: EpochReport) {
        let row = HistoryRow::of(report, 0.0);
        let is_last = row.epoch >= self.to_epoch;
        let is_heard = self.told.blocking_send(row).is_ok();
        self.is_done = is_last || !is_heard;
    }
}

impl Jobs {
    /// Trains epochs of a job once more, on the threads and by the code that trained them, and compares what they come to with the
    /// history. Stops where nobody waits for it any more.
    ///
    /// Errors: there is no such job; its history, rows or parameters are not there; more epochs than may be; another is verified.
    pub async fn verify(&self, id: Uuid, spec: VerificationSpec) -> Result<Verification, Error> {
        let began = Instant::now();
        let job = self.inner.store.job(id).await?;
        let times = self.inner.store.epoch_times(id).await?;
        check_span(id, spec, &times)?;
        let turn = Arc::clone(&self.inner.verification).try_acquire_owned();
        let turn = turn.map_err(|_| Error::Busy {
            most: VERIFICATIONS,
        })?;
        let mut stopping = self.inner.stopping.subscribe();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => Err(Error::Ending),
            verified = self.repeat(&job, spec, &times, turn) => Ok(Verification {
                seconds: began.elapsed().as_secs_f64(),
                ..verified?
            }),
        }
    }

    /// The same, with its turn.
    async fn repeat(
        &self,
        job: &Job,
        spec: VerificationSpec,
        times: &[EpochTime],
        turn: OwnedSemaphorePermit,
    ) -> Result<Verification, Error> {
        let needed = self.needed(job).await?;
        let room = self.inner.memory.try_reserve(Use::Jobs, needed)?;
        let last = spec.to_epoch.unwrap_or(times.len() as u64);
        let start = self.start_of(job, spec.from_epoch, last).await?;
        let from_epoch = start.epoch;
        let most = self.inner.config.verify_seconds as f64;
        let to_epoch = last_epoch(job.id, &times[from_epoch as usize..], spec.to_epoch, most)?;
        let (told, mut heard) = mpsc::channel(REPORTS);
        let repeater = Repeater {
            to_epoch,
            is_done: false,
            told,
            pace: Arc::clone(&self.inner.pace),
        };
        let training = self.retrain(job, start, repeater, (turn, room))?;
        let compared = self
            .compare(job.id, (from_epoch, to_epoch), &mut heard)
            .await;
        drop(heard);
        let ended = training
            .await
            .map_err(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Error::Ending,
            })?;
        let (epochs, mut first_difference) = compared?;
        let next = from_epoch + epochs + 1;
        if first_difference.is_none() && next <= to_epoch {
            first_difference = Some(ended_early(job.id, next, ended)?);
        }
        Ok(Verification {
            job: job.id,
            from_epoch,
            to_epoch,
            epochs,
            identical: first_difference.is_none(),
            first_difference,
            seconds: 0.0,
        })
    }

    /// Trains once more on the pool where jobs train, and gives the turn and the memory back when that is over.
    fn retrain(
        &self,
        job: &Job,
        start: Start,
        mut repeater: Repeater,
        held: (OwnedSemaphorePermit, Reservation),
    ) -> Result<JoinHandle<Result<Outcome, TrainError>>, Error> {
        let (spec, team) = (job.spec.clone(), self.inner.team.clone());
        let pool = lock(&self.inner.training);
        let pool = pool.as_ref().ok_or(Error::Ending)?;
        Ok(pool.spawn_blocking(move || {
            let _held = held;
            let Start {
                base,
                source,
                checkpoint,
                ..
            } = start;
            train_on_all_rows(&spec, base, source, checkpoint, &team, &mut repeater)
        }))
    }

    /// Compares epochs as they are told with the history, up to the first that differs; fewer where no more are told.
    async fn compare(
        &self,
        id: Uuid,
        (from, to): (u64, u64),
        heard: &mut mpsc::Receiver<HistoryRow>,
    ) -> Result<(u64, Option<Difference>), Error> {
        let mut stored = Vec::new().into_iter();
        for epoch in from + 1..=to {
            let Some(found) = heard.recv().await else {
                return Ok((epoch - 1 - from, None));
            };
            if stored.as_slice().is_empty() {
                let page = self.inner.store.history(id, epoch - 1, PAGE, 1).await?;
                stored = page.data.into_iter();
            }
            let stored = match stored.next() {
                Some(stored) if stored.epoch == epoch => stored,
                // A page leaves out what is damaged, which is told here.
                _ => self.inner.store.epoch(id, epoch).await?.ok_or_else(|| {
                    let why = format!("epoch {epoch} is trained again: ask once it is done");
                    Error::Unverifiable { job: id, why }
                })?,
            };
            if let Some(difference) = difference(&stored, &found) {
                return Ok((epoch - from, Some(difference)));
            }
        }
        Ok((to - from, None))
    }
}

/// What differs first between an epoch as it is stored and as it was found.
fn difference(stored: &HistoryRow, found: &HistoryRow) -> Option<Difference> {
    let values = [stored, found].map(|row| serde_json::to_value(row).expect("a row is plain data"));
    let [of_stored, of_found] = values;
    let field = COMPARED
        .into_iter()
        .find(|&field| of_stored[field] != of_found[field])?;
    Some(Difference {
        epoch: stored.epoch,
        field,
        stored: of_stored[field].clone(),
        found: of_found[field].clone(),
    })
}

/// The difference of a run that told of no further epoch.
///
/// Errors: it could not be run.
fn ended_early(
    job: Uuid,
    epoch: u64,
    ended: Result<Outcome, TrainError>,
) -> Result<Difference, Error> {
    match ended {
        Ok(_) => Ok(Difference {
            epoch,
            field: "epoch",
            stored: Value::from(epoch),
            found: Value::Null,
        }),
        Err(error @ TrainError::Diverged { .. }) => Ok(Difference {
            epoch,
            field: "error",
            stored: Value::Null,
            found: Value::from(error.to_string()),
        }),
        Err(error) if error.may_pass() => Err(crate::store::Error::Busy.into()),
        Err(error) => {
            let why = error.to_string();
            Err(Error::Unverifiable { job, why })
        }
    }
}

/// Refuses what can be seen to be no span of the history.
fn check_span(job: Uuid, spec: VerificationSpec, times: &[EpochTime]) -> Result<(), Error> {
    let last = times.len() as u64;
    if last == 0 {
        let why = "it has no history yet: ask once an epoch is in it".to_owned();
        return Err(Error::Unverifiable { job, why });
    }
    let mut violations = Violations::default();
    let from = spec.from_epoch.unwrap_or(0);
    violations.range("/from_epoch", from, 0, last - 1);
    if let Some(to) = spec.to_epoch {
        violations.range("/to_epoch", to, from.min(last - 1) + 1, last);
    }
    violations.finish().map_err(Error::from)
}

/// The last epoch of a span that begins with the first of `times`: as far as it is wanted, and in `most` seconds at most.
///
/// Errors: one of them has no digest; they took longer.
fn last_epoch(
    job: Uuid,
    times: &[EpochTime],
    wanted: Option<u64>,
    most: f64,
) -> Result<u64, Error> {
    let first = times.first().map_or(1, |first| first.epoch);
    let wanted_times = times
        .iter()
        .take_while(|time| wanted.is_none_or(|wanted| time.epoch <= wanted));
    if let Some(time) = wanted_times.clone().filter(|time| !time.is_digested).last() {
        let epoch = time.epoch;
        let why = format!(
            "epoch {epoch} has no parameter_digest, for an earlier release trained it: from_epoch must be at least {epoch}"
        );
        return Err(Error::Unverifiable { job, why });
    }
    let mut seconds = 0.0;
    let fits = wanted_times.take_while(|time| {
        seconds += time.seconds;
        seconds <= most
    });
    let fits = fits.last().map_or(first - 1, |time| time.epoch);
    let mut violations = Violations::default();
    if fits < first {
        let (before, took) = (first - 1, times.first().map_or(0.0, |time| time.seconds));
        violations.add(
            "/from_epoch",
            format!("must be followed by an epoch that took at most {most} s, got {before}, and epoch {first} took {took:.1} s"),
        );
    } else if let Some(wanted) = wanted.filter(|&wanted| wanted > fits) {
        violations.add(
            "/to_epoch",
            format!("must be at most {fits}, got {wanted}: epochs {first} to {fits} are those that took at most {most} s together"),
        );
    }
    violations.finish()?;
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs from 1 that took so many seconds each; those below 0 have no digest.
    fn times(seconds: &[f64]) -> Vec<EpochTime> {
        let each = seconds.iter().zip(1..);
        each.map(|(seconds, epoch)| EpochTime {
            epoch,
            seconds: seconds.abs(),
            is_digested: *seconds > 0.0,
        })
        .collect()
    }

    #[track_caller]
    fn refused(result: Result<u64, Error>, expected: &[(&str, &str)]) {
        let Err(Error::Invalid { violations }) = result else {
            panic!("must be refused, got {result:?}")
        };
        let found: Vec<_> = violations
            .iter()
            .map(|found| (found.pointer.as_str(), found.detail.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_span_goes_as_far_as_is_asked_and_as_its_seconds_allow() {
        let times = times(&[20.0, 30.0, 10.0, 0.5, 70.0]);
        let last = |from: usize, wanted| last_epoch(Uuid::nil(), &times[from..], wanted, 60.0);
        for (from, wanted, expected) in [
            (0, None, 3),
            (0, Some(1), 1),
            (0, Some(3), 3),
            (1, None, 4),
            (3, None, 4),
            (3, Some(4), 4),
        ] {
            assert_eq!(last(from, wanted).expect("fits"), expected);
        }
        refused(
            last(0, Some(4)),
            &[(
                "/to_epoch",
                "must be at most 3, got 4: epochs 1 to 3 are those that took at most 60 s together",
            )],
        );
        refused(
            last(4, None),
            &[(
                "/from_epoch",
                "must be followed by an epoch that took at most 60 s, got 4, and epoch 5 took 70.0 s",
            )],
        );
    }

    #[test]
    fn epochs_without_a_digest_are_said() {
        let times = times(&[-1.0, -1.0, 1.0, 1.0]);
        let last = |from: usize| last_epoch(Uuid::nil(), &times[from..], None, 60.0);
        assert_eq!(last(2).expect("all have one"), 4);
        let expected = "job 00000000-0000-0000-0000-000000000000 cannot be verified: epoch 2 has no parameter_digest, \
            for an earlier release trained it: from_epoch must be at least 2";
        for from in [0, 1] {
            assert_eq!(last(from).expect_err("none").to_string(), expected);
        }
    }

    #[test]
    fn a_span_outside_of_the_history_is_refused_at_once() {
        let times = times(&[1.0; 3]);
        let span = |from_epoch, to_epoch| VerificationSpec {
            from_epoch,
            to_epoch,
        };
        let check = |from, to| check_span(Uuid::nil(), span(from, to), &times).map(|()| 0);
        for (from, to) in [(None, None), (Some(2), Some(3)), (Some(0), Some(1))] {
            assert!(check(from, to).is_ok());
        }
        let from = |detail| ("/from_epoch", detail);
        let to = |detail| ("/to_epoch", detail);
        refused(check(Some(3), None), &[from("must be in [0, 2], got 3")]);
        refused(check(None, Some(0)), &[to("must be in [1, 3], got 0")]);
        refused(check(Some(2), Some(2)), &[to("must be in [3, 3], got 2")]);
        refused(
            check(Some(9), Some(9)),
            &[
                from("must be in [0, 2], got 9"),
                to("must be in [3, 3], got 9"),
            ],
        );
    }
}
