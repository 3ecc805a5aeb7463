//! The gateway's log of the whole test process, kept in memory.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static WRITTEN: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

/// Starts to capture every line at every level. The gateway's threads are not the test's, so it is one log for all tests.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_thread_names(true)
            .with_env_filter(EnvFilter::new("sluice=trace"))
            .with_writer(|| Buffer);
        // Fails only if somebody else was first, and then the tests that read the log fail and say so.
        drop(subscriber.try_init());
    });
}

/// Everything logged so far.
pub fn text() -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&lines).into_owned()
}

/// The lines about this request, as JSON objects.
pub fn of_request(id: &str) -> Vec<Value> {
    let about = |line: &Value| line["request_id"] == id;
    text().lines().filter_map(|line| serde_json::from_str(line).ok()).filter(about).collect()
}

/// Waits until something was logged about this request.
pub async fn wait_for(id: &str) {
    let mut written = WRITTEN.subscribe();
    while of_request(id).is_empty() {
        // Fails only when the sender is gone, and it is static.
        drop(written.changed().await);
    }
}

/// Waits until what was logged so far holds what this looks for.
pub async fn wait_until<T>(find: impl Fn(&str) -> Option<T>) -> T {
    let mut written = WRITTEN.subscribe();
    loop {
        written.mark_unchanged();
        if let Some(found) = find(&text()) {
            return found;
        }
        // Fails only when the sender is gone, and it is static.
        drop(written.changed().await);
    }
}

struct Buffer;

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        WRITTEN.send_replace(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
