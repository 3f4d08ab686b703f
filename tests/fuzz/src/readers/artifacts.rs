//! Artifacts, checkpoints and stored rows: whatever is read is written as bytes that read the same.

use gradientd::model::Model;
use gradientd::train::{Checkpoint, RawSamples};

use super::example::{Example, example};

/// Reads bytes as each of the three.
pub(super) fn read(bytes: &[u8]) {
    if let Ok(model) = Model::decode(bytes) {
        let written = model.encode();
        let again = Model::decode(&written).expect("its own bytes");
        assert!(
            again.encode() == written,
            "a model is another once it is read"
        );
        model.selftest();
    }
    if let Ok(checkpoint) = Checkpoint::decode(bytes) {
        let written = checkpoint.encode();
        let again = Checkpoint::decode(&written).expect("its own bytes");
        assert!(
            again.encode() == written,
            "a checkpoint is another once it is read"
        );
    }
    if let Ok(rows) = RawSamples::decode_inline(bytes) {
        rows.rows();
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let Example {
        models,
        checkpoints,
        inline,
        ..
    } = example();
    let models = models.iter().map(Model::encode);
    let checkpoints = checkpoints.iter().map(Checkpoint::encode);
    models.chain(checkpoints).chain([inline.clone()]).collect()
}
