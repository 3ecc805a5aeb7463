//! Telling someone how a download goes.

/// Watches a download. Called from the thread that pulls; `start` … `finish` come in pairs, one pair per file.
pub trait Progress: Send + Sync {
    /// `what` begins to arrive, of this many bytes if that is known.
    fn start(&self, what: &str, total_bytes: Option<u64>);
    /// So many more bytes are here.
    fn advance(&self, bytes: u64);
    /// What was started has ended, well or not.
    fn finish(&self);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// A started piece of progress which finishes on every way out.
pub(super) struct Running<'a>(&'a dyn Progress);

impl<'a> Running<'a> {
    pub(super) fn start(progress: &'a dyn Progress, what: &str, total_bytes: Option<u64>) -> Self {
        progress.start(what, total_bytes);
        Self(progress)
    }

    pub(super) fn advance(&self, bytes: usize) {
        self.0.advance(bytes as u64);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
