//! What the pool promises, with an embedder that waits for the test.

use super::*;
use crate::hashed::HashedEmbedder;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Says on `entered` what it has begun, and goes on when `gate` gives a token.
struct Gated {
    inner: HashedEmbedder,
    entered: Sender<String>,
    gate: Receiver<()>,
    seen: Mutex<Vec<String>>,
}

impl Embedder for Gated {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn dimensions(&self) -> usize {
        self.inner.dimensions()
    }
    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }
    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.seen.lock().unwrap().push(text.to_owned());
        // Not every test listens.
        let _ = self.entered.send(text.to_owned());
        self.gate.recv().unwrap();
        assert!(!text.contains("boom"), "told to panic at: {text}");
        self.inner.embed(text)
    }
}

struct Setup {
    pool: EmbedPool,
    embedder: Arc<Gated>,
    entered: Receiver<String>,
    gate: Sender<()>,
}

fn gated(options: PoolOptions) -> Setup {
    let (entered, began) = bounded(100);
    let (gate, go) = bounded(100);
    let inner = HashedEmbedder::new(32);
    let embedder = Arc::new(Gated { inner, entered, gate: go, seen: Mutex::default() });
    let pool = EmbedPool::start(Arc::clone(&embedder) as Arc<dyn Embedder>, options).unwrap();
    Setup { pool, embedder, entered: began, gate }
}

/// Lets the model go on with so many texts.
fn open(gate: &Sender<()>, texts: usize) {
    for _ in 0..texts {
        gate.send(()).unwrap();
    }
}

/// Polls a future once, which puts its text into the queue.
fn begin<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn the_pool_answers_as_its_embedder_does() {
    let embedder = Arc::new(HashedEmbedder::new(64));
    let pool = EmbedPool::start(Arc::clone(&embedder) as Arc<dyn Embedder>, PoolOptions::default()).unwrap();
    assert_eq!((pool.id(), pool.dimensions()), (embedder.id(), 64));
    assert_eq!(*pool.embed("a text").await.unwrap(), embedder.embed("a text").unwrap());
}

#[tokio::test]
async fn a_full_queue_says_busy_at_once_and_recovers() {
    let Setup { pool, entered, gate, .. } = gated(PoolOptions { queue: 1, ..PoolOptions::default() });
    let mut working = Box::pin(pool.embed("first"));
    assert!(begin(working.as_mut()).is_pending());
    assert_eq!(entered.recv().unwrap(), "first");
    let mut waiting = Box::pin(pool.embed("second"));
    assert!(begin(waiting.as_mut()).is_pending());
    assert_eq!(pool.queued(), 1);

    assert_eq!(pool.embed("third").await, Err(EmbedError::Busy));

    open(&gate, 3);
    assert!(working.await.is_ok());
    assert!(waiting.await.is_ok());
    assert!(pool.embed("third").await.is_ok());
}

#[tokio::test]
async fn a_job_nobody_waits_for_is_skipped() {
    let Setup { pool, embedder, entered, gate } = gated(PoolOptions::default());
    let mut working = Box::pin(pool.embed("first"));
    assert!(begin(working.as_mut()).is_pending());
    entered.recv().unwrap();
    let mut abandoned = Box::pin(pool.embed("abandoned"));
    assert!(begin(abandoned.as_mut()).is_pending());
    drop(abandoned);

    open(&gate, 2);
    working.await.unwrap();
    pool.embed("last").await.unwrap();
    assert_eq!(*embedder.seen.lock().unwrap(), ["first", "last"]);
}

#[tokio::test]
async fn a_panicking_model_fails_that_text_only_and_says_nothing_of_it() {
    let Setup { pool, gate, .. } = gated(PoolOptions::default());
    open(&gate, 2);
    let error = pool.embed("boom, my secret").await.unwrap_err();
    assert!(matches!(error, EmbedError::Forward(_)));
    assert!(!error.to_string().contains("secret"));
    assert!(pool.embed("next").await.is_ok());
}

