//! Figures of a start, by
//! `cargo test --release -p sluice-engine cache::durable::measure -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

const ENTRIES: usize = 100_000;
const DIMENSION: usize = 384;

/// What this thread had of a processor so far, where the system tells: on a busy machine the clock says little.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

#[test]
#[ignore = "takes long, and prints figures"]
fn a_start_with_a_hundred_thousand_entries_serves_exact_hits_at_once_and_semantic_ones_soon() {
    let mut home = Home::new();
    home.config = CacheConfig { max_bytes: 2 << 30, ..CacheConfig::default() };
    let mut rng = fastrand::Rng::with_seed(1);
    let partitions: Vec<PartitionKey> = (0..4).map(|n| partition(&n.to_string())).collect();
    let mut vector = || (0..DIMENSION).map(|_| rng.f32() - 0.5).collect::<Vec<f32>>();
    let texts: Vec<String> =
        (0..ENTRIES).map(|i| format!("How long does transfer {i} to my account in Berlin take?")).collect();
    let vectors: Vec<Vec<f32>> = (0..ENTRIES).map(|_| vector()).collect();
    let new = |i: usize| {
        let key = partitions[i % partitions.len()];
        let exact = key.exact(&[texts[i].as_bytes()]);
        let payload = Bytes::from(format!("{i} {}", "an answer of usual length ".repeat(38)));
        let vector = Some(vectors[i].clone());
        Insert {
            partition: key,
            exact,
            normalised: Some(exact),
            vector,
            payload,
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        }
    };
    let (cache, begun) = (home.open(), Instant::now());
    let mut calls = Vec::with_capacity(ENTRIES);
    for (i, text) in texts.iter().enumerate() {
        let (insert, profile) = (new(i), Profile::of(text));
        let call = Instant::now();
        cache.remember(insert, profile, None, &mut |_| None);
        calls.push(call.elapsed().as_nanos());
        if i % 4000 == 3999 {
            cache.flush().unwrap();
        }
    }
    cache.flush().unwrap();
    let stats = cache.journal_stats().unwrap();
    println!(
        "stored and on disk: {:.1} s, {} MB",
        begun.elapsed().as_secs_f64(),
        stats.written_bytes / 1_000_000
    );
    calls.sort_unstable();
    println!("remember: {} ns at the median, {} ns p99", calls[ENTRIES / 2], calls[ENTRIES * 99 / 100]);
    assert_eq!(stats.dropped, 0);
    drop(cache);
    println!("file: {} MB", std::fs::metadata(&home.path).unwrap().len() / 1_000_000);
    for _ in 0..3 {
        let (begun, worked_before) = (Instant::now(), worked());
        let (journal, _) = Journal::open(&home.path, Options::new("vectors")).unwrap();
        let (opened, opening) = (begun.elapsed(), worked() - worked_before);
        let cache = home.without().with_journal(journal);
        let (answers, answering) = (begun.elapsed(), worked() - worked_before);
        let found = |i: usize| cache.exact(&new(i).exact, &any_entry).is_some();
        assert!((0..ENTRIES).step_by(97).all(found));
        cache.wait_restored();
        let all = begun.elapsed();
        assert_eq!(cache.stats().vectors, ENTRIES as u64);
        for i in (0..ENTRIES).step_by(997) {
            let key = partitions[i % partitions.len()];
            assert!(cache.semantic(&key, &vectors[i], 0.99, &any_entry).is_some());
        }
        println!(
            "of a processor: {opening:.2?} until the journal was checked, {answering:.2?} until exact hits"
        );
        println!(
            "journal checked after {opened:.2?}, exact hits after {answers:.2?}, semantic ones after {all:.2?}"
        );
    }
}
