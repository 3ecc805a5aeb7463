//! An answer on its way from a provider, for everybody who waits for it: one feeds it, any number read it.
//!
//! What every reader has taken is kept only as the answer put together so far, from which one who comes late begins. The
//! fastest reader sets the provider's pace; what slower ones have not taken yet waits for them, and is no more than an
//! answer may be large (`limits.max_answer`, which the source counts).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::screened::Screened;
use crate::ledger::Nanodollars;
use crate::relay::replay;
use crate::route::Target;
use crate::route::answer::Broken;
use crate::wire::chat::{Assembler, Chunk};

/// Chunks that the feeder may be ahead of the fastest reader.
const AHEAD: usize = 16;

/// How an answer ended.
#[derive(Clone)]
pub(super) enum End {
    /// It is whole.
    Complete(Settled),
    /// It broke off: why, and what it took until then.
    Broken(Broken, Paid),
}

/// What an answer took that did not come to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Paid {
    /// Tokens in and out.
    pub(super) tokens: (u64, u64),
    /// What it cost, if that is known.
    pub(super) cost: Option<Nanodollars>,
    /// Nobody counted them all: they are reckoned from the texts.
    pub(super) estimated: bool,
}

/// Does what is due when a provider's answer ends.
pub(super) trait Settle {
    /// For all of it.
    fn whole(self, answer: Chunk) -> Settled;
    /// For as much as came.
    fn part(self, answer: Chunk) -> Paid;
}

/// A whole answer that is paid for.
#[derive(Clone)]
pub(super) struct Settled {
    /// The answer in its redacted form.
    pub(super) answer: Arc<Chunk>,
    /// Tokens in and out.
    pub(super) tokens: (u64, u64),
    /// What it cost, if that is known.
    pub(super) cost: Option<Nanodollars>,
    /// Whether it is remembered, so that others may have it too.
    pub(super) kept: bool,
}

/// An answer on its way.
pub(super) struct Live {
    /// Who answers.
    pub(super) target: Target,
    state: Mutex<State>,
    /// There is a chunk more, or the end.
    news: Notify,
    /// A reader took a chunk, or left.
    room: Notify,
}

#[derive(Default)]
struct State {
    so_far: Assembler,
    /// How many chunks came before those in `recent`.
    before: usize,
    /// What some reader has not taken yet.
    recent: VecDeque<Arc<Chunk>>,
    readers: Vec<Place>,
    next_reader: u64,
    end: Option<End>,
}

struct Place {
    reader: u64,
    /// How many chunks it has taken; of one who waits for the whole answer, more than there will ever be.
    taken: usize,
}

/// What a reader gets.
pub(super) enum Step {
    /// The next chunk.
    Chunk(Chunk),
    /// No more will come.
    End(End),
}

/// One who reads. Dropped, it left; when all have, the answer is given up.
pub(super) struct Reader {
    live: Arc<Live>,
    reader: u64,
    /// What was there before it came.
    first: VecDeque<Chunk>,
}

impl Live {
    /// Nothing came yet.
    pub(super) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { target, state: Mutex::default(), news: Notify::new(), room: Notify::new() })
    }

    /// Reads from the beginning. None if it is lost already.
    pub(super) fn read(self: &Arc<Self>) -> Option<Reader> {
        self.enter(|state| {
            let so_far = match &state.end {
                None if state.before + state.recent.len() == 0 => VecDeque::new(),
                None => replay(state.so_far.clone().finish()).into(),
                Some(End::Complete(settled)) => replay(settled.answer.as_ref().clone()).into(),
                Some(End::Broken(..)) => return None,
            };
            Some((so_far, state.before + state.recent.len()))
        })
    }

    /// Waits for the end alone. None if it is lost already.
    pub(super) fn wait(self: &Arc<Self>) -> Option<Reader> {
        self.enter(|state| match &state.end {
            None | Some(End::Complete(_)) => Some((VecDeque::new(), usize::MAX)),
            Some(End::Broken(..)) => None,
        })
    }

    fn enter(
        self: &Arc<Self>,
        begin: impl FnOnce(&State) -> Option<(VecDeque<Chunk>, usize)>,
    ) -> Option<Reader> {
        let mut state = self.lock();
        let (first, taken) = begin(&state)?;
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers.push(Place { reader, taken });
        drop(state);
        self.room.notify_waiters();
        Some(Reader { live: Arc::clone(self), reader, first })
    }

    /// Passes an answer on until its end, and settles it before anybody sees that end. When nobody reads any more it is read on
    /// for as long as `drain`, and given up then.
    ///
    /// If this future is dropped before, the answer broke off.
    pub(super) async fn feed(&self, mut chunks: Screened, settle: impl Settle, drain: Duration) {
        let unfinished = Unfinished(self);
        let mut give_up = None;
        let broken = loop {
            let left = !self.has_room().await;
            let now = Instant::now();
            give_up = left.then(|| give_up.unwrap_or(now + drain));
            let until = give_up.unwrap_or(now);
            if left && until <= now {
                break Some(Broken::GivenUp);
            }
            let next = tokio::select! {
                biased;
                () = sleep_until(until), if left => break Some(Broken::GivenUp),
                next = chunks.next() => next,
                () = self.abandoned(), if !left => continue,
            };
            match next {
                Ok(Some(chunk)) => self.push(chunk),
                Ok(None) => break None,
                Err(broken) => break Some(broken),
            }
        };
        // The provider is not to go on with what nobody wants.
        drop(chunks);
        let answer = self.lock().so_far.clone().finish();
        self.close(match broken {
            None => End::Complete(settle.whole(answer)),
            Some(broken) => End::Broken(broken, settle.part(answer)),
        });
        drop(unfinished);
    }

    fn push(&self, chunk: Chunk) {
        let mut state = self.lock();
        state.so_far.push(&chunk);
        state.recent.push_back(Arc::new(chunk));
        state.forget_taken();
        drop(state);
        self.news.notify_waiters();
    }

    /// Waits until a reader wants more; false if there is none.
    async fn has_room(&self) -> bool {
        loop {
            let room = self.room.notified();
            {
                let state = self.lock();
                let Some(fastest) = state.readers.iter().map(|place| place.taken).max() else {
                    return false;
                };
                if state.before + state.recent.len() < fastest.saturating_add(AHEAD) {
                    return true;
                }
            }
            room.await;
        }
    }

    /// Completes when nobody reads.
    async fn abandoned(&self) {
        loop {
            let room = self.room.notified();
            if self.lock().readers.is_empty() {
                return;
            }
            room.await;
        }
    }

    /// The first end counts.
    fn close(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.news.notify_waiters();
    }

    /// Plain data, whole whenever the lock is free.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes an answer whose feeder went away.
