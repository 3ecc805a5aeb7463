//! Encoder models of the BERT family: from a model's files to an embedder.

mod architecture;
mod candle;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(target_arch = "x86_64")]
mod fused;
mod kernel;
mod tensors;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod variants;

pub use kernel::Kernel;

use crate::embedder::{EmbedError, Embedder, Embedding};
use crate::precision::Precision;
use crate::registry::ModelSpec;
use crate::tokens::{TokenIds, Tokens};
use crate::weights::{ModelFiles, WeightsError};
pub(crate) use architecture::Architecture;
use tensors::Tensors;

/// Token ids to the last layer's vectors: a plain function of the weights.
trait Encoder: Send + Sync {
    /// The states of every token of every text, row after row, the model's `hidden` numbers each. No text is empty or
    /// longer than the model's positions.
    fn states(&self, texts: &[&[u32]]) -> Result<Vec<f32>, EmbedError>;
}

/// A loaded model of the BERT family. Loading takes a tenth of a second or more; embedding takes `&self` and may be
/// called from several threads: each call computes on the thread it is called from (but for [`Kernel::Candle`], which
/// has threads of its own) in memory that is kept for the next.
pub struct BertEmbedder {
    spec: ModelSpec,
    id: String,
    tokens: Tokens,
    kernel: Kernel,
    encoder: Box<dyn Encoder>,
}

/// What a model makes of a text before its tokens are pooled to one vector, for heads that look at tokens.
#[derive(Clone, PartialEq)]
pub struct TokenStates {
    /// The tokens' ids in the model's vocabulary, its own markers included.
    pub ids: Vec<u32>,
    /// A vector per token, one after the other, as the last layer leaves it.
    pub states: Vec<f32>,
    /// Length of each vector.
    pub dimensions: usize,
    /// Whether the text was longer than the model's limit and its end was left out.
    pub truncated: bool,
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
        model: String,
        /// The file at fault.
        file: &'static str,
        /// What was expected or what went wrong.
        reason: String,
    },
    /// The model can't be computed as it was asked for.
    #[error("{model}: {reason}")]
    Kernel {
        /// The model's name.
        model: String,
        /// What stands in the way.
        reason: String,
    },
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

impl BertEmbedder {
    /// Reads the model from `files`, checking every hash once more on the very bytes that are used, and packs its
    /// weights for the fastest kernel of `precision` that this processor has.
    ///
    /// # Errors
    /// [`LoadError::Weights`] when a file is missing or has another hash, [`LoadError::File`] when its content does
    /// not make a model of the dimensions the registry promises, [`LoadError::Kernel`] when this processor has no
    /// kernel of that precision.
    pub fn load(spec: &ModelSpec, files: &ModelFiles, precision: Precision) -> Result<Self, LoadError> {
        Self::load_by(spec, files, |architecture| Kernel::choose(precision, architecture))
    }

    /// As [`load`](Self::load), with a kernel of the caller's choice: to compare them.
    ///
    /// # Errors
    /// As for [`load`](Self::load); [`LoadError::Kernel`] when the kernel is not [available](Kernel::is_available) or
    /// can't compute a model of these sizes.
    pub fn load_with(spec: &ModelSpec, files: &ModelFiles, kernel: Kernel) -> Result<Self, LoadError> {
        Self::load_by(spec, files, |_| Ok(kernel))
    }

