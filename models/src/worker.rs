//! Threads that own a model: callers await, nobody computes on an I/O thread, and who would wait too long is told at once.

mod pace;
#[cfg(test)]
mod tests;

use crate::embedder::{EmbedError, Embedder, Embedding};
use crate::memo::{Key, Memo};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use pace::{Pace, likely_tokens};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout;

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
    pace: Arc<Pace>,
    workers: usize,
    jobs: Sender<Job>,
}

/// A text's vector and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// The vector.
    pub embedding: Arc<Embedding>,
    /// The times; none if the vector was remembered.
    pub timing: Option<Timing>,
}

/// Where the time of an embedding went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// In the queue, until a worker took the text.
    pub waited: Duration,
    /// In the model; none if meanwhile the same text had been computed for somebody else.
    pub computed: Option<Duration>,
}

struct Job {
    text: String,
    key: Key,
    /// What it counts for in [`Pace`].
    tokens: u64,
    queued: Instant,
    patience: Option<Duration>,
    /// Says that the wait is over.
    take: oneshot::Sender<()>,
    reply: oneshot::Sender<Result<Embedded, EmbedError>>,
}

impl EmbedPool {
    /// Starts the worker threads, named `sluice-embed-0` and up.
    ///
    /// # Errors
    /// When the system grants no thread.
    pub fn start(embedder: Arc<dyn Embedder>, options: PoolOptions) -> std::io::Result<EmbedPool> {
        let (jobs, queue) = bounded(options.queue.max(1));
        let (memo, pace) = (Arc::new(Memo::new(options.memo_bytes)), Arc::<Pace>::default());
        let workers = options.workers.max(1);
        for n in 0..workers {
            let worker = Worker {
                embedder: Arc::clone(&embedder),
                memo: Arc::clone(&memo),
                pace: Arc::clone(&pace),
                queue: queue.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("sluice-embed-{n}"));
            thread.spawn(move || worker.work())?;
        }
        Ok(EmbedPool { embedder, memo, pace, workers, jobs })
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

    /// How long a text that comes now would likely wait, from the queue before it and the pace of late; zero for an
    /// empty queue.
    #[must_use]
    pub fn likely_wait(&self) -> Duration {
        self.pace.wait(self.workers)
    }

    /// Embeds one text: from the memo on the caller's own thread, else by a worker. Waits as long as the queue takes.
    /// Dropping the future while the text waits takes it out of the work.
    ///
    /// # Errors
    /// [`EmbedError::Busy`] at once when the queue is full; what the model says when it fails;
    /// [`EmbedError::Closed`] when the workers are gone.
    pub async fn embed(&self, text: &str) -> Result<Arc<Embedding>, EmbedError> {
        self.embed_within("", text, None).await.map(|embedded| embedded.embedding)
    }

    /// [`EmbedPool::embed`] for somebody who would rather go without than wait longer than `patience` for a worker
    /// (the computing itself comes on top), and with a memo of its own for each `scope`: how fast an answer comes tells
    /// nobody what was asked in another scope.
    ///
    /// # Errors
    /// As [`EmbedPool::embed`]; also [`EmbedError::Busy`] at once when the wait is likely to be longer than `patience`, and
    /// after `patience` when it was, without computing.
    ///
    /// # Panics
    /// With a `patience`, outside of a tokio runtime with timers.
    pub async fn embed_within(
        &self,
        scope: &str,
        text: &str,
        patience: Option<Duration>,
    ) -> Result<Embedded, EmbedError> {
        let key = Memo::key(scope, text);
        if let Some(embedding) = self.memo.get(&key) {
            return Ok(Embedded { embedding, timing: None });
        }
        if patience.is_some_and(|patience| self.likely_wait() > patience) {
            return Err(EmbedError::Busy);
        }
        let tokens = likely_tokens(text.len(), self.max_tokens());
        let (take, taken) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let job = Job { text: text.to_owned(), key, tokens, queued: Instant::now(), patience, take, reply };
        // Before a worker can take it.
        self.pace.enters(tokens);
        self.jobs.try_send(job).map_err(|refused| {
            self.pace.leaves(tokens);
            match refused {
                TrySendError::Full(_) => EmbedError::Busy,
                TrySendError::Disconnected(_) => EmbedError::Closed,
            }
        })?;
        // What a worker is busy with is in no prediction. Whoever gives up takes the text out of the work.
        if let Some(patience) = patience
            && timeout(patience, taken).await.is_err()
        {
            return Err(EmbedError::Busy);
        }
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }
}

struct Worker {
    embedder: Arc<dyn Embedder>,
    memo: Arc<Memo>,
    pace: Arc<Pace>,
    queue: Receiver<Job>,
}

impl Worker {
    /// Until every handle of the pool is gone.
    fn work(self) {
        for Job { text, key, tokens, queued, patience, take, reply } in &self.queue {
            self.pace.leaves(tokens);
            if reply.is_closed() {
                continue;
            }
            // The caller may have gone meanwhile; the memo has the result all the same.
            let _ = take.send(());
            let _ = reply.send(self.answer(&text, key, tokens, queued, patience));
        }
    }

    fn answer(
        &self,
        text: &str,
        key: Key,
        tokens: u64,
        queued: Instant,
        patience: Option<Duration>,
    ) -> Result<Embedded, EmbedError> {
        let began = Instant::now();
        let waited = began.duration_since(queued);
        // The same text may have been computed while this one waited.
        if let Some(embedding) = self.memo.get(&key) {
            return Ok(Embedded { embedding, timing: Some(Timing { waited, computed: None }) });
        }
        if patience.is_some_and(|patience| waited > patience) {
            return Err(EmbedError::Busy);
        }
        let embedding = Arc::new(embed(&*self.embedder, text)?);
        let computed = began.elapsed();
        self.pace.took(tokens, computed);
        self.memo.put(key, Arc::clone(&embedding));
        Ok(Embedded { embedding, timing: Some(Timing { waited, computed: Some(computed) }) })
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