struct Unfinished<'a>(&'a Live);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.close(End::Broken(Broken::Cut, Paid::default()));
    }
}

impl State {
    /// Lets go of what every reader has.
    fn forget_taken(&mut self) {
        let slowest = self.readers.iter().map(|place| place.taken).min().unwrap_or(usize::MAX);
        while self.before < slowest && self.recent.pop_front().is_some() {
            self.before += 1;
        }
    }

    /// The chunk that this reader has not taken yet; the last one who takes it has it for itself.
    fn take(&mut self, reader: u64) -> Option<Chunk> {
        let place = self.readers.iter_mut().find(|place| place.reader == reader)?;
        let chunk = Arc::clone(self.recent.get(place.taken.checked_sub(self.before)?)?);
        place.taken += 1;
        self.forget_taken();
        Some(Arc::try_unwrap(chunk).unwrap_or_else(|shared| shared.as_ref().clone()))
    }
}

impl Reader {
    /// The next chunk, or the end. May be dropped while it waits without losing anything.
    pub(super) async fn next(&mut self) -> Step {
        if let Some(chunk) = self.first.pop_front() {
            return Step::Chunk(chunk);
        }
        loop {
            let news = self.live.news.notified();
            let step = {
                let mut state = self.live.lock();
                match state.take(self.reader) {
                    Some(chunk) => Some(Step::Chunk(chunk)),
                    None => state.end.clone().map(Step::End),
                }
            };
            match step {
                Some(step @ Step::Chunk(_)) => {
                    self.live.room.notify_waiters();
                    return step;
                }
                Some(step) => return step,
                None => news.await,
            }
        }
    }

    /// Leaves, and gives the end when it comes.
    pub(super) async fn leave(self) -> End {
        let live = Arc::clone(&self.live);
        drop(self);
        loop {
            let news = live.news.notified();
            if let Some(end) = live.lock().end.clone() {
                return end;
            }
            news.await;
        }
    }

