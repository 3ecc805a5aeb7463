//! How fast the workers are, and so how long a text that comes now would wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of English prose per token of a WordPiece vocabulary, about.
const BYTES_PER_TOKEN: usize = 4;
/// The share of each new measurement in the mean, as a power of two: an eighth.
const SHARE: u32 = 3;

/// The work in the queue and an exponentially weighted moving average of what a unit of it takes.
///
/// The unit is the *likely token* and not the text: prompts differ in length by orders of magnitude, and an encoder's time
/// is nearly proportional to its tokens (14 take 1/18 to 1/26 of the time of 256). Counting real tokens would need the
/// tokenizer on the caller's thread; their number per byte is steady enough within one deployment, and whatever error is
/// steady is in the mean.
#[derive(Default)]
pub(super) struct Pace {
    /// Likely tokens of the texts that wait.
    queued: AtomicU64,
    /// Nanoseconds per likely token of one worker; 0 until something was measured.
    nanos: AtomicU64,
}

/// How many tokens a text of `bytes` bytes likely has for a model that looks at `most`, its two markers included.
pub(super) fn likely_tokens(bytes: usize, most: usize) -> u64 {
    (bytes.div_ceil(BYTES_PER_TOKEN).saturating_add(2)).min(most.max(1)) as u64
}

impl Pace {
    /// A text of so many likely tokens waits from now on.
    pub(super) fn enters(&self, tokens: u64) {
        self.queued.fetch_add(tokens, Ordering::Relaxed);
    }

    /// It waits no longer.
    pub(super) fn leaves(&self, tokens: u64) {
        self.queued.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// A worker took so long for a text of so many likely tokens.
    pub(super) fn took(&self, tokens: u64, time: Duration) {
        let sample = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / tokens.max(1);
        let mean = self.nanos.load(Ordering::Relaxed);
        let next = if mean == 0 { sample } else { mean - (mean >> SHARE) + (sample >> SHARE) };
        // Two workers at once may lose one of two measurements of the same thing.
        self.nanos.store(next.max(1), Ordering::Relaxed);
    }

    /// How long a text that comes now would wait for one of `workers`; zero as long as nothing was measured. What the
    /// workers are busy with is left out: an empty queue is never too long, so a pool that was slow for once is asked
    /// again and its mean recovers.
    pub(super) fn wait(&self, workers: usize) -> Duration {
        let work = self.queued.load(Ordering::Relaxed).saturating_mul(self.nanos.load(Ordering::Relaxed));
        Duration::from_nanos(work / workers.max(1) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_wait_is_the_work_before_it_shared_by_the_workers() {
        let pace = Pace::default();
        pace.enters(100);
        assert_eq!(pace.wait(1), Duration::ZERO, "nothing is known yet");
        pace.took(10, 10 * MS);
        assert_eq!((pace.wait(1), pace.wait(4)), (100 * MS, 25 * MS));
        pace.leaves(40);
        assert_eq!(pace.wait(1), 60 * MS);
        pace.leaves(60);
        assert_eq!(pace.wait(1), Duration::ZERO);
    }

    #[test]
    fn one_slow_text_counts_an_eighth_and_is_forgotten() {
        let pace = Pace::default();
        pace.enters(1);
        pace.took(1, MS);
        pace.took(1, 9 * MS);
        assert_eq!(pace.wait(1), 2 * MS);
        (0..100).for_each(|_| pace.took(1, MS));
        assert!(pace.wait(1) < MS + MS / 100, "{:?}", pace.wait(1));
    }

    #[test]
    fn a_long_text_counts_up_to_what_the_model_looks_at() {
        assert_eq!(likely_tokens(0, 256), 2);
        assert_eq!(likely_tokens(50, 256), 15);
        assert_eq!(likely_tokens(usize::MAX, 256), 256);
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let pace = Pace::default();
        pace.enters(1000);
        pace.took(1, Duration::MAX);
        pace.took(1, Duration::MAX);
        assert!(pace.wait(1) > Duration::from_secs(1 << 20));
    }
}
