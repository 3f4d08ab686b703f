//! How a run ends: with a model to publish, or where it can be taken up again.

use crate::model::Model;
use crate::train::{Best, Checkpoint, EndedBy, FullReport};

/// How a run ended.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each run")]
pub enum Outcome {
    /// Every epoch is done, or the run has learned what it can.
    Finished {
        /// The model to publish.
        model: Model,
        /// Epochs done.
        epochs: u64,
        /// Why there are no more.
        ended_by: EndedBy,
        /// The epoch that the model's parameters are of, where that is not the last.
        best: Option<Best>,
        /// The end of the last epoch, where no checkpoint of it was made yet: another run may go on from it. A checkpoint
        /// made before the report would have the best epoch's parameters too, so it is here where there are such.
        last: Option<Checkpoint>,
        /// Every figure of the model.
        report: Box<FullReport>,
    },
    /// The observer broke it off while the data was prepared: nothing has changed since it was started.
    Unprepared,
    /// The observer broke it off.
    Stopped {
        /// Where it stood: from here it continues to the same bits.
        at: Checkpoint,
        /// The end of the last finished epoch, where no checkpoint of it was made yet.
        epoch_end: Option<Checkpoint>,
    },
}