    /// The end, past all chunks.
    pub(super) async fn end(mut self) -> End {
        loop {
            if let Step::End(end) = self.next().await {
                return end;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        state.readers.retain(|place| place.reader != self.reader);
        state.forget_taken();
        drop(state);
        self.live.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::answer::Chunks;
    use crate::route::test_target;
    use futures_util::FutureExt;
    use serde_json::json;

    fn chunk(text: &str) -> Chunk {
        serde_json::from_value(
            json!({ "id": "c", "choices": [{ "index": 0, "delta": { "content": text } }] }),
        )
        .unwrap()
    }

    fn live() -> Arc<Live> {
        Live::new(test_target())
    }

    fn settled(answer: Chunk) -> Settled {
        Settled { answer: Arc::new(answer), tokens: (0, 0), cost: None, kept: true }
    }

    /// Settles for nothing.
    struct Free;

    impl Settle for Free {
        fn whole(self, answer: Chunk) -> Settled {
            settled(answer)
        }

        fn part(self, answer: Chunk) -> Paid {
            Paid { tokens: (0, words(&answer).len() as u64), ..Paid::default() }
        }
    }

    fn words(chunk: &Chunk) -> &str {
        chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default()
    }

    /// The words up to the end, and the end.
    async fn all(mut reader: Reader) -> (String, End) {
        let mut text = String::new();
        loop {
            match reader.next().await {
                Step::Chunk(chunk) => text.push_str(words(&chunk)),
                Step::End(end) => return (text, end),
            }
        }
    }

    #[tokio::test]
    async fn whoever_comes_when_reads_the_same_words() {
        let live = live();
        let early = live.read().unwrap();
        let mut fast = live.read().unwrap();
        live.push(chunk("Once "));
        assert!(matches!(fast.next().await, Step::Chunk(chunk) if words(&chunk) == "Once "));
        live.push(chunk("upon "));
        let late = live.read().unwrap();
        live.push(chunk("a time"));
        let whole = live.lock().so_far.clone().finish();
        live.close(End::Complete(settled(whole)));
        let last = live.read().unwrap();
        for reader in [early, late, last] {
            let (text, end) = all(reader).await;
            assert_eq!(text, "Once upon a time");
            assert!(matches!(end, End::Complete(_)));
        }
        assert_eq!(all(fast).await.0, "upon a time");
    }

    #[tokio::test]
    async fn what_every_reader_took_is_not_kept() {
        let live = live();
        let kept = || live.lock().recent.len();
        let (mut fast, mut slow) = (live.read().unwrap(), live.read().unwrap());
        for n in 0..10 {
            live.push(chunk(&n.to_string()));
            fast.next().await;
        }
        assert_eq!(kept(), 10, "they wait for the slow one");
        for _ in 0..4 {
            slow.next().await;
        }
        assert_eq!(kept(), 6);
        drop(slow);
        assert_eq!(kept(), 0);
        let _waiting = live.wait().unwrap();
        live.push(chunk("x"));
        assert_eq!(kept(), 1);
        fast.next().await;
        assert_eq!(kept(), 0, "who waits for the end holds nothing back");
    }

    #[tokio::test]
    async fn the_fastest_reader_sets_the_pace() {
        let live = live();
        let (mut fast, _slow) = (live.read().unwrap(), live.read().unwrap());
        for _ in 0..AHEAD {
            assert!(live.has_room().await);
            live.push(chunk("x"));
        }
        let mut room = std::pin::pin!(live.has_room());
        assert!((&mut room).now_or_never().is_none());
        fast.next().await;
        assert!(room.await);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up_and_can_not_be_joined() {
        let live = live();
        drop(live.read());
        live.feed(Chunks::whole(chunk("x")).into(), Free, Duration::ZERO).await;
        assert!(live.read().is_none() && live.wait().is_none());
    }

    #[tokio::test]
    async fn whoever_leaves_learns_what_came_of_it() {
        let live = live();
        let reader = live.read().unwrap();
        live.push(chunk("four"));
        let feeding = live.feed(Chunks::whole(chunk("x")).into(), Free, Duration::ZERO);
        let (end, ()) = tokio::join!(reader.leave(), feeding);
        assert!(matches!(end, End::Broken(Broken::GivenUp, Paid { tokens: (0, 4), .. })));
    }

    #[tokio::test]
    async fn what_nobody_reads_is_read_on_for_as_long_as_it_may() {
        let live = live();
        let reader = live.read().unwrap();
        let drain = Duration::from_secs(60);
        let feeding = live.feed(Chunks::whole(chunk("x")).into(), Free, drain);
        let (end, ()) = tokio::join!(reader.leave(), feeding);
        assert!(matches!(end, End::Complete(settled) if words(&settled.answer) == "x"));
        assert!(live.read().is_some(), "and others may have it");
    }

    #[tokio::test]
    async fn a_feeder_that_goes_away_breaks_the_answer_off() {
        let live = live();
        let reader = live.read().unwrap();
        drop(Unfinished(&live));
        assert!(matches!(all(reader).await.1, End::Broken(..)));
        assert!(live.read().is_none());
    }

    #[tokio::test]
    async fn it_is_settled_before_its_end_is_seen() {
        let live = live();
        let (reader, waiting) = (live.read().unwrap(), live.wait().unwrap());
        struct Before(Arc<Live>);
        impl Settle for Before {
            fn whole(self, answer: Chunk) -> Settled {
                assert!(self.0.lock().end.is_none());
                settled(answer)
            }

            fn part(self, _answer: Chunk) -> Paid {
                panic!("it is whole")
            }
        }
        live.feed(Chunks::whole(chunk("x")).into(), Before(Arc::clone(&live)), Duration::ZERO).await;
        assert_eq!(all(reader).await.0, "x");
        let End::Complete(settled) = waiting.end().await else { panic!("it is complete") };
        assert_eq!(words(&settled.answer), "x");
    }
}
