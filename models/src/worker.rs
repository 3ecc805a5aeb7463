//! Threads that own a model: callers await, nobody computes on an I/O thread, and a full queue says so at once.

use crate::embedder::{EmbedError, Embedder, Embedding};
use crate::memo::{Key, Memo};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many threads embed, and how much may wait and be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads, each working on one text at a time (at least one).
    pub workers: usize,
    /// Texts that may wait for a free worker (at least one).
    pub queue: usize,
    /// Bytes of vectors to remember by exact text; 0 remembers none.
    pub memo_bytes: u64,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { workers: 1, queue: 64, memo_bytes: 16 << 20 }
    }
}

/// A handle on the embedding workers; clones share them. When the last handle goes, the workers finish what is
/// queued and stop.
#[derive(Clone)]
pub struct EmbedPool {
    embedder: Arc<dyn Embedder>,
    memo: Arc<Memo>,
    jobs: Sender<Job>,
}

struct Job {
    text: String,
    key: Key,
    reply: oneshot::Sender<Result<Arc<Embedding>, EmbedError>>,
}

impl EmbedPool {
    /// Starts the worker threads, named `sluice-embed-0` and up.
    ///
    /// # Errors
    /// When the system grants no thread.
    pub fn start(embedder: Arc<dyn Embedder>, options: PoolOptions) -> std::io::Result<EmbedPool> {
        let (jobs, queue) = bounded(options.queue.max(1));
        let memo = Arc::new(Memo::new(options.memo_bytes));
        for n in 0..options.workers.max(1) {
            let (embedder, memo, queue) = (Arc::clone(&embedder), Arc::clone(&memo), queue.clone());
            let thread = std::thread::Builder::new().name(format!("sluice-embed-{n}"));
            thread.spawn(move || work(&*embedder, &memo, &queue))?;
        }
        Ok(EmbedPool { embedder, memo, jobs })
    }

    /// The vector space, see [`Embedder::id`].
    #[must_use]
    pub fn id(&self) -> &str {
        self.embedder.id()
    }

    /// Length of every vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.embedder.dimensions()
    }

    /// Most tokens of a text the model looks at.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.embedder.max_tokens()
    }

    /// Texts waiting now for a free worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.jobs.len()
    }

    /// Embeds one text: from the memo on the caller's own thread, else by a worker. Dropping the future while the
    /// text waits takes it out of the work.
    ///
    /// # Errors
    /// [`EmbedError::Busy`] at once when the queue is full; what the model says when it fails;
    /// [`EmbedError::Closed`] when the workers are gone.
    pub async fn embed(&self, text: &str) -> Result<Arc<Embedding>, EmbedError> {
        self.embed_within("", text).await
    }

    /// [`EmbedPool::embed`] with a memo of its own for each `scope`: how fast an answer comes tells nobody what was
    /// asked in another scope.
    ///
    /// # Errors
    /// As [`EmbedPool::embed`].
    pub async fn embed_within(&self, scope: &str, text: &str) -> Result<Arc<Embedding>, EmbedError> {
        let key = Memo::key(scope, text);
        if let Some(known) = self.memo.get(&key) {
            return Ok(known);
        }
        let (reply, answer) = oneshot::channel();
        let job = Job { text: text.to_owned(), key, reply };
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => EmbedError::Busy,
            TrySendError::Disconnected(_) => EmbedError::Closed,
        })?;
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }
}

/// A worker's life: until every handle of the pool is gone.
fn work(embedder: &dyn Embedder, memo: &Memo, queue: &Receiver<Job>) {
    for job in queue {
        if job.reply.is_closed() {
            continue;
        }
        // The same text may have been computed while this job waited.
        let result = match memo.get(&job.key) {
            Some(known) => Ok(known),
            None => embed(embedder, &job.text).map(|embedding| {
                let embedding = Arc::new(embedding);
                memo.put(job.key, Arc::clone(&embedding));
                embedding
            }),
        };
        // The caller may have gone meanwhile; the memo has the result all the same.
        let _ = job.reply.send(result);
    }
}

/// Embeds, and turns a panic into an error: one text must not take the worker from all others. The panic's own
/// message is left out, since it may quote the text.
fn embed(embedder: &dyn Embedder, text: &str) -> Result<Embedding, EmbedError> {
    catch_unwind(AssertUnwindSafe(|| embedder.embed(text))).unwrap_or_else(|_| {
        tracing::error!(model = embedder.id(), "the embedding model panicked on a text");
        Err(EmbedError::Forward("the model panicked".to_owned()))
    })
}

#[cfg(test)]
mod tests {
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
        let pool =
            EmbedPool::start(Arc::clone(&embedder) as Arc<dyn Embedder>, PoolOptions::default()).unwrap();
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
}
