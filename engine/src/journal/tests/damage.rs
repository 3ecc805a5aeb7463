//! A damaged file is set aside: never a panic, never a wrong record, never a start that fails for good.

use std::fs;

use super::*;

/// A journal of some size that lived a little, and every version of every record that was ever put into it.
fn lived(path: &Path) -> Vec<Held> {
    let mut ever = Vec::new();
    for life in 0..3_u64 {
        let (journal, _) = open(path);
        for round in 0..4_u64 {
            let mut put = Held::default();
            for key in 0..40 {
                let (key, version) = (life * 20 + key, life * 10 + round);
                for table in [Table::Answers, Table::Prompts] {
                    journal.put(table, key, content(key, version));
                    put.records[table.index()].insert(key, content(key, version).to_vec());
                }
                if key % 5 == round {
                    journal.remove(Table::Answers, key);
                }
            }
            journal.put_state("model", content(round, life));
            put.state.insert("model".to_owned(), content(round, life).to_vec());
            journal.flush().unwrap();
            ever.push(put);
        }
    }
    ever
}

/// Damages some bytes as a disk, a crash or a careless hand would.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    // The head decides over everything else, and is small; it gets more than its share.
    let whole = bytes.len();
    let begin = if random.u8(..4) == 0 { random.usize(..whole.min(1024)) } else { random.usize(..whole) };
    let longest = [1, 8, 600, 9000][random.usize(..4)];
    let end = (begin + 1 + random.usize(..longest)).min(whole);
    match random.u8(..6) {
        0 => bytes[begin] ^= 1 << random.u8(..8),
        1 => bytes[begin..end].fill(0),
        2 => bytes[begin..end].fill(0xFF),
        3 => bytes[begin..end].iter_mut().for_each(|byte| *byte = random.u8(..)),
        4 => {
            let from = random.usize(..=whole - (end - begin));
            bytes.copy_within(from..from + (end - begin), begin);
        }
        _ => bytes.truncate(begin),
    }
}

fn assert_was_put(found: &Held, ever: &[Held], case: u64) {
    for table in 0..2 {
        for (key, value) in &found.records[table] {
            let known = ever.iter().any(|put| put.records[table].get(key) == Some(value));
            assert!(known, "case {case}: a record that nobody put under {key}");
        }
    }
    for (name, value) in &found.state {
        assert!(ever.iter().any(|put| put.state.get(name) == Some(value)), "case {case}: state {name}");
    }
}

#[test]
fn a_damaged_file_never_panics_and_never_yields_what_was_not_put() {
    let (folder, path) = folder();
    let ever = lived(&path);
    let whole = held(&open(&path).0).unwrap();
    let good = fs::read(&path).unwrap();
    let (mut set_aside, mut unharmed) = (0, 0);
    for case in 0..300 {
        let mut random = fastrand::Rng::with_seed(case);
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..4) {
            damage(&mut bytes, &mut random);
            if bytes.is_empty() {
                break;
            }
        }
        fs::write(&path, &bytes).unwrap();
        let (journal, opened) =
            Journal::open(&path, Options { keep_aside: 1, ..Options::new("model-a") }).unwrap();
        match opened {
            Opened::SetAside { moved_to, .. } => {
                set_aside += 1;
                assert_eq!(held(&journal).unwrap(), Held::default(), "case {case}");
                assert!(moved_to.exists(), "case {case}");
            }
            Opened::Created => assert!(bytes.is_empty(), "case {case}"),
            Opened::Existing { .. } => match held(&journal) {
                Ok(found) => {
                    unharmed += u32::from(found == whole);
                    assert_was_put(&found, &ever, case);
                }
                Err(error) => assert!(matches!(error, JournalError::Damaged { .. }), "case {case}: {error}"),
            },
        }
        // Whatever it was, it is of use now. Each opening waits for the disk, so not every case is opened twice.
        if case % 4 != 0 {
            continue;
        }
        journal.put(Table::Answers, 1000, content(1000, 0));
        journal.flush().unwrap();
        drop(journal);
        let (journal, opened) = open(&path);
        assert!(matches!(opened, Opened::Existing { .. }), "case {case}: {opened:?}");
        assert_eq!(
            held(&journal).unwrap().records[0].get(&1000),
            Some(&content(1000, 0).to_vec()),
            "case {case}"
        );
    }
    let aside = fs::read_dir(folder.path()).unwrap().count() - 2;
    assert!(aside <= 1, "{aside} files are kept aside");
    // Most of a page may be free, so many damages hit nothing; both outcomes must have been seen often.
    assert!(set_aside > 100 && unharmed > 10, "{set_aside} set aside, {unharmed} unharmed");
}

#[cfg(unix)]
#[test]
fn a_file_damaged_while_it_is_open_is_replaced_when_it_is_read() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    for key in 0..20_000 {
        journal.put(Table::Answers, key, Bytes::from(vec![key as u8; 2000]));
    }
    journal.flush().unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0x5A; whole as usize - 8192], 8192).unwrap();
    let mut wrong = 0;
    let error = journal.read_all(Table::Answers, &mut |key, value| {
        wrong += u32::from(value != vec![key as u8; 2000].as_slice());
    });
    assert!(matches!(error, Err(JournalError::Damaged { moved_to: Some(_), .. })), "{error:?}");
    assert_eq!(wrong, 0);
    journal.put(Table::Answers, 30_000, content(1, 1));
    journal.flush().unwrap();
    assert_eq!(held(&journal).unwrap().records[0].keys().copied().collect::<Vec<_>>(), [30_000]);
    assert_eq!(journal.stats().set_aside, 1);
}

#[test]
fn a_file_that_ended_three_starts_is_not_opened_a_fourth_time() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    journal.put(Table::Answers, 1, content(1, 0));
    drop(journal);
    // What three processes leave that end while they open the file.
    fs::write(aside::beside(&path, ".lock"), "3").unwrap();
    let (journal, opened) = open(&path);
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    drop(journal);
    fs::write(aside::beside(&path, ".lock"), "2").unwrap();
    assert_eq!(open(&path).1, Opened::Existing { answers: 0, prompts: 0 });
    assert_eq!(fs::read(aside::beside(&path, ".lock")).unwrap(), b"0");
}

#[test]
fn what_is_no_database_at_all_is_set_aside() {
    let (_folder, path) = folder();
    for (turn, text) in ["{}", "redb\u{1A}\n", &"a log line\n".repeat(100_000)].into_iter().enumerate() {
        fs::write(&path, text).unwrap();
        let (_journal, opened) = open(&path);
        let Opened::SetAside { moved_to, .. } = opened else { panic!("{turn}: {opened:?}") };
        assert_eq!(fs::read_to_string(moved_to).unwrap(), text, "it is kept as it was");
    }
    assert_eq!(aside::set_aside_before(&path, "corrupt").unwrap().len(), 2);
}
