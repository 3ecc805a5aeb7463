//! A cache at work is killed at random moments. What is served afterwards was stored before, whole, and not forgotten.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::*;

const PATH: &str = "SLUICE_CACHE_TEST_PATH";
const FIRST: &str = "SLUICE_CACHE_TEST_FIRST";
const ROUNDS: u64 = 20;
/// Numbers of one round. A process does not live long enough for all.
const SPAN: u64 = 1 << 20;
/// Prompts that share an answer.
const SHARING: u64 = 4;

fn answer(number: u64) -> String {
    let topic = number / SHARING;
    format!("{topic} {}", "x".repeat((topic * 37 % 700) as usize))
}

fn direction(number: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(number / SHARING);
    let mut vector: Vec<f32> = (0..24).map(|_| rng.f32() - 0.5).collect();
    vector[(number % 24) as usize] += 0.01;
    vector
}

fn open(path: &Path) -> (SemanticCache, Opened) {
    let mut options = Options::new("vectors");
    options.interval = Duration::from_millis(2);
    let (journal, opened) = Journal::open(path, options).unwrap();
    (SemanticCache::new(CacheConfig::default()).with_journal(journal), opened)
}

fn exact(number: u64) -> ExactKey {
    partition("a").exact(&[&number.to_le_bytes()])
}

/// The process that gets killed: it stores, shares, replaces and forgets, says so, and does not end by itself.
fn child(path: &Path, first: u64) {
    let (cache, opened) = open(path);
    let mut out = std::io::stdout();
    writeln!(out, "opened {}", !matches!(opened, Opened::SetAside { .. })).unwrap();
    let key = partition("a");
    let mut rng = fastrand::Rng::with_seed(first);
    for number in first..first + SPAN {
        // Said before it is done: it may be on disk before the process can say that it is.
        writeln!(out, "storing {number}").unwrap();
        let vector = direction(number);
        let profile = Profile::of(&format!("question {}", number / SHARING));
        let question = Question {
            partition: &key,
            vector: &vector,
            profile: &profile,
            tightening: Tightening::default(),
            policy: None,
            shadow: None,
        };
        let ticket = match cache.look_up(&question, &any_entry) {
            Decision::Serve { spot_check, .. } => spot_check,
            Decision::Miss { candidate, .. } => candidate,
        };
        let payload = Bytes::from(answer(number));
        let insert = Insert {
            partition: key,
            exact: exact(number),
            normalised: None,
            vector: Some(vector.clone()),
            payload: payload.clone(),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        };
        cache.remember(insert, profile, ticket.as_ref(), &mut |other| Some(other.payload == payload));
        if rng.u8(..8) == 0 {
            let victim = rng.u64(first..=number);
            writeln!(out, "forgetting {victim}").unwrap();
            let victim_key = exact(victim);
            cache.forget(&|entry| entry.exact == victim_key, false);
            if rng.bool() {
                cache.flush().unwrap();
                writeln!(out, "forgot {victim}").unwrap();
            }
        }
        if rng.u8(..32) == 0 {
            cache.flush().unwrap();
            writeln!(out, "flushed {number}").unwrap();
        }
    }
}

fn start(path: &Path, first: u64) -> (Child, Receiver<String>) {
    let this = "cache::durable::killed::after_a_kill_what_is_served_was_stored_before_with_the_same_bytes";
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

/// What the processes said so far.
#[derive(Default)]
struct Said {
    storing: HashSet<u64>,
    /// Stored, and on disk for sure.
    flushed: HashSet<u64>,
    forgetting: HashSet<u64>,
    forgot: HashSet<u64>,
    /// The round that is under way.
    fresh: Vec<u64>,
    opened: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // The harness of the tests begins a line of its own, and does not end it.
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().unwrap();
        match words.as_slice() {
            [.., "storing", word] => {
                self.storing.insert(number(word));
                self.fresh.push(number(word));
            }
            [.., "forgetting", word] => drop(self.forgetting.insert(number(word))),
            ["forgot", word] => drop(self.forgot.insert(number(word))),
            ["flushed", _] => self.flushed.extend(self.fresh.drain(..)),
            [.., "opened", usable] => {
                assert_eq!(*usable, "true", "a kill must not damage the file");
                self.opened += 1;
            }
            _ => {}
        }
    }
}

fn check(path: &Path, said: &Said) {
    let (cache, opened) = open(path);
    assert!(!matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    cache.wait_restored();
    let key = partition("a");
    let names: HashMap<ExactKey, u64> = said.storing.iter().map(|number| (exact(*number), *number)).collect();
    let entries = cache.answers.entries();
    for entry in &entries {
        let number = names.get(&entry.exact).expect("what is served was stored");
        assert_eq!(entry.payload(), &answer(*number), "{number} with the same bytes");
        assert!(!said.forgot.contains(number), "{number} was forgotten, and that was acknowledged");
    }
    for number in said.flushed.difference(&said.forgetting) {
        let hit = cache.exact(&exact(*number), &any_entry);
        assert!(hit.is_some(), "{number} was stored, and that was acknowledged");
    }
    for number in said.storing.iter().take(200) {
        let near = cache.semantic(&key, &direction(*number), 0.9999, &any_entry);
        assert!(near.is_none_or(|hit| hit.entry.payload() == &answer(*number)), "its own answer");
    }
    assert_kept(&cache);
}

#[test]
fn after_a_kill_what_is_served_was_stored_before_with_the_same_bytes() {
    if let (Some(path), Ok(first)) = (std::env::var_os(PATH), std::env::var(FIRST)) {
        return child(Path::new(&path), first.parse().unwrap());
    }
    let home = Home::new();
    let mut said = Said::default();
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..ROUNDS {
        let (mut process, heard) = start(&home.path, round * SPAN);
        // Some die while they open the journal, most at work; the moment is anywhere in a transaction.
        let mut life = Duration::from_micros(random.u64(..150_000));
        if round % 4 != 0 {
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
        said.fresh.clear();
        check(&home.path, &said);
    }
    let (flushed, forgot) = (said.flushed.len(), said.forgot.len());
    assert!(said.opened >= ROUNDS / 2 && flushed > 200 && forgot > 20, "{} {flushed} {forgot}", said.opened);
}
