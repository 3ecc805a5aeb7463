//! The shadow log: one line for each remembered answer that the learnt tier held against a request, for `sluice tune`. Lines
//! wait in a bounded queue and are written by a thread of their own, so that no request waits for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::remember::Asked;
use crate::telemetry::metrics::LineCounts;

/// Lines that may wait.
const QUEUE: usize = 4096;
/// About as much is written at once.
const BATCH_BYTES: usize = 256 * 1024;
/// Longest that stopping waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
pub struct ShadowLog {
    queue: SyncSender<Message>,
    asked: Arc<AtomicU64>,
    prompts: bool,
    counts: LineCounts,
}

enum Message {
    Line(Box<Line>),
    /// Everything before it is to be written; then the other end is dropped.
    Flush(SyncSender<()>),
}

/// What is known of a candidate. No `Debug`: it may hold what people wrote.
#[derive(Serialize)]
struct Line {
    ts: f64,
    id: String,
    /// Filled in when it is written, so that the numbers rise along the file however late a verdict comes.
    request: u64,
    model: String,
    tier: &'static str,
    outcome: &'static str,
    similarity: f32,
    confidence: f32,
    would_serve: bool,
    right: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
}

/// What the cache decided about a candidate.
#[derive(Clone, Copy)]
pub(super) struct Decided {
    /// How near the two prompts are.
    pub(super) similarity: f32,
    /// The probability that the answer is right.
    pub(super) confidence: f32,
    /// Whether the rule let it be served.
    pub(super) would_serve: bool,
    /// Whether it was.
    pub(super) served: bool,
}

/// A line that waits for its verdict. Dropped without one, it says that there is none.
pub(super) struct Watched {
    log: Arc<ShadowLog>,
    line: Option<Box<Line>>,
}

impl ShadowLog {
    /// A log that is appended to `path`; the file is made when there is a first line. `prompts`: write what was asked, too.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(path: PathBuf, prompts: bool, counts: LineCounts) -> io::Result<Arc<Self>> {
        let (queue, messages) = sync_channel(QUEUE);
        let asked = Arc::new(AtomicU64::new(0));
        let writer = Writer { path, asked: Arc::clone(&asked), counts: counts.clone(), told: false };
        std::thread::Builder::new()
            .name("sluice-shadow-log".to_owned())
            .spawn(move || writer.run(&messages))?;
        Ok(Arc::new(Self { queue, asked, prompts, counts }))
    }

    /// Counts a request that the learnt tier was asked for.
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins the line of a request with this prompt.
    pub(super) fn watch(self: &Arc<Self>, asked: &Asked<'_>, prompt: &str, decided: Decided) -> Watched {
        let prompt = self.prompts.then(|| prompt.to_owned());
        self.begin(&asked.call.id, &asked.request.model, prompt, decided)
    }

    fn begin(self: &Arc<Self>, id: &str, model: &str, prompt: Option<String>, decided: Decided) -> Watched {
        let Decided { similarity, confidence, would_serve, served } = decided;
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = Line {
            ts: millis as f64 / 1000.0,
            id: id.to_owned(),
            request: 0,
            model: model.to_owned(),
            tier: "semantic",
            outcome: match (served, would_serve) {
                (true, _) => "hit",
                (false, true) => "shadow",
                (false, false) => "miss",
            },
            // Rounding may take a cosine just beyond one.
            similarity: similarity.clamp(-1.0, 1.0),
            confidence: confidence.clamp(0.0, 1.0),
            would_serve,
            right: None,
            prompt,
        };
        Watched { log: Arc::clone(self), line: Some(Box::new(line)) }
    }

    /// Waits until all lines so far are written, or the disk takes too long.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(0);
        let queue = self.queue.clone();
        // A thread of its own, since a full queue on a disk that hangs would make it wait without an end.
        let asking = std::thread::Builder::new().name("sluice-flush".to_owned());
        if asking.spawn(move || queue.send(Message::Flush(done))).is_ok() {
            // The other end is dropped when it is its turn, or with the queue: both end the waiting.
            let _ = wait.recv_timeout(PATIENCE);
        }
    }
}

