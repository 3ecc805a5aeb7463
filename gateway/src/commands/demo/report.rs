//! The table: what a manager wants to know.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use hdrhistogram::Histogram;

use super::client::Reply;
use super::run::{Proof, personal_values, provider_latency_ms};
use super::stream::Stream;
use crate::ledger::{Nanodollars, Prices};

/// Writes the table.
pub(super) fn table(stream: &Stream, seen: &[Reply], proof: &Proof, again: &[Reply]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    for [name, value, remark] in hits(stream, seen).into_iter().chain(money(seen, proof)) {
        table.add_row([name, value, remark]);
    }
    for [name, value, remark] in privacy(stream, seen, proof).into_iter().chain(service(seen, again)) {
        table.add_row([name, value, remark]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("\nSluice demo: {}\n{table}\n", stream.name)
}

type Row = [String; 3];

fn row(name: &str, value: String, remark: impl Into<String>) -> Row {
    [name.to_owned(), value, remark.into()]
}

fn is_hit(reply: &Reply) -> bool {
    reply.cache == "hit"
}

fn hits(stream: &Stream, seen: &[Reply]) -> Vec<Row> {
    let total = seen.len();
    let by = |tier: &str| seen.iter().filter(|r| is_hit(r) && r.tier == tier).count();
    let all = seen.iter().filter(|r| is_hit(r)).count();
    let wrong = seen
        .iter()
        .zip(&stream.questions)
        .filter(|(reply, question)| is_hit(reply) && !reply.text.starts_with(stream.answer(question)))
        .count();
    let failed = seen.iter().filter(|r| r.status != 200).count();
    let part = |count: usize| share(count as u64, total as u64);
    vec![
        row("Questions asked", grouped(total), format!("{failed} failed")),
        row("Answered from the cache", grouped(all), part(all)),
        row("  exact: word for word", grouped(by("exact")), part(by("exact"))),
        row("  normalised: but for case, spaces, marks", grouped(by("normalised")), part(by("normalised"))),
        row("  semantic: by meaning", grouped(by("semantic")), part(by("semantic"))),
        row("False hits", grouped(wrong), format!("{} of the hits", share(wrong as u64, all as u64))),
    ]
}

fn money(seen: &[Reply], proof: &Proof) -> Vec<Row> {
    let (mut spent, mut saved): (Nanodollars, Nanodollars) = (0, 0);
    if let Ok(prices) = Prices::shipped() {
        for reply in seen {
            let cost = prices.cost("mock", "mock", &reply.usage).unwrap_or(0);
            *(if is_hit(reply) { &mut saved } else { &mut spent }) += cost;
        }
    }
    let per_million = saved * 1_000_000 / (seen.len() as u64).max(1);
    let asked = seen.iter().filter(|r| !is_hit(r)).count();
    vec![
        row("Provider calls", grouped(asked), format!("{} attempts with retries", grouped(proof.calls))),
        row("Spent", dollars(spent), format!("{} without the cache", dollars(spent + saved))),
        row(
            "Saved",
            dollars(saved),
            format!("{}; {} per million questions", share(saved, spent + saved), dollars(per_million)),
        ),
    ]
}

fn privacy(stream: &Stream, seen: &[Reply], proof: &Proof) -> Vec<Row> {
    vec![
        row(
            "Questions with personal data",
            grouped(proof.questions),
            format!("{} different values", proof.values),
        ),
        row(
            "  values seen by a provider",
            grouped(proof.leaked),
            format!("in {} bytes it received", grouped(proof.bytes)),
        ),
        row(
            "  answers with the own values back",
            grouped(restored(stream, seen)),
            "the cache holds placeholders",
        ),
    ]
}

fn service(seen: &[Reply], again: &[Reply]) -> Vec<Row> {
    let rescued = seen.iter().filter(|r| r.status == 200 && r.attempts > 1).count();
    let same = seen.iter().zip(again).filter(|(a, b)| is_hit(a) == is_hit(b) && a.text == b.text).count();
    vec![
        row("Fallbacks survived", grouped(rescued), "first provider: 503, 429, silence, cuts"),
        row(
            "Latency: exact and normalised hit",
            latency(seen, |r| is_hit(r) && r.tier != "semantic"),
            "p50 / p99",
        ),
        row(
            "Latency: semantic hit",
            latency(seen, |r| r.tier == "semantic"),
            "p50 / p99; a text is embedded once",
        ),
        row(
            "Latency: miss",
            latency(seen, |r| !is_hit(r)),
            format!("p50 / p99, provider scripted at {} ms", provider_latency_ms(seen.len())),
        ),
        row(
            "Same decision by the HNSW index",
            grouped(same),
            format!("of {}, against the exact scan", grouped(seen.len())),
        ),
    ]
}

/// Answers of questions with personal data that hold the customer's own value again.
fn restored(stream: &Stream, seen: &[Reply]) -> usize {
    seen.iter()
        .zip(&stream.questions)
        .filter(|(reply, question)| {
            let values = personal_values(&question.prompt);
            !values.is_empty() && values.iter().all(|value| reply.text.contains(value.as_str()))
        })
        .count()
}

fn latency(seen: &[Reply], of: impl Fn(&Reply) -> bool) -> String {
    let Ok(mut histogram) = Histogram::<u64>::new(3) else { return String::new() };
    for reply in seen.iter().filter(|reply| of(reply)) {
        // It sizes itself to any value.
        let recorded = histogram.record(u64::try_from(reply.took.as_micros()).unwrap_or(u64::MAX));
        debug_assert!(recorded.is_ok());
    }
    if histogram.is_empty() {
        return "none".to_owned();
    }
    let at = |quantile| millis(Duration::from_micros(histogram.value_at_quantile(quantile)));
    format!("{} / {} ms", at(0.5), at(0.99))
}

fn millis(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

fn dollars(amount: Nanodollars) -> String {
    let dollars = amount as f64 / 1e9;
    if dollars < 1.0 { format!("${dollars:.4}") } else { format!("${dollars:.2}") }
}

/// `1234567` as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([grouped(7), grouped(1234), grouped(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([dollars(123_400_000), dollars(2_500_000_000)], ["$0.1234", "$2.50"]);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "0 %"]);
    }
}
