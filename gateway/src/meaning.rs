//! What texts mean, as vectors of the local embedding model: long ones in parts, each as the model sees it whole.

use std::ops::ControlFlow;
use std::sync::Arc;

use sluice_guardrails::topics::{pieces, sentences};
use sluice_models::{EmbedError, EmbedPool, Embedding};
use tokio::time::{Instant, timeout_at};

/// Bytes that a token has at the least in most texts; where it has fewer, a piece is halved.
const BYTES_PER_TOKEN: usize = 3;
/// Halves of less would not be shorter.
const SHORTEST: usize = 16;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, or as much as the model sees at once.
    Piece,
    /// One sentence of a piece that has several: what is about something else than the rest does not show in the vector of all.
    Sentence,
}

/// Embeds texts within a time, for one caller.
pub(crate) struct Meaning<'e> {
    /// The model.
    pub(crate) embedder: &'e EmbedPool,
    /// As for [`EmbedPool::embed_within`]: whose memo is asked. The cache asks the same one.
    pub(crate) scope: &'e str,
    /// When it is given up.
    pub(crate) end: Instant,
}

impl Meaning<'_> {
    /// Shows `see` the vector of each part of a text until it breaks off; sentences only if they are `wanted`.
    ///
    /// # Errors
    /// [`EmbedError::Busy`] also where the time is over.
    pub(crate) async fn each(
        &self,
        text: &str,
        wanted: bool,
        see: &mut (dyn FnMut(Part, &[f32]) -> ControlFlow<()> + Send),
    ) -> Result<(), EmbedError> {
        let most = self.embedder.max_tokens().saturating_mul(BYTES_PER_TOKEN).max(4 * SHORTEST);
        let whole = text.len() <= most && text.contains(char::is_alphanumeric);
        // A text that the model sees whole is one piece, as the cache has it.
        let mut waiting = if whole { vec![text] } else { pieces(text, most) };
        waiting.reverse();
        while let Some(piece) = waiting.pop() {
            let embedded = self.vector(piece).await?;
            if embedded.truncated && piece.len() > SHORTEST {
                waiting.extend(pieces(piece, piece.len().div_ceil(2)).into_iter().rev());
                continue;
            }
            if see(Part::Piece, &embedded.vector).is_break() {
                return Ok(());
            }
            for sentence in sentences(piece).into_iter().filter(|_| wanted) {
                if see(Part::Sentence, &self.vector(sentence).await?.vector).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The vector of a text, if the model sees it whole.
    ///
    /// # Errors
    /// As [`Meaning::each`].
    pub(crate) async fn whole(&self, text: &str) -> Result<Option<Arc<Embedding>>, EmbedError> {
        if !may_be_whole(text, self.embedder.max_tokens()) {
            return Ok(None);
        }
        Ok(Some(self.vector(text).await?).filter(|embedding| !embedding.truncated))
    }

    async fn vector(&self, text: &str) -> Result<Arc<Embedding>, EmbedError> {
        let left = self.end.saturating_duration_since(Instant::now());
        let embedding = self.embedder.embed_within(self.scope, text, Some(left));
        let embedded = timeout_at(self.end, embedding).await.map_err(|_| EmbedError::Busy)?;
        embedded.map(|embedded| embedded.embedding)
    }
}

/// Longer words are one unknown token to a model, and it sees nothing of them.
const LONGEST_WORD: usize = 100;

/// Whether a model of so many tokens may see all of a text, by what costs next to nothing to tell: each word is a token at the least.
pub(crate) fn may_be_whole(text: &str, tokens: usize) -> bool {
    let mut words = text.split_whitespace();
    words.by_ref().take(tokens).all(|word| word.len() <= LONGEST_WORD) && words.next().is_none()
}

/// Why texts could not be compared, in a word for logs and metrics.
pub(crate) fn reason(error: &EmbedError) -> &'static str {
    match error {
        EmbedError::Busy => "embedding_busy",
        EmbedError::Closed => "no_embedding_model",
        EmbedError::Tokenize(_) | EmbedError::Forward(_) => "embedding_failed",
    }
}

/// The vectors of texts, computed while this thread waits. It may be one of a runtime, which can't wait itself.
///
/// # Errors
/// What the model says.
pub(crate) fn embed(embedder: &EmbedPool, texts: &[&str]) -> Result<Vec<Arc<Embedding>>, String> {
    let waiting = || -> Result<Vec<_>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
        let one = |text: &&str| runtime.block_on(embedder.embed(text)).map_err(|e| e.to_string());
        texts.iter().map(one).collect()
    };
    let panicked = |_| "the embedding stopped unexpectedly".to_owned();
    std::thread::scope(|scope| scope.spawn(waiting).join()).map_err(panicked)?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use sluice_models::{Embedder, HashedEmbedder, PoolOptions};

    /// Sees eight words at once.
    struct Short(HashedEmbedder);

    impl Embedder for Short {
        fn id(&self) -> &str {
            self.0.id()
        }

        fn dimensions(&self) -> usize {
            self.0.dimensions()
        }

        fn max_tokens(&self) -> usize {
            8
        }

        fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
            let words: Vec<&str> = text.split_whitespace().collect();
            let seen = words[..words.len().min(8)].join(" ");
            Ok(Embedding { truncated: words.len() > 8, ..self.0.embed(&seen)? })
        }
    }

    fn pool() -> EmbedPool {
        EmbedPool::start(Arc::new(Short(HashedEmbedder::new(64))), PoolOptions::default()).unwrap()
    }

    #[tokio::test]
    async fn each_word_of_a_long_text_is_in_a_piece_that_the_model_sees_whole() {
        let pool = pool();
        let meaning = Meaning { embedder: &pool, scope: "", end: Instant::now() + Duration::from_secs(60) };
        let text = "a b c d e f g h i j k l m n o p q r s t u v w x y z".repeat(3);
        let (mut pieces, mut sum) = (0, vec![0.0; 64]);
        meaning
            .each(&text, true, &mut |part, vector| {
                assert_eq!(part, Part::Piece);
                pieces += 1;
                sum.iter_mut().zip(vector).for_each(|(sum, value): (&mut f32, &f32)| *sum += value);
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
        assert!(pieces >= 76 / 8, "{pieces} pieces of at most eight words");
        assert!(sum.iter().any(|value| *value != 0.0));
        let mut seen = 0;
        let mut stop = |_, _: &[f32]| {
            seen += 1;
            ControlFlow::Break(())
        };
        meaning.each(&text, true, &mut stop).await.unwrap();
        assert_eq!(seen, 1, "who has seen enough is shown no more");
    }

    #[tokio::test]
    async fn a_vector_of_all_of_a_text_is_there_only_where_the_model_sees_all_of_it() {
        let pool = pool();
        let meaning = Meaning { embedder: &pool, scope: "", end: Instant::now() + Duration::from_secs(60) };
        assert!(meaning.whole("a b c d e f g h").await.unwrap().is_some());
        for text in ["a b c d e f g h i", &"a".repeat(101)] {
            assert!(meaning.whole(text).await.unwrap().is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn where_the_time_is_over_nothing_is_waited_for() {
        let pool = pool();
        let meaning = Meaning { embedder: &pool, scope: "", end: Instant::now() };
        let told = meaning.each("a word", true, &mut |_, _| ControlFlow::Continue(())).await;
        assert_eq!(told, Err(EmbedError::Busy));
    }

    #[tokio::test]
    async fn examples_are_embedded_while_a_thread_of_a_runtime_waits() {
        let pool = pool();
        let vectors = embed(&pool, &["one", "two"]).unwrap();
        assert_eq!(vectors.len(), 2);
        assert_ne!(vectors[0].vector, vectors[1].vector);
    }
}
