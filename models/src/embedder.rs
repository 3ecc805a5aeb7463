//! The trait every embedding model answers to, and what it answers with.

use std::fmt;

/// A text-embedding model: a plain function from text to a unit vector, with no I/O.
pub trait Embedder: Send + Sync {
    /// Names the vector space, as `<model>/<number format>`. Vectors of different ids must never be compared.
    fn id(&self) -> &str;

    /// Length of every vector this model returns.
    fn dimensions(&self) -> usize;

    /// Most tokens of one text the model looks at, its own markers included; the rest is cut off.
    fn max_tokens(&self) -> usize;

    /// Embeds one text. Every text has a vector, the empty one too.
    ///
    /// # Errors
    /// [`EmbedError::Tokenize`] or [`EmbedError::Forward`] when the model itself fails.
    fn embed(&self, text: &str) -> Result<Embedding, EmbedError>;
}

/// One text as a point of the model's vector space.
#[derive(Clone, PartialEq)]
pub struct Embedding {
    /// Unit length (L2), so that a dot product is the cosine similarity.
    pub vector: Vec<f32>,
    /// Tokens the model saw, its own markers (`[CLS]`, `[SEP]`) included.
    pub tokens: usize,
    /// Whether the text was longer than the model's limit and its end was left out.
    pub truncated: bool,
}

// A vector gives away much of its text, so it does not belong in a log by way of `{:?}`.
impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedding")
            .field("dimensions", &self.vector.len())
            .field("tokens", &self.tokens)
            .field("truncated", &self.truncated)
            .finish()
    }
}

/// Why a text got no vector. No message ever holds the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The queue is full, or longer than the caller would wait.
    #[error("every embedding worker is busy and the queue is too long")]
    Busy,
    /// The workers have stopped.
    #[error("the embedding workers have stopped")]
    Closed,
    /// The text could not be cut into tokens.
    #[error("the tokenizer failed: {0}")]
    Tokenize(String),
    /// The model's arithmetic failed.
    #[error("the model failed: {0}")]
    Forward(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_an_embedding_shows_no_number_of_its_vector() {
        let embedding = Embedding { vector: vec![0.625; 4], tokens: 3, truncated: false };
        let shown = format!("{embedding:?}");
        assert_eq!(shown, "Embedding { dimensions: 4, tokens: 3, truncated: false }");
    }
}
