//! No tenant pushes out what the others have stored.

use sluice_tests::{Gate, question, script};

#[tokio::test]
async fn a_tenant_that_asks_without_end_takes_its_part_of_the_cache_and_no_more() {
    let gate = Gate::with(
        "keys: [{name: quiet, secret: 'env:TEST_Q'}, {name: loud, secret: 'env:TEST_L'}]\n\
         cache: {max_bytes: 200KiB, tenant_max_bytes: 50%, similarity: 1.0}",
    );
    gate.primary.script(script("reply: {answer: 'Yes.'}"));
    let (quiet, loud) = (gate.key("TEST_Q"), gate.key("TEST_L"));
    let ask = |n: u32| question(&format!("Is the answer to question {n} known to you?"));
    for n in 0..5 {
        quiet.chat(&ask(n)).await;
    }
    for n in 0..120 {
        loud.chat(&ask(n)).await;
    }
    let metrics = gate.metrics().await;
    let figure = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let (entries, bytes) = (figure("sluice_cache_entries "), figure("sluice_cache_bytes "));
    assert!((10..120).contains(&entries) && bytes <= 200 << 10, "{entries} entries, {bytes} bytes");
    for n in 0..5 {
        assert_eq!(quiet.chat(&ask(n)).await.cache(), "hit exact", "{n}");
    }
}
