//! What a journal promises while nobody kills it; `tests/killed.rs` and `tests/damage.rs` have the rest.

mod damage;
mod killed;
mod measure;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// What a journal should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) records: [BTreeMap<u64, Vec<u8>>; 2],
    pub(super) state: BTreeMap<String, Vec<u8>>,
}

/// All that is on disk.
pub(super) fn held(journal: &Journal) -> Result<Held, JournalError> {
    let mut held = Held::default();
    for table in [Table::Answers, Table::Prompts] {
        let records = &mut held.records[table.index()];
        journal.read_all(table, &mut |key, value| drop(records.insert(key, value.to_vec())))?;
    }
    journal.read_state(&mut |name, value| drop(held.state.insert(name.to_owned(), value.to_vec())))?;
    Ok(held)
}

/// Content that tells its key and version, of a size that varies.
pub(super) fn content(key: u64, version: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(key.wrapping_mul(31) ^ version);
    let size = random.usize(0..3000);
    Bytes::from_iter(std::iter::repeat_with(|| random.u8(..)).take(size))
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    (folder, path)
}

fn open(path: &Path) -> (Journal, Opened) {
    Journal::open(path, Options::new("model-a")).unwrap()
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let (_folder, path) = folder();
    let (journal, opened) = open(&path);
    assert_eq!(opened, Opened::Created);
    journal.put(Table::Answers, 7, content(7, 0));
    journal.put(Table::Prompts, 7, content(7, 1));
    journal.put(Table::Answers, 8, content(8, 0));
    journal.put_state("model", content(1, 1));
    journal.put_state("gone", content(1, 2));
    journal.remove(Table::Answers, 8);
    journal.remove_state("gone");
    drop(journal);
    let (journal, opened) = open(&path);
    assert_eq!(opened, Opened::Existing { answers: 1, prompts: 1 });
    let expected = Held {
        records: [
            BTreeMap::from([(7, content(7, 0).to_vec())]),
            BTreeMap::from([(7, content(7, 1).to_vec())]),
        ],
        state: BTreeMap::from([("model".to_owned(), content(1, 1).to_vec())]),
    };
    assert_eq!(held(&journal).unwrap(), expected);
}

#[test]
fn many_changes_become_few_transactions() {
    let (_folder, path) = folder();
    let options =
        Options { interval: Duration::from_secs(3600), batch_records: 100, ..Options::new("model-a") };
    let (journal, _) = Journal::open(&path, options).unwrap();
    for key in 0..1000 {
        journal.put(Table::Answers, key, Bytes::from_static(b"content"));
    }
    journal.flush().unwrap();
    let stats = journal.stats();
    assert!((1..=11).contains(&stats.commits), "{stats:?}");
    assert_eq!((stats.written, stats.written_bytes, stats.queued, stats.queued_bytes), (1000, 7000, 0, 0));
}

#[test]
fn changes_are_written_without_being_asked_for() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    journal.put(Table::Answers, 1, content(1, 0));
    while journal.stats().commits == 0 {
        std::thread::yield_now();
    }
    assert_eq!(held(&journal).unwrap().records[0].len(), 1);
}

#[test]
fn a_second_journal_on_the_same_file_is_refused_by_name() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let error = Journal::open(&path, Options::new("model-a")).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }));
    assert_eq!(error.to_string(), format!("{} is in use: is another sluice using it?", path.display()));
    journal.put(Table::Answers, 1, content(1, 0));
    journal.flush().unwrap();
    drop(journal);
    assert_eq!(open(&path).1, Opened::Existing { answers: 1, prompts: 0 });
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = folder();
    let (journal, _) = open(&path);
    journal.put(Table::Answers, 1, content(1, 0));
    drop(journal);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 2, "the journal and its lock");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_file_of_another_model_is_set_aside_with_its_own_reason() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    journal.put(Table::Answers, 1, content(1, 0));
    drop(journal);
    let (journal, opened) = Journal::open(&path, Options::new("model-b")).unwrap();
    let Opened::SetAside { moved_to, why } = opened else { panic!("{opened:?}") };
    assert_eq!(why, "it was written under another fingerprint");
    assert!(moved_to.to_str().unwrap().contains("journal.redb.other-"), "{moved_to:?}");
    assert_eq!(held(&journal).unwrap(), Held::default());
    // It is whole, and can be used again under its old name.
    drop(journal);
    fs::rename(&moved_to, &path).unwrap();
    assert_eq!(open(&path).1, Opened::Existing { answers: 1, prompts: 0 });
}

#[test]
fn a_full_disk_loses_nothing_while_there_is_memory() {
    let (_folder, path) = folder();
    let options = Options { interval: Duration::from_millis(1), ..Options::new("model-a") };
    let full = Arc::clone(&options.full);
    let (journal, _) = Journal::open(&path, options).unwrap();
    journal.put(Table::Answers, 1, content(1, 0));
    journal.put(Table::Answers, 2, content(2, 0));
    journal.flush().unwrap();
    full.store(true, Ordering::Release);
    journal.put(Table::Answers, 3, content(3, 0));
    journal.remove(Table::Answers, 1);
    assert!(matches!(journal.flush(), Err(JournalError::Io { .. })));
    journal.put(Table::Answers, 3, content(3, 1));
    assert!(journal.flush().is_err(), "as long as the disk is full");
    let stats = journal.stats();
    assert!(stats.failures >= 2 && stats.queued == 2, "{stats:?}");
    full.store(false, Ordering::Release);
    journal.flush().unwrap();
    let expected = BTreeMap::from([(2, content(2, 0).to_vec()), (3, content(3, 1).to_vec())]);
    assert_eq!(held(&journal).unwrap().records[0], expected);
    drop(journal);
    assert_eq!(held(&open(&path).0).unwrap().records[0], expected);
}