#[tokio::test]
async fn the_same_text_is_computed_once() {
    let Setup { pool, embedder, gate, .. } = gated(PoolOptions::default());
    open(&gate, 1);
    let first = pool.embed("again").await.unwrap();
    let second = pool.clone().embed("again").await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(embedder.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_text_queued_twice_is_computed_once() {
    let Setup { pool, embedder, gate, .. } = gated(PoolOptions::default());
    let (mut one, mut two) = (Box::pin(pool.embed("same")), Box::pin(pool.embed("same")));
    assert!(begin(one.as_mut()).is_pending() && begin(two.as_mut()).is_pending());
    open(&gate, 1);
    assert_eq!(one.await.unwrap(), two.await.unwrap());
    assert_eq!(embedder.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let Setup { pool, embedder, gate, .. } = gated(PoolOptions::default());
    open(&gate, 2);
    assert!(pool.embed("boom").await.is_err());
    assert!(pool.embed("boom").await.is_err());
    assert_eq!(embedder.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn workers_stop_when_the_last_handle_goes() {
    let Setup { pool, embedder, .. } = gated(PoolOptions { workers: 3, ..PoolOptions::default() });
    let watch = Arc::downgrade(&embedder);
    drop(embedder);
    let second = pool.clone();
    drop(pool);
    assert!(watch.upgrade().is_some());
    drop(second);
    while watch.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn who_would_wait_longer_than_he_may_is_told_at_once() {
    let Setup { pool, embedder, entered, gate } = gated(PoolOptions::default());
    open(&gate, 1);
    pool.embed("something to measure the pace by").await.unwrap();
    entered.recv().unwrap();
    let mut working = Box::pin(pool.embed("first"));
    assert!(begin(working.as_mut()).is_pending());
    entered.recv().unwrap();
    let mut waiting = Box::pin(pool.embed("second"));
    assert!(begin(waiting.as_mut()).is_pending());
    let impatient = Duration::from_nanos(1);
    assert!(pool.likely_wait() > impatient);
    assert_eq!(pool.embed_within("", "third", Some(impatient)).await, Err(EmbedError::Busy));
    assert_eq!(pool.queued(), 1, "it was not queued");
    let mut patient = Box::pin(pool.embed_within("", "fourth", Some(Duration::MAX)));
    assert!(begin(patient.as_mut()).is_pending());

    open(&gate, 3);
    patient.await.unwrap();
    assert_eq!(pool.likely_wait(), Duration::ZERO);
    assert_eq!(embedder.seen.lock().unwrap()[1..], ["first", "second", "fourth"]);
}

#[tokio::test]
async fn what_waited_too_long_is_not_computed_any_more() {
    let Setup { pool, embedder, entered, gate } = gated(PoolOptions::default());
    let mut working = Box::pin(pool.embed("first"));
    assert!(begin(working.as_mut()).is_pending());
    entered.recv().unwrap();
    // Nothing was measured yet, so it is let in.
    let late = pool.embed_within("", "late", Some(Duration::from_nanos(1)));
    assert_eq!(late.await, Err(EmbedError::Busy), "while the worker is still busy");

    open(&gate, 2);
    working.await.unwrap();
    pool.embed("last").await.unwrap();
    assert_eq!(*embedder.seen.lock().unwrap(), ["first", "last"]);
}

#[tokio::test]
async fn a_refused_text_does_not_count_as_waiting() {
    let Setup { pool, entered, gate, .. } = gated(PoolOptions { queue: 1, ..PoolOptions::default() });
    open(&gate, 1);
    pool.embed("something to measure the pace by").await.unwrap();
    entered.recv().unwrap();
    let mut working = Box::pin(pool.embed("first"));
    assert!(begin(working.as_mut()).is_pending());
    entered.recv().unwrap();
    let mut waiting = Box::pin(pool.embed("second"));
    assert!(begin(waiting.as_mut()).is_pending());
    let before = pool.likely_wait();
    assert_eq!(pool.embed("no room").await, Err(EmbedError::Busy));
    assert_eq!(pool.likely_wait(), before);
    open(&gate, 2);
    waiting.await.unwrap();
}

#[tokio::test]
async fn an_embedding_says_where_its_time_went() {
    let Setup { pool, gate, .. } = gated(PoolOptions::default());
    let (mut one, mut two) = (
        Box::pin(pool.embed_within("", "same", None)),
        Box::pin(pool.embed_within("", "same", Some(Duration::MAX))),
    );
    assert!(begin(one.as_mut()).is_pending() && begin(two.as_mut()).is_pending());
    open(&gate, 1);
    let (one, two) = (one.await.unwrap().timing.unwrap(), two.await.unwrap().timing.unwrap());
    assert!(one.computed.unwrap() > Duration::ZERO);
    assert_eq!(two.computed, None, "the first was computed for both");
    assert_eq!(pool.embed_within("", "same", None).await.unwrap().timing, None, "remembered");
}
