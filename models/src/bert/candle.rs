//! The portable forward pass: candle, in 32-bit floats. What the fast one is held against, too.

use super::architecture::Architecture;
use super::tensors::Tensors;
use super::{Encoder, check_ids};
use crate::embedder::EmbedError;
use candle_core::{Device, Tensor};
use candle_transformers::models::bert::BertModel;

/// An encoder run by candle.
pub(super) struct Candle {
    model: BertModel,
    architecture: Architecture,
}

impl Candle {
    /// The error is candle's: a tensor that is missing or has another shape.
    pub(super) fn new(architecture: &Architecture, tensors: Tensors) -> Result<Self, String> {
        let model = BertModel::load(tensors.into_var_builder(), &architecture.to_candle());
        Ok(Self { model: model.map_err(|e| e.to_string())?, architecture: architecture.clone() })
    }

    /// Texts of one length in one pass.
    fn pass(&self, texts: &[&[u32]]) -> candle_core::Result<Vec<f32>> {
        let shape = (texts.len(), texts[0].len());
        let ids = Tensor::from_vec(texts.concat(), shape, &Device::Cpu)?;
        // No mask: nothing is padded.
        let states = self.model.forward(&ids, &ids.zeros_like()?, None)?;
        states.flatten_all()?.to_vec1::<f32>()
    }
}

impl Encoder for Candle {
    fn states(&self, texts: &[&[u32]]) -> Result<Vec<f32>, EmbedError> {
        check_ids(&self.architecture, texts)?;
        let mut states = Vec::new();
        for same_length in texts.chunk_by(|a, b| a.len() == b.len()) {
            states.extend(self.pass(same_length).map_err(|e| EmbedError::Forward(e.to_string()))?);
        }
        Ok(states)
    }
}
