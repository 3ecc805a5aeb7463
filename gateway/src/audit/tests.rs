//! What the audit log promises: over restarts, failures of the disk and changes by others.

use super::*;
use crate::telemetry::metrics::Metrics;
use std::fs;
use std::path::PathBuf;
use verify::{Verified, verify};

struct Place {
    folder: tempfile::TempDir,
    section: AuditSection,
    metrics: Metrics,
}

impl Place {
    fn new(on_error: OnError, max_bytes: u64) -> Self {
        let max_bytes = crate::config::ByteSize(max_bytes);
        let section = AuditSection { on_error, max_bytes, ..AuditSection::default() };
        Self { folder: tempfile::tempdir().unwrap(), section, metrics: Metrics::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("logs").join("audit.jsonl")
    }

    fn start(&self) -> Arc<Audit> {
        fs::create_dir_all(folder_of(&self.path())).unwrap();
        self.try_start().unwrap()
    }

    fn try_start(&self) -> Result<Arc<Audit>, String> {
        Audit::start(&self.path(), &self.section, self.metrics.audit_events())
    }

    /// The files, full ones first.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(folder_of(&self.path())).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|file| file.extension().unwrap() != "lock").collect();
        files.sort_by_key(|file| (file.extension().unwrap() == "jsonl", file.clone()));
        files
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn counted(&self, outcome: &str) -> u64 {
        let begin = format!("sluice_audit_events_total{{outcome=\"{outcome}\"}} ");
        let scrape = self.metrics.scrape(0, 0, 0);
        scrape.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok()).unwrap()
    }
}

fn event(entity: &str) -> Vec<Event> {
    vec![Event::unsent(&Subject::of_judge("tenant", "model", "policy"), entity)]
}

/// A file of these events.
fn written(entities: &[&str]) -> Place {
    let place = Place::new(OnError::Open, 1 << 20);
    let audit = place.start();
    entities.iter().for_each(|entity| audit.record(event(entity)).unwrap());
    drop(audit);
    place
}