    fn load_by(
        spec: &ModelSpec,
        files: &ModelFiles,
        choose: impl FnOnce(&Architecture) -> Result<Kernel, String>,
    ) -> Result<Self, LoadError> {
        let at_fault = |file, reason| LoadError::File { model: spec.name.to_string(), file, reason };
        let no_kernel = |reason| LoadError::Kernel { model: spec.name.to_string(), reason };

        let architecture = Architecture::from_json(&files.read(spec, CONFIG)?)
            .and_then(|architecture| check(spec, &architecture).map(|()| architecture))
            .map_err(|reason| at_fault(CONFIG, reason))?;
        let kernel = choose(&architecture).map_err(no_kernel)?;
        let tokens = Tokens::from_json(&files.read(spec, TOKENIZER)?, spec.max_tokens)
            .map_err(|reason| at_fault(TOKENIZER, reason))?;
        let encoder = Tensors::from_safetensors(files.read(spec, WEIGHTS)?, &architecture)
            .and_then(|tensors| kernel.build(&architecture, tensors))
            .map_err(|reason| at_fault(WEIGHTS, reason))?;

        let id = format!("{}/{}", spec.name, kernel.vector_space());
        Ok(Self { spec: spec.clone(), id, tokens, kernel, encoder })
    }

    /// What computes this model.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The states of the text's tokens, by the same pass that an embedding comes from.
    ///
    /// # Errors
    /// As for [`Embedder::embed`].
    pub fn token_states(&self, text: &str) -> Result<TokenStates, EmbedError> {
        let tokens = self.encode(text)?;
        let states = self.encoder.states(&[&tokens.ids])?;
        let dimensions = self.spec.dimensions;
        Ok(TokenStates { ids: tokens.ids, states, dimensions, truncated: tokens.truncated })
    }

    /// The vectors of texts given as token ids, markers included: what remains of embedding without the tokenizer, for
    /// measuring. All texts go through one pass.
    ///
    /// # Errors
    /// [`EmbedError::Forward`] when a text is empty or too long, or an id is not in the vocabulary.
    pub fn embed_ids(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let states = self.encoder.states(texts)?;
        let mut rest = states.as_slice();
        let mut next = |text: &&[u32]| {
            let (states, others) = rest.split_at(text.len() * self.spec.dimensions);
            rest = others;
            self.pool(states)
        };
        texts.iter().map(&mut next).collect()
    }

    /// The ids the tokenizer makes of a text, the model's prefix and markers included.
    ///
    /// # Errors
    /// [`EmbedError::Tokenize`].
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        Ok(self.encode(text)?.ids)
    }

    fn encode(&self, text: &str) -> Result<TokenIds, EmbedError> {
        match &*self.spec.prefix {
            "" => self.tokens.encode(text),
            prefix => self.tokens.encode(&format!("{prefix}{text}")),
        }
    }

    fn pool(&self, states: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let vector = self.spec.pooling.pool(states, self.spec.dimensions);
        if vector.iter().all(|x| x.is_finite()) {
            return Ok(vector);
        }
        Err(EmbedError::Forward("the vector holds a value that is no number".to_owned()))
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
        let TokenStates { ids, states, truncated, .. } = self.token_states(text)?;
        Ok(Embedding { vector: self.pool(&states)?, tokens: ids.len(), truncated })
    }
}

/// Whether the configuration is of the model the registry describes.
fn check(spec: &ModelSpec, architecture: &Architecture) -> Result<(), String> {
    if architecture.hidden != spec.dimensions {
        return Err(format!("hidden_size is {}, expected {}", architecture.hidden, spec.dimensions));
    }
    if architecture.positions < spec.max_tokens {
        let (has, needs) = (architecture.positions, spec.max_tokens);
        return Err(format!("max_position_embeddings is {has}, expected at least {needs}"));
    }
    Ok(())
}

/// Whether an encoder can look every token up.
fn check_ids(architecture: &Architecture, texts: &[&[u32]]) -> Result<(), EmbedError> {
    for text in texts {
        if text.is_empty() || text.len() > architecture.positions {
            let (has, most) = (text.len(), architecture.positions);
            return Err(EmbedError::Forward(format!("a text has {has} tokens, expected 1 to {most}")));
        }
        if let Some(id) = text.iter().find(|id| **id as usize >= architecture.vocabulary) {
            let most = architecture.vocabulary;
            return Err(EmbedError::Forward(format!("token {id} is not in the vocabulary of {most}")));
        }
    }
    Ok(())
}
