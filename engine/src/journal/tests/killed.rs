//! The process is killed at random moments. What it had acknowledged is there, all else is whole or absent.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::*;

const PATH: &str = "SLUICE_JOURNAL_TEST_PATH";
const FIRST: &str = "SLUICE_JOURNAL_TEST_FIRST";
const ROUNDS: u64 = 30;
/// Keys of one round. A process does not live long enough for all.
const SPAN: u64 = 1 << 20;

/// The process that gets killed: it puts and removes, says so *after* each flush, and does not end by itself.
fn child(path: &Path, first: u64) {
    let options = Options { interval: Duration::from_millis(2), ..Options::new("model-a") };
    let (journal, opened) = Journal::open(path, options).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "opened {}", !matches!(opened, Opened::SetAside { .. })).unwrap();
    let mut random = fastrand::Rng::with_seed(first);
    let mut key = first;
    while key < first + SPAN {
        let mut said = Vec::new();
        for _ in 0..random.u64(1..40) {
            journal.put(Table::Answers, key, content(key, 0));
            journal.put(Table::Prompts, key, content(key, 1));
            said.push(format!("put {key}"));
            if random.u8(..3) == 0 {
                let victim = random.u64(first..=key);
                // Before it can happen: a removal may be on disk before the process can say that it is done.
                writeln!(out, "removing {victim}").unwrap();
                journal.remove(Table::Answers, victim);
                said.push(format!("removed {victim}"));
            }
            key += 1;
        }
        if random.bool() {
            journal.flush().unwrap();
            said.push("flushed".to_owned());
        }
        for line in said {
            writeln!(out, "{line}").unwrap();
        }
    }
}

fn start(path: &Path, first: u64) -> (Child, Receiver<String>) {
    let this = "journal::tests::killed::what_was_acknowledged_before_a_kill_is_there_after_it";
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([this, "--exact", "--nocapture", "--test-threads", "1"])
        .env(PATH, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let (said, heard) = channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    (process, heard)
}

/// What the processes said so far: the last acknowledged word on each answer, words not yet acknowledged, and which
/// answers somebody set out to remove.
#[derive(Default)]
struct Said {
    acknowledged: HashMap<u64, bool>,
    removing: HashSet<u64>,
    waiting: Vec<(u64, bool)>,
    opened: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // The harness of the tests begins a line of its own, and does not end it.
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            [.., "put", key] => self.waiting.push((key.parse().unwrap(), true)),
            [.., "removing", key] => drop(self.removing.insert(key.parse().unwrap())),
            ["removed", key] => self.waiting.push((key.parse().unwrap(), false)),
            ["flushed"] => self.acknowledged.extend(self.waiting.drain(..)),
            [.., "opened", usable] => {
                assert_eq!(*usable, "true", "a kill must not damage the file");
                self.opened += 1;
            }
            _ => {}
        }
    }
}

fn check(path: &Path, said: &Said) {
    let (journal, opened) = open(path);
    assert!(!matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    let held = held(&journal).unwrap();
    for (key, is_there) in &said.acknowledged {
        assert!(held.records[1].contains_key(key), "the prompt {key} was acknowledged");
        if *is_there && !said.removing.contains(key) {
            assert!(held.records[0].contains_key(key), "{key} was acknowledged");
        }
        assert!(
            *is_there || !held.records[0].contains_key(key),
            "{key} was removed, and that was acknowledged"
        );
    }
    for table in 0..2 {
        for (&key, value) in &held.records[table] {
            assert_eq!(*value, content(key, table as u64), "{key} is there and must be whole");
        }
    }
    // What was put together in one moment need not be together; but nothing may be missing in between.
    for round in 0..ROUNDS {
        let keys: Vec<u64> =
            held.records[1].range(round * SPAN..(round + 1) * SPAN).map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            (round * SPAN..).take(keys.len()).collect::<Vec<_>>(),
            "a beginning of what was put"
        );
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    if let (Some(path), Ok(first)) = (std::env::var_os(PATH), std::env::var(FIRST)) {
        return child(Path::new(&path), first.parse().unwrap());
    }
    let (_folder, path) = folder();
    let mut said = Said::default();
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..ROUNDS {
        let (mut process, heard) = start(&path, round * SPAN);
        // Some die while they open the file, most at work; the moment is anywhere in a transaction.
        let mut life = Duration::from_micros(random.u64(..150_000));
        if round % 3 != 0 {
            let line = heard.iter().inspect(|line| said.hear(line)).find(|line| line.contains("opened"));
            assert!(line.is_some(), "the process ended by itself");
        } else {
            life /= 3;
        }
        let begun = Instant::now();
        while let Some(left) = life.checked_sub(begun.elapsed()) {
            match heard.recv_timeout(left) {
                Ok(line) => said.hear(&line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the process ended by itself"),
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        heard.iter().for_each(|line| said.hear(&line));
        said.waiting.clear();
        check(&path, &said);
    }
    assert!(said.opened >= ROUNDS * 2 / 3 && said.acknowledged.len() > 500, "they did work");
}