fn check(place: &Place) -> Result<Verified, String> {
    verify(&place.files(), None)
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let place = written(&["A", "B"]);
    let first = check(&place).unwrap();
    assert_eq!((first.lines, first.last, first.first_file, first.gaps), (3, 3, 1, 0));
    let audit = place.start();
    audit.record(event("C")).unwrap();
    audit.flush();
    assert_eq!(place.counted("written"), 3);
    drop(audit);
    let second = check(&place).unwrap();
    assert_eq!((second.lines, second.chain.as_str()), (4, first.chain.as_str()));
    let known = verify(&place.files(), Some(&first.head)).unwrap();
    assert_eq!(known.behind_known, Some(1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn half_a_line_is_cut_off_and_the_log_says_so() {
    for torn in ["{\"seq\":4,\"prev\":\"12", "x", "{}"] {
        let place = written(&["A", "B"]);
        let whole = fs::read_to_string(place.path()).unwrap();
        fs::write(place.path(), format!("{whole}{torn}")).unwrap();
        let told = check(&place).unwrap_err();
        assert!(told.contains("line 4: it has no end"), "{told}");
        drop(place.start());
        assert_eq!(check(&place).unwrap().lines, 4);
        let last: serde_json::Value = serde_json::from_str(&place.lines()[3]).unwrap();
        assert_eq!((&last["kind"], &last["count"]), (&"torn".into(), &torn.len().into()));
    }
}

#[test]
fn a_file_that_was_only_begun_is_begun_again() {
    let place = Place::new(OnError::Open, 1 << 20);
    fs::create_dir_all(folder_of(&place.path())).unwrap();
    for begun in ["", "{\"seq\":1,\"prev\""] {
        fs::write(place.path(), begun).unwrap();
        drop(place.start());
        assert_eq!(check(&place).unwrap().lines, 1);
        fs::remove_file(place.path()).unwrap();
    }
}

#[test]
fn whatever_is_changed_is_found_with_its_line() {
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, Change, &str); 7] = [
        (
            "a changed line",
            |lines| lines[2] = lines[2].replace("\"B\"", "\"X\""),
            "line 4: it does not hold the hash",
        ),
        ("a removed line", |lines| drop(lines.remove(2)), "line 3: its number is 4 where 3 was expected"),
        ("two removed lines", |lines| drop(lines.drain(1..3)), "line 2: its number is 4 where 2"),
        ("two lines in another order", |lines| lines.swap(2, 3), "line 3: its number is 4 where 3"),
        ("a line put in twice", |lines| lines.insert(2, lines[1].clone()), "line 3: its number is 2 where 3"),
        ("a foreign line", |lines| lines.insert(2, "{}".to_owned()), "line 3: it is no line"),
        ("no first line", |lines| drop(lines.remove(0)), "line 1: expected the first line"),
    ];
    for (what, change, expected) in changes {
        let place = written(&["A", "B", "C", "D"]);
        let mut lines = place.lines();
        change(&mut lines);
        fs::write(place.path(), lines.join("\n") + "\n").unwrap();
        let told = check(&place).unwrap_err();
        assert!(told.contains(expected) && told.contains("audit.jsonl"), "{what}: {told}");
    }
    let place = written(&["A", "B"]);
    let mut lines = place.lines();
    // Whoever numbers anew has still the wrong hashes.
    lines.remove(1);
    lines[1] = lines[1].replace("\"seq\":3", "\"seq\":2");
    fs::write(place.path(), lines.join("\n") + "\n").unwrap();
    assert!(check(&place).unwrap_err().contains("line 2: it does not hold the hash"));
}

#[test]
fn a_cut_tail_shows_against_a_hash_that_was_noted() {
    let place = written(&["A", "B", "C"]);
    let head = check(&place).unwrap().head;
    let lines = place.lines();
    fs::write(place.path(), lines[..3].join("\n") + "\n").unwrap();
    assert_eq!(check(&place).unwrap().lines, 3, "by itself it can't be seen");
    let told = verify(&place.files(), Some(&head)).unwrap_err();
    assert!(told.contains("cut off"), "{told}");
    fs::write(place.path(), lines.join("\n").replace("\"C\"", "\"X\"") + "\n").unwrap();
    assert!(check(&place).is_ok() && verify(&place.files(), Some(&head)).is_err(), "nor a changed last line");
}

#[test]
fn a_full_file_is_followed_by_another_one_of_the_same_chain() {
    let place = Place::new(OnError::Open, 1);
    for entity in ["A", "B", "C"] {
        let audit = place.start();
        audit.record(event(entity)).unwrap();
    }
    let files = place.files();
    assert_eq!(files.len(), 4, "{files:?}");
    let whole = check(&place).unwrap();
    assert_eq!((whole.lines, whole.last, whole.first_file), (7, 7, 1));
    let shuffled: Vec<PathBuf> = files.iter().rev().cloned().collect();
    assert_eq!(verify(&shuffled, None).unwrap(), whole);
    assert_eq!(verify(&files[1..], None).unwrap().first_file, 2);
    let without_third = [files[0].clone(), files[1].clone(), files[3].clone()];
    assert!(verify(&without_third, None).unwrap_err().contains("file 4 of its chain where 3 was expected"));
    // Ended between two files: the chain goes on from the last full one.
    fs::rename(&files[3], files[3].with_file_name("audit.jsonl.000004")).unwrap();
    drop(place.start());
    assert_eq!(check(&place).unwrap().lines, 8);
    let other = written(&["A"]);
    let mixed = [files[0].clone(), other.path()];
    assert!(verify(&mixed, None).unwrap_err().contains("another chain"));
}

#[test]
fn one_process_at_a_time_and_only_on_an_audit_log() {
    let place = written(&["A"]);
    let first = place.start();
    assert!(place.try_start().err().unwrap().contains("in use by another process"));
    drop(first);
    assert!(place.try_start().is_ok());
    for (content, expected) in
        [("my diary\n", "no audit log"), (&(place.lines()[0].clone() + "\nx\n"), "its last line is none")]
    {
        fs::write(place.path(), content).unwrap();
        let told = place.try_start().err().unwrap();
        assert!(told.contains(expected) && !told.contains("diary"), "{told}");
        assert_eq!(fs::read_to_string(place.path()).unwrap(), content, "it is left as it is");
    }
}

#[test]
fn while_the_disk_fails_a_closed_log_refuses_and_loses_nothing() {
    let place = Place::new(OnError::Closed, 1);
    let audit = place.start();
    fs::remove_dir_all(folder_of(&place.path())).unwrap();
    audit.record(event("A")).unwrap();
    audit.flush();
    assert!(matches!(audit.ready(), Err(ApiError::AuditUnavailable)));
    fs::create_dir_all(folder_of(&place.path())).unwrap();
    audit.flush();
    assert!(audit.ready().is_ok());
    assert!(place.lines()[1].contains("\"entity\":\"A\""), "{:?}", place.lines());
    assert_eq!((place.counted("written"), place.counted("failed")), (1, 0));
}

#[test]
fn while_the_disk_fails_an_open_log_goes_on_and_says_what_is_missing() {
    let place = Place::new(OnError::Open, 1);
    let audit = place.start();
    fs::remove_dir_all(folder_of(&place.path())).unwrap();
    audit.record(event("A")).unwrap();
    audit.flush();
    assert!(audit.ready().is_ok());
    assert_eq!(place.counted("failed"), 1);
    fs::create_dir_all(folder_of(&place.path())).unwrap();
    audit.record(event("B")).unwrap();
    audit.flush();
    let verified = check(&place).unwrap();
    assert_eq!((verified.gaps, verified.first_file, verified.lines), (1, 2, 3));
}

#[test]
fn a_full_queue_drops_and_counts_or_refuses() {
    let metrics = Metrics::default();
    for on_error in [OnError::Open, OnError::Closed] {
        // Nobody reads.
        let (queue, unread) = channel();
        let audit = Audit {
            queue: Mutex::new(Some(queue)),
            shared: Arc::default(),
            on_error,
            most: 2,
            counts: metrics.audit_events(),
            thread: None,
        };
        let three = || ["A", "B", "C"].into_iter().flat_map(event).collect::<Vec<_>>();
        assert!(audit.record(three()).is_ok(), "a request alone is let in");
        assert_eq!(audit.record(event("D")).is_ok(), on_error == OnError::Open);
        assert_eq!(unread.try_iter().count(), 1);
        let dropped = u64::from(on_error == OnError::Open);
        assert_eq!(audit.shared.dropped.load(Ordering::Relaxed), dropped);
    }
    assert_eq!(metrics.audit_events().dropped.get(), 1);
}
