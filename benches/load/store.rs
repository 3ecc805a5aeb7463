//! What a lookup costs with the cache in Qdrant, beside one in this process.
//!
//! `cargo run --release -p sluice-benches --bin store`
//!
//! Against the stand-in of the tests, over a real socket: what is measured is the protocol, two hops and Sluice's own part, since
//! the stand-in searches by comparing everything. With `SLUICE_TEST_QDRANT_URL` a real server is measured instead, in a
//! collection of its own that is removed again. Rounds go through all ways in turn, so that a machine whose speed drifts does so
//! for all alike. Prints medians over the rounds and their ratios.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what it is for")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_engine::features::Profile;
use sluice_engine::{
    CacheConfig, Decision, Insert, KeyHasher, PartitionKey, Policy, Quantisation, Question, SemanticCache,
    SharedConfig, Space, SystemClock, Tightening,
};
use sluice_qdrant_stand_in::StandIn;

type AnyError = Box<dyn std::error::Error>;

const DIMENSIONS: usize = 384;
const ENTRIES: usize = 1000;
const ROUNDS: usize = 15;
const LOOKUPS: usize = 100;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(AnyError::from).and_then(|runtime| runtime.block_on(run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A vector of this number, near no other.
fn vector(number: usize) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    (0..DIMENSIONS).map(|_| rng.f32() - 0.5).collect()
}

fn text(number: usize) -> String {
    format!("How do I change setting number {number} of my account?")
}

fn fill(cache: &SemanticCache, of: PartitionKey) {
    for number in 0..ENTRIES {
        let insert = Insert {
            partition: of,
            exact: of.exact(&[text(number).as_bytes()]),
            normalised: None,
            vector: Some(vector(number)),
            payload: Bytes::from("An answer of some length. ".repeat(40)),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        };
        cache.remember(insert, Profile::of(&text(number)), None, &mut |_| None);
    }
}

/// Microseconds per lookup of a near prompt.
async fn near(cache: &SemanticCache, of: PartitionKey) -> Result<f64, AnyError> {
    let mut spent = Duration::ZERO;
    for number in 0..LOOKUPS {
        let (vector, profile) = (vector(number * 7 % ENTRIES), Profile::of("How can I change it?"));
        let question = Question {
            partition: &of,
            vector: &vector,
            profile: &profile,
            tightening: Tightening::default(),
            policy: Some(Policy::Fixed { similarity: 0.9 }),
            shadow: None,
        };
        let begun = Instant::now();
        let surroundings = cache.survey(&question).await?;
        let found = matches!(cache.look_up_in(&question, surroundings, &|_| true), Decision::Serve { .. });
        spent += begun.elapsed();
        if !found {
            return Err("a prompt that is there was not found".into());
        }
    }
    Ok(spent.as_secs_f64() * 1e6 / LOOKUPS as f64)
}

/// Microseconds per lookup of a key whose entry this process has no copy of.
async fn exact(cache: &SemanticCache, of: PartitionKey, round: usize) -> Result<f64, AnyError> {
    let mut spent = Duration::ZERO;
    for number in 0..LOOKUPS {
        // Unheard of, so that each lookup goes all the way.
        let key = of.exact(&[format!("{round} {number}").as_bytes()]);
        let begun = Instant::now();
        cache.fetch(&of, &[key]).await?;
        let found = cache.exact(&key, &|_| true).is_some();
        spent += begun.elapsed();
        if found {
            return Err("a key that is not there was found".into());
        }
    }
    Ok(spent.as_secs_f64() * 1e6 / LOOKUPS as f64)
}

async fn run() -> Result<(), AnyError> {
    let stand_in = StandIn::start();
    let real = std::env::var("SLUICE_TEST_QDRANT_URL").ok();
    let collection = format!("sluice-bench-{}", std::process::id());
    let config = SharedConfig {
        url: real.clone().unwrap_or_else(|| stand_in.url()),
        api_key: None,
        collection: collection.clone(),
        timeout: Duration::from_secs(10),
        write_batch: 64,
        quantisation: Quantisation::None,
    };
    let space = Space { model: "bench/f32".to_owned(), dimension: DIMENSIONS, key_id: "bench".to_owned() };
    let shared = SemanticCache::sharing(CacheConfig::default(), config, space, Arc::new(SystemClock))?;
    let local = SemanticCache::new(CacheConfig::default());
    let mut hasher = KeyHasher::new(&[1; 32]);
    hasher.field("bench", b"store");
    let of = hasher.partition();
    fill(&local, of);
    let begun = Instant::now();
    fill(&shared, of);
    if !shared.flush_shared(Duration::from_secs(120)) {
        return Err("the entries did not arrive".into());
    }
    let written = begun.elapsed();
    let (mut local_near, mut shared_near, mut shared_exact) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        local_near.push(near(&local, of).await?);
        shared_near.push(near(&shared, of).await?);
        shared_exact.push(exact(&shared, of, round).await?);
    }
    let kind = if real.is_some() { "Qdrant" } else { "the stand-in" };
    println!(
        "{ENTRIES} entries of {DIMENSIONS} numbers, {ROUNDS} rounds of {LOOKUPS} lookups, one after another, against {kind}"
    );
    println!("{:<44}{:>10}{:>10}", "", "µs", "ratio");
    let base = median(local_near);
    for (name, value) in [
        ("by meaning, in this process", base),
        ("by meaning, shared (two hops)", median(shared_near)),
        ("by key that is not there, shared (one hop)", median(shared_exact)),
    ] {
        println!("{name:<44}{value:>10.0}{:>10.1}", value / base);
    }
    println!("written: {:.0} entries/s, one writer", ENTRIES as f64 / written.as_secs_f64());
    // A stand-in ends with this process; a real server's collection would stay.
    if let Some(url) = real {
        let client = qdrant_client::Qdrant::from_url(&url).skip_compatibility_check().build()?;
        client.delete_collection(collection).await?;
    }
    Ok(())
}
