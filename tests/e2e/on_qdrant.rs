//! The end-to-end tests of the cache once more, with the cache in a Qdrant collection. By the name of its thread a test tells
//! the harness that it is one of these; see `gate::on_qdrant`.
//!
//! Not among them: `cache_durable` and `cache_shares`, which are about `cache.journal` and `cache.tenant_max_bytes`. Both are
//! refused with `store: qdrant`.

#![expect(clippy::duplicate_mod, reason = "that is the point")]

use sluice_tests::gate::{Gate, on_qdrant};

#[path = "cache_flights.rs"]
mod cache_flights;
#[path = "cache_hits.rs"]
mod cache_hits;
#[path = "cache_import.rs"]
mod cache_import;
#[path = "cache_invalidation.rs"]
mod cache_invalidation;
#[path = "cache_judge.rs"]
mod cache_judge;
#[path = "cache_learning.rs"]
mod cache_learning;
#[path = "cache_look_alikes.rs"]
mod cache_look_alikes;
#[path = "cache_partitions.rs"]
mod cache_partitions;
#[path = "cache_pitfalls.rs"]
mod cache_pitfalls;
#[path = "cache_repeats.rs"]
mod cache_repeats;
#[path = "cache_routes.rs"]
mod cache_routes;
#[path = "cache_stale.rs"]
mod cache_stale;
#[path = "cache_storing.rs"]
mod cache_storing;
#[path = "cache_tiers.rs"]
mod cache_tiers;
#[path = "cache_wishes.rs"]
mod cache_wishes;
#[path = "shadow_log.rs"]
mod shadow_log;

#[tokio::test]
async fn these_tests_have_their_cache_in_qdrant() {
    assert!(on_qdrant(), "tests have to run in threads that have their names (not with --test-threads=1)");
    let gate = Gate::with("");
    gate.ask("Where is the cache?").await;
    gate.until("sluice_store_waiting_writes 0").await;
    assert!(gate.store().count("sluice", "kind", "entry") > 0);
}
