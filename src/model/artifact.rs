//! A model version's bytes: safetensors with the model's header, readable by any safetensors library.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::columns::{ColumnSpec, Columns};
use crate::model::{
    AnyNetwork, Error, Golden, Header, Model, ParameterDigest, Preprocessing, ReadTensors, Scaling,
    Targets, Tensors,
};
use crate::nn::worked;

/// Bytes that are hashed without a pause, and multiply-adds that take as long as hashing one of them.
const HASHED: usize = 64 << 10;
const WORK: usize = 50;
/// The format of the bytes. A later format is refused by an earlier program.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct ArtifactHeader {
    format: u32,
    #[serde(flatten)]
    header: Header,
}

impl Model {
    /// The model as bytes, from which [`Model::decode`] makes the same model to the last bit.
    pub fn encode(&self) -> Vec<u8> {
        self.tensors().encode(&ArtifactHeader {
            format: FORMAT,
            header: self.header(),
        })
    }

    /// The model of an artifact's bytes.
    ///
    /// Errors: the bytes are no artifact, are of a later format, or do not fit together.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (ArtifactHeader { format, header }, tensors) =
            ReadTensors::decode::<ArtifactHeader>(bytes)?;
        if format != FORMAT {
            return Err(Error::artifact(format!(
                "format must be {FORMAT}, got {format}"
            )));
        }
        Self::from_tensors(&header, &tensors)
    }

    /// The model's arrays under their names.
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        tensors.push_network("", &self.network);
        match &self.preprocessing {
            Preprocessing::Inputs { scaling, .. } => push_scaling(&mut tensors, scaling),
            Preprocessing::Columns(columns) => columns.push(&mut tensors),
        }
        if let Some(golden) = &self.golden {
            golden.push(&mut tensors);
        }
        tensors
    }

    /// The model of a header and arrays read from bytes.
    ///
    /// Errors: they do not fit together.
    pub fn from_tensors(header: &Header, tensors: &ReadTensors) -> Result<Self, Error> {
        let mut columns = header.columns.iter().flatten();
        if !columns.all(ColumnSpec::is_filled_in) {
            return Err(Error::artifact("its columns are not filled in"));
        }
        let network = tensors.network("", header)?;
        let preprocessing = match &header.columns {
            Some(specs) => Preprocessing::Columns(Columns::from_tensors(specs.clone(), tensors)?),
            None => Preprocessing::Inputs {
                scaling: read_scaling(header, tensors)?,
                features: header.features.clone(),
            },
        };
        let model = Self {
            network,
            loss: header.loss,
            preprocessing,
            targets: header.targets.clone(),
            golden: Golden::read(header, tensors)?,
        };
        model.check_header(header)?;
        Ok(model)
    }

    fn check_header(&self, header: &Header) -> Result<(), Error> {
        let reads = match &self.preprocessing {
            Preprocessing::Inputs { scaling, features } => {
                let named = features
                    .as_ref()
                    .is_none_or(|names| names.len() == header.inputs);
                named && [0, header.inputs].contains(&scaling.offset().len())
            }
            Preprocessing::Columns(columns) => columns.width() == header.inputs,
        };
        let names = match &self.targets {
            Targets::Classes { classes, .. } => Some(classes),
            Targets::Labels { names } | Targets::Values { names } => names.as_ref(),
        };
        let names = names.is_none_or(|names| names.len() == header.outputs() || header.is_binary());
        let accepted = header.loss.accepts(header.last_activation());
        if self.header() == *header && reads && names && accepted {
            return Ok(());
        }
        Err(Error::artifact("the header does not describe the tensors"))
    }

    /// The digest of the parameters, in hex.
    pub fn parameter_digest(&self) -> String {
        let digest = match &self.network {
            AnyNetwork::Float32(network) => ParameterDigest::of(network),
            AnyNetwork::Float64(network) => ParameterDigest::of(network),
        };
        digest.to_string()
    }
}

fn push_scaling(tensors: &mut Tensors, scaling: &Scaling) {
    for (name, values) in [("offset", scaling.offset()), ("scale", scaling.scale())] {
        tensors.push(format!("preprocess.{name}"), &[values.len()], values.iter());
    }
}

fn read_scaling(header: &Header, tensors: &ReadTensors) -> Result<Scaling, Error> {
    let offset = tensors.vector::<f64>("preprocess.offset")?.to_vec();
    let scale = tensors.vector::<f64>("preprocess.scale")?.to_vec();
    let scaling = Scaling::from_parts(header.preprocess, offset, scale);
    scaling.ok_or_else(|| Error::artifact("the preprocessing does not fit together"))
}

/// A digest of bytes as it is kept and shown: SHA-256 in lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for bytes in bytes.chunks(HASHED) {
        hasher.update(bytes);
        worked(WORK * bytes.len());
    }
    hex(&hasher.finalize())
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes what is written");
            text
        })
}
