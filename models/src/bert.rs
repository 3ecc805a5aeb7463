//! Encoder models of the BERT family, run on the CPU by candle in 32-bit floats.

// Not called by the embedder yet; the tests hold them against the reference.
#[cfg_attr(not(test), allow(dead_code))]
mod architecture;
#[cfg_attr(not(test), allow(dead_code))]
mod tensors;

use crate::embedder::{EmbedError, Embedder, Embedding};
use crate::registry::ModelSpec;
use crate::tokens::{TokenIds, Tokens};
use crate::weights::{ModelFiles, WeightsError};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

/// A loaded model of the BERT family. Loading takes a tenth of a second or more; embedding takes `&self` and may be
/// called from several threads.
pub struct BertEmbedder {
    spec: &'static ModelSpec,
    id: String,
    tokens: Tokens,
    model: BertModel,
}

/// Why a model could not be loaded from its files.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing, unreadable or not the one the registry names.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file was read but is not what the model needs.
    #[error("{model}: {file}: {reason}")]
    File {
        /// The model's name.
        model: &'static str,
        /// The file at fault.
        file: &'static str,
        /// What was expected or what went wrong.
        reason: String,
    },
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

impl BertEmbedder {
    /// Reads the model from `files`, checking every hash once more on the very bytes that are used.
    ///
    /// # Errors
    /// [`LoadError::Weights`] when a file is missing or has another hash, [`LoadError::File`] when its content does
    /// not make a model of the dimensions the registry promises.
    pub fn load(spec: &'static ModelSpec, files: &ModelFiles) -> Result<Self, LoadError> {
        let at_fault = |file, reason| LoadError::File { model: spec.name, file, reason };

        let config: Config = serde_json::from_slice(&files.read(spec, CONFIG)?)
            .map_err(|e| at_fault(CONFIG, format!("not a BERT configuration: {e}")))?;
        check(spec, &config).map_err(|reason| at_fault(CONFIG, reason))?;

        let tokens = Tokens::from_json(&files.read(spec, TOKENIZER)?, spec.max_tokens)
            .map_err(|reason| at_fault(TOKENIZER, reason))?;

        let weights = files.read(spec, WEIGHTS)?;
        let model = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .and_then(|weights| BertModel::load(weights, &config))
            .map_err(|e| at_fault(WEIGHTS, e.to_string()))?;

        Ok(Self { spec, id: format!("{}/f32", spec.name), tokens, model })
    }

    /// The last layer's vector of every token, one after the other.
    fn states(&self, tokens: &TokenIds) -> candle_core::Result<Vec<f32>> {
        let row = |values: &[u32]| Tensor::new(values, &Device::Cpu)?.unsqueeze(0);
        let mask = row(&tokens.mask)?;
        let states = self.model.forward(&row(&tokens.ids)?, &row(&tokens.type_ids)?, Some(&mask))?;
        states.flatten_all()?.to_vec1::<f32>()
    }
}

impl Embedder for BertEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.spec.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.spec.max_tokens
    }

    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        let tokens = self.tokens.encode(text)?;
        let states = self.states(&tokens).map_err(|e| EmbedError::Forward(e.to_string()))?;
        let vector = self.spec.pooling.pool(&states, &tokens.mask, self.spec.dimensions);
        if !vector.iter().all(|x| x.is_finite()) {
            return Err(EmbedError::Forward("the vector holds a value that is no number".to_owned()));
        }
        Ok(Embedding { vector, tokens: tokens.ids.len(), truncated: tokens.truncated })
    }
}

/// Whether the configuration is of the model the registry describes.
fn check(spec: &ModelSpec, config: &Config) -> Result<(), String> {
    if config.hidden_size != spec.dimensions {
        return Err(format!("hidden_size is {}, expected {}", config.hidden_size, spec.dimensions));
    }
    if config.max_position_embeddings < spec.max_tokens {
        let (has, needs) = (config.max_position_embeddings, spec.max_tokens);
        return Err(format!("max_position_embeddings is {has}, expected at least {needs}"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod variants;
