//! A job's status and the one table of its legal moves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits for a slot.
    Queued,
    /// It trains.
    Running,
    /// It stands still until it is resumed.
    Paused,
    /// It has published its version.
    Succeeded,
    /// It ended without a version; its error says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What a user asked of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End it.
    Cancel,
    /// Let it stand still.
    Pause,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Those of a job that is never paused: a batch prediction.
    pub const NEVER_PAUSED: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// How many there are of each of some statuses, among those that were counted by their words.
    pub(crate) fn of_all(counted: &[(String, i64)], statuses: &[Self]) -> Vec<(Self, i64)> {
        let count = |status: &Self| {
            let found = counted.iter().find(|(name, _)| name == status.name());
            (*status, found.map_or(0, |(_, jobs)| *jobs))
        };
        statuses.iter().map(count).collect()
    }

    /// The word for it, in the database and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a job may move from this status to another: the only moves there are.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(
                next,
                Self::Running | Self::Paused | Self::Cancelled | Self::Failed
            ),
            Self::Running => next != Self::Running,
            Self::Paused => matches!(next, Self::Queued | Self::Cancelled),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Whether the job has ended for good.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Paused => false,
        }
    }
}

impl Request {
    /// The status that the request asks for.
    pub fn status(self) -> JobStatus {
        match self {
            Self::Cancel => JobStatus::Cancelled,
            Self::Pause => JobStatus::Paused,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for JobStatus {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_has_ended_never_moves_again() {
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                assert!(!from.may_become(to) || !from.is_final(), "{from} -> {to}");
            }
            assert!(!from.may_become(from), "{from}");
        }
        assert!(!JobStatus::Queued.may_become(JobStatus::Succeeded));
        assert!(!JobStatus::Paused.may_become(JobStatus::Running));
    }
}
