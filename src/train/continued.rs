//! A job that goes on from a checkpoint of another: where it starts, and what it takes over.

use crate::model::Violations;
use crate::nn::OptimizerSpec;
use crate::train::{Checkpoint, From, JobSpec};

/// The checkpoint that a job starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Continued {
    /// The id of the job that made it.
    pub job: String,
    /// The epoch whose end it is.
    pub epoch: u64,
    /// The optimizer of that job.
    pub optimizer: OptimizerSpec,
    /// Whether the checkpoint has what the optimizer remembers.
    pub has_state: bool,
}

impl Continued {
    /// What a job keeps of the checkpoint, so that it is there whatever becomes of the other job: its parameters, and with
    /// `optimizer_state` what the optimizer remembers.
    pub fn kept(checkpoint: Checkpoint, optimizer_state: bool) -> Checkpoint {
        let Checkpoint {
            epoch,
            optimizer,
            model,
            ..
        } = checkpoint;
        Checkpoint {
            epoch,
            ..Checkpoint::beginning(model, optimizer.filter(|_| optimizer_state))
        }
    }
}

/// Notes what cannot be taken over, and fills in where the job starts.
pub(super) fn check_from(
    spec: &JobSpec,
    (base_version, continued): (u64, Option<&Continued>),
    violations: &mut Violations,
) -> From {
    let version = Some(base_version);
    let wanted = spec.from.optimizer_state == Some(true);
    let Some(continued) = continued else {
        if wanted {
            let detail = "must be false without job: a version has no optimizer's state, a checkpoint may have it";
            violations.add("/from/optimizer_state", detail);
        }
        if let Some(epoch) = spec.from.epoch {
            let detail = format!("must be left out without job, got {epoch}");
            violations.add("/from/epoch", detail);
        }
        return From {
            version,
            ..From::default()
        };
    };
    if wanted {
        check_state(&spec.optimizer, continued, violations);
    }
    From {
        version,
        initial: None,
        job: Some(continued.job.clone()),
        epoch: Some(continued.epoch),
        optimizer_state: Some(wanted),
    }
}

fn check_state(optimizer: &OptimizerSpec, continued: &Continued, violations: &mut Violations) {
    let Continued {
        epoch,
        optimizer: before,
        ..
    } = continued;
    let (name, got) = (before.name(), optimizer.name());
    let (slots, numbers) = (before.slots(), optimizer.slots());
    if name != got {
        violations.add(
            "/optimizer",
            format!(
                "must be {name:?}, as in the job whose optimizer_state is taken over, got {got:?}"
            ),
        );
    } else if slots != numbers {
        violations.add(
            "/optimizer",
            format!(
                "must remember {slots} numbers of each parameter, as in the job whose optimizer_state is taken over, got {numbers}"
            ),
        );
    }
    if slots > 0 && !continued.has_state {
        violations.add(
            "/from/optimizer_state",
            format!(
                "must be false: the checkpoint of epoch {epoch} has no optimizer's state; its job went on from there, or was ended later"
            ),
        );
    }
}