impl Watched {
    /// Ends the line with what was found out.
    pub(super) fn judged(mut self, right: Option<bool>) {
        if let Some(line) = &mut self.line {
            line.right = right;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let sent = self.line.take().is_none_or(|line| self.log.queue.try_send(Message::Line(line)).is_ok());
        if !sent {
            self.log.counts.dropped.inc();
        }
    }
}

/// The thread's own.
struct Writer {
    path: PathBuf,
    asked: Arc<AtomicU64>,
    counts: LineCounts,
    /// Whether it was said that writing fails.
    told: bool,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let (mut bytes, mut lines, mut flushes) = (Vec::new(), 0, Vec::new());
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        lines += u64::from(self.spell(*line, &mut bytes));
                    }
                    Message::Flush(done) => flushes.push(done),
                }
                next = if bytes.len() < BATCH_BYTES { messages.try_recv().ok() } else { None };
            }
            if lines > 0 {
                self.write(&bytes, lines);
            }
            // Now whoever waits for it need not any more.
            drop(flushes);
        }
    }

    fn spell(&self, line: Line, bytes: &mut Vec<u8>) -> bool {
        let line = Line { request: self.asked.load(Ordering::Relaxed), ..line };
        let spelled = serde_json::to_vec(&line);
        let Ok(spelled) = spelled else { return false };
        bytes.extend(spelled);
        bytes.push(b'\n');
        true
    }

    fn write(&mut self, bytes: &[u8], lines: u64) {
        match append(&self.path, bytes) {
            Ok(()) => drop(self.counts.written.inc_by(lines)),
            Err(error) => {
                self.counts.failed.inc_by(lines);
                if !std::mem::replace(&mut self.told, true) {
                    tracing::error!(
                        file = %self.path.display(),
                        %error,
                        "the shadow log can't be written; sluice_shadow_log_lines_total counts what is lost"
                    );
                }
            }
        }
    }
}

/// Appends whole lines, or nothing. The file is opened each time, so that it can be moved away at any moment.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let length = file.metadata()?.len();
    // A writer that was killed may have left half a line.
    let begun = if ends_a_line(&mut file, length)? { &b""[..] } else { b"\n" };
    let written = file.write_all(begun).and_then(|()| file.write_all(bytes));
    if written.is_err() {
        drop(file.set_len(length));
    }
    written
}

fn ends_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;
    use serde_json::Value;

    const SHADOW: Decided =
        Decided { similarity: 1.000_000_1, confidence: 0.5, would_serve: true, served: false };

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_written_when_its_verdict_is_there_or_can_t_come() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shadow.jsonl");
        let log = ShadowLog::start(path.clone(), false, Metrics::default().shadow_lines()).unwrap();
        log.asked();
        let begin = |id, decided| log.begin(id, "chat", None, decided);
        let early = begin("1", SHADOW);
        log.asked();
        begin("2", SHADOW).judged(Some(true));
        drop(begin("3", Decided { would_serve: false, ..SHADOW }));
        begin("4", Decided { served: true, ..SHADOW }).judged(None);
        log.flush();
        log.asked();
        early.judged(Some(false));
        log.flush();
        let of = |name: &str| lines(&path).iter().map(|line| line[name].clone()).collect::<Vec<_>>();
        assert_eq!(of("id"), ["2", "3", "4", "1"]);
        assert_eq!(of("right"), [Value::Bool(true), Value::Null, Value::Null, Value::Bool(false)]);
        assert_eq!(of("outcome"), ["shadow", "miss", "hit", "shadow"]);
        assert_eq!(of("request"), [2, 2, 2, 3], "the numbers rise");
        assert!(of("similarity").iter().all(|similarity| *similarity == 1.0));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_and_half_a_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shadow.jsonl");
        append(&path, b"{\"id\":1}\n").unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        append(&path, b"{\"id\":2}\n{\"id\"").unwrap();
        append(&path, b"{\"id\":3}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"id\":2}\n{\"id\"\n{\"id\":3}\n");
    }

    #[test]
    fn what_can_t_be_written_is_counted_and_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let log = ShadowLog::start(folder.path().to_owned(), true, metrics.shadow_lines()).unwrap();
        for id in ["1", "2"] {
            log.begin(id, "chat", None, SHADOW).judged(None);
        }
        log.flush();
        let failed = "sluice_shadow_log_lines_total{outcome=\"failed\"} 2";
        assert!(metrics.scrape(0, 0, 0).lines().any(|line| line == failed));
    }
}