#[test]
fn when_memory_is_short_puts_are_dropped_with_what_they_replace_and_removals_are_kept() {
    let (_folder, path) = folder();
    let options =
        Options { queue_bytes: 10_000, interval: Duration::from_secs(3600), ..Options::new("model-a") };
    let (journal, _) = Journal::open(&path, options).unwrap();
    for key in 0..10 {
        journal.put(Table::Answers, key, Bytes::from_static(b"first"));
    }
    journal.flush().unwrap();
    journal.put(Table::Answers, 0, Bytes::from(vec![0; 20_000]));
    journal.put(Table::Answers, 100, Bytes::from(vec![0; 20_000]));
    journal.put(Table::Answers, 101, Bytes::from(vec![1; 9_000]));
    journal.remove(Table::Answers, 1);
    for key in 2..8 {
        journal.put(Table::Answers, key, Bytes::from(vec![2; 5_000]));
        journal.remove(Table::Answers, key);
    }
    journal.flush().unwrap();
    assert_eq!(journal.stats().dropped, 8);
    let keys: Vec<u64> = held(&journal).unwrap().records[0].keys().copied().collect();
    assert_eq!(keys, [8, 9, 101], "no outdated version stays");
}

#[test]
fn too_many_removals_become_one_of_everything() {
    let (_folder, path) = folder();
    let options =
        Options { queue_removals: 10, interval: Duration::from_secs(3600), ..Options::new("model-a") };
    let (journal, _) = Journal::open(&path, options).unwrap();
    for key in 0..40 {
        journal.put(Table::Answers, key, content(key, 0));
    }
    journal.put_state("model", content(1, 1));
    journal.flush().unwrap();
    journal.put(Table::Answers, 50, content(50, 0));
    for key in 0..11 {
        journal.remove(Table::Answers, key);
    }
    journal.flush().unwrap();
    assert_eq!(journal.stats().cleared, 1);
    let held = held(&journal).unwrap();
    assert_eq!(held.records[0], BTreeMap::from([(50, content(50, 0).to_vec())]));
    assert_eq!(held.state.len(), 1);
}

#[test]
fn a_file_that_is_mostly_air_is_rewritten_when_it_is_opened() {
    let (_folder, path) = folder();
    let options = || Options { compact_from: 1 << 20, ..Options::new("model-a") };
    let (journal, _) = Journal::open(&path, options()).unwrap();
    for key in 0..3000 {
        journal.put(Table::Answers, key, Bytes::from(vec![1; 4000]));
    }
    journal.put_state("model", content(1, 1));
    journal.flush().unwrap();
    for key in (0..3000).filter(|key| key % 20 != 0) {
        journal.remove(Table::Answers, key);
    }
    journal.flush().unwrap();
    let before = held(&journal).unwrap();
    assert_eq!(before.records[0].len(), 150);
    drop(journal);
    let size = || fs::metadata(&path).unwrap().len();
    let large = size();

    let (journal, _) = Journal::open(&path, Options { compact_within: Duration::ZERO, ..options() }).unwrap();
    assert_eq!(held(&journal).unwrap(), before, "without time for it nothing changes");
    drop(journal);
    assert!(size() > large / 2);

    let (journal, opened) = Journal::open(&path, options()).unwrap();
    assert!(size() < large / 3, "{large} bytes became {}", size());
    assert_eq!((held(&journal).unwrap(), opened), (before, Opened::Existing { answers: 150, prompts: 0 }));
}

/// One step of the property below.
#[derive(Clone, Debug)]
enum Step {
    Put(Table, u64, u64),
    Remove(Table, u64),
    State(u8, u64),
    RemoveState(u8),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let table = prop_oneof![Just(Table::Answers), Just(Table::Prompts)];
    prop_oneof![
        8 => (table.clone(), 0..12_u64, any::<u64>()).prop_map(|(table, key, version)| Step::Put(table, key, version)),
        4 => (table, 0..12_u64).prop_map(|(table, key)| Step::Remove(table, key)),
        2 => (0..3_u8, any::<u64>()).prop_map(|(name, version)| Step::State(name, version)),
        1 => (0..3_u8).prop_map(Step::RemoveState),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_as_in_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        let (_folder, path) = folder();
        let (mut journal, _) = open(&path);
        let mut model = Held::default();
        for step in steps {
            match step {
                Step::Put(table, key, version) => {
                    journal.put(table, key, content(key, version));
                    model.records[table.index()].insert(key, content(key, version).to_vec());
                }
                Step::Remove(table, key) => {
                    journal.remove(table, key);
                    model.records[table.index()].remove(&key);
                }
                Step::State(name, version) => {
                    journal.put_state(&name.to_string(), content(0, version));
                    model.state.insert(name.to_string(), content(0, version).to_vec());
                }
                Step::RemoveState(name) => {
                    journal.remove_state(&name.to_string());
                    model.state.remove(&name.to_string());
                }
                Step::Flush => {
                    journal.flush().unwrap();
                    prop_assert_eq!(&held(&journal).unwrap(), &model);
                }
                Step::Reopen => {
                    drop(journal);
                    journal = open(&path).0;
                    prop_assert_eq!(&held(&journal).unwrap(), &model);
                }
            }
        }
        journal.flush().unwrap();
        prop_assert_eq!(&held(&journal).unwrap(), &model);
    }
}
