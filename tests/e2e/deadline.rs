//! A chat request waits for the embedding model no longer than `embedding.deadline` says.

use std::sync::{Arc, Mutex, mpsc};

use sluice_models::{EmbedError, EmbedPool, Embedder, Embedding, HashedEmbedder, PoolOptions};
use sluice_tests::{Gate, TWO_TARGETS};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The text that is computed until somebody lets go of it.
const HELD: &str = "held";

/// Compares words, and keeps its worker at [`HELD`].
struct Holding {
    words: HashedEmbedder,
    begun: UnboundedSender<()>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Embedder for Holding {
    fn id(&self) -> &str {
        self.words.id()
    }

    fn dimensions(&self) -> usize {
        self.words.dimensions()
    }

    fn max_tokens(&self) -> usize {
        usize::MAX
    }

    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        if text == HELD {
            self.begun.send(()).unwrap();
            self.release.lock().unwrap().recv().unwrap();
        }
        self.words.embed(text)
    }
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_skips_the_semantic_tier_and_nothing_else() {
    let (begun, mut has_begun) = unbounded_channel();
    let (let_go, release) = mpsc::channel();
    let embedder = Holding { words: HashedEmbedder::new(64), begun, release: Mutex::new(release) };
    let options = PoolOptions { workers: 1, ..PoolOptions::default() };
    let pool = EmbedPool::start(Arc::new(embedder), options).unwrap();
    let gate = Gate::build(&TWO_TARGETS.replace("deadline: 5m", "deadline: 1ms"), Some(pool.clone()));

    // From one short text the pool learns its pace; then its worker is busy, and before the next one stands a text of a
    // million likely tokens, which at any pace takes longer than a millisecond.
    pool.embed("a text").await.unwrap();
    let embed = |text: String| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.embed(&text).await.map(|_| ()) })
    };
    let held = embed(HELD.to_owned());
    has_begun.recv().await.unwrap();
    let long = embed("long text ".repeat(400_000));
    while pool.queued() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(pool.likely_wait() > std::time::Duration::from_millis(1), "{:?}", pool.likely_wait());

    let reply = gate.ask("When do you open?").await;
    assert_eq!((reply.status, reply.cache().as_str()), (200, "bypass"));
    assert_eq!(reply.text(), "You said: When do you open?");
    assert_eq!(gate.ask("When do you open?").await.cache(), "hit exact", "what it answered is remembered");
    assert_eq!(gate.ask("when do you open").await.cache(), "hit normalised");
    assert!(gate.metrics().await.contains(r#"sluice_embeddings_total{outcome="busy"} 1"#));

    let_go.send(()).unwrap();
    held.await.unwrap().unwrap();
    long.await.unwrap().unwrap();
}
