//! Figures, by `cargo test -p sluice-engine journal::tests::measure -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

const ENTRIES: u64 = 100_000;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    println!("{what}: {:.3} s", begun.elapsed().as_secs_f64());
    result
}

#[test]
#[ignore = "takes long, and prints figures"]
fn a_hundred_thousand_entries_are_written_and_read_again() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let mut random = fastrand::Rng::with_seed(1);
    let mut bytes = |size| Bytes::from_iter(std::iter::repeat_with(|| random.u8(..)).take(size));
    let records: Vec<_> = (0..ENTRIES).map(|_| (bytes(1024), bytes(1536))).collect();
    let mut calls = hdr();
    let begun = Instant::now();
    for (key, (answer, prompt)) in (0..).zip(&records) {
        let (answer, prompt) = (answer.clone(), prompt.clone());
        let call = Instant::now();
        journal.put(Table::Answers, key, answer);
        calls.push(call.elapsed().as_nanos());
        journal.put(Table::Prompts, key, prompt);
        if key % 4000 == 3999 {
            journal.flush().unwrap();
        }
    }
    journal.flush().unwrap();
    let (seconds, stats) = (begun.elapsed().as_secs_f64(), journal.stats());
    let megabytes = stats.written_bytes as f64 / 1e6;
    println!("written: {megabytes:.0} MB in {} commits, {:.0} MB/s", stats.commits, megabytes / seconds);
    calls.sort_unstable();
    let at = |share: f64| calls[(calls.len() as f64 * share) as usize];
    println!("put: {} ns at the median, {} ns p99, {} ns p99.9", at(0.5), at(0.99), at(0.999));
    timed("closed", || drop(journal));
    println!("file: {} MB", fs::metadata(&path).unwrap().len() / 1_000_000);
    for _ in 0..2 {
        let (journal, opened) = timed("opened", || open(&path));
        assert_eq!(opened, Opened::Existing { answers: ENTRIES, prompts: ENTRIES });
        for table in [Table::Answers, Table::Prompts] {
            let mut sum = 0;
            let read = || journal.read_all(table, &mut |_, value| sum += value.len());
            timed(&format!("read {table:?}"), read).unwrap();
            assert_eq!(sum as u64, ENTRIES * [1024, 1536][table.index()]);
        }
    }
}

fn hdr() -> Vec<u128> {
    Vec::with_capacity(ENTRIES as usize)
}
