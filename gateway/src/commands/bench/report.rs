//! The figures, for people or for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::measure::K;
use super::vectors::Vectors;

/// What was measured of one index at one size.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) index: &'static str,
    /// Vectors.
    pub(super) n: usize,
    /// Candidates a graph looks at.
    pub(super) ef: Option<usize>,
    /// The share of queries whose nearest vector came first.
    pub(super) recall: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    /// One insert, with what it puts off.
    pub(super) insert: Duration,
    /// All inserts.
    pub(super) load: Duration,
    /// Bytes per vector.
    pub(super) bytes: usize,
}

/// A table, and what the vectors are.
pub(super) fn table(all: &Vectors, model: &str, figures: &[Figures]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "vectors",
        "texts + copies",
        "index",
        "recall@1",
        "p50 µs",
        "p99 µs",
        "insert µs",
        "load s",
        "bytes/vector",
    ]);
    for f in figures {
        let texts = all.texts_among(f.n);
        table.add_row([
            f.n.to_string(),
            format!("{texts} + {}", f.n - texts),
            f.ef.map_or_else(|| f.index.to_owned(), |ef| format!("{} (ef {ef})", f.index)),
            format!("{:.3}", f.recall),
            format!("{:.1}", micros(f.p50)),
            format!("{:.1}", micros(f.p99)),
            format!("{:.1}", micros(f.insert)),
            format!("{:.3}", f.load.as_secs_f64()),
            f.bytes.to_string(),
        ]);
    }
    for column in table.column_iter_mut().filter(|column| column.index != 2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "\nSearching the {K} nearest vectors of {model} ({} dimensions), one thread. {} texts and noisy copies of their \
         vectors (cosine about 0.93); {} queries, texts of their own. The truth is the exact scan's.\n{table}\n",
        all.dimensions,
        all.texts,
        all.queries().len(),
    )
}

/// One object a line.
pub(super) fn json(all: &Vectors, figures: &[Figures]) -> String {
    let line = |f: &Figures| {
        let texts = all.texts_among(f.n);
        let rounded = |x: f64| (x * 1000.0).round() / 1000.0;
        let object = json!({
            "index": f.index, "n": f.n, "texts": texts, "copies": f.n - texts, "dimensions": all.dimensions,
            "queries": all.queries().len(), "k": K, "ef": f.ef, "recall_at_1": rounded(f.recall),
            "p50_us": rounded(micros(f.p50)), "p99_us": rounded(micros(f.p99)),
            "insert_us": rounded(micros(f.insert)), "load_s": rounded(f.load.as_secs_f64()),
            "bytes_per_vector": f.bytes,
        });
        format!("{object}\n")
    };
    figures.iter().map(line).collect()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::super::vectors::tests::random;
    use super::*;

    #[test]
    fn the_report_says_what_is_text_and_what_is_copy() {
        let all = random(60, 10, 200);
        let p50 = Duration::from_nanos(1500);
        let figures =
            [Figures { index: "hnsw", n: 200, ef: Some(64), recall: 0.995, p50, ..Figures::default() }];
        let table = table(&all, "a-model/f32", &figures);
        assert!(
            table.contains("50 + 150") && table.contains("10 queries") && table.contains("hnsw (ef 64)"),
            "{table}"
        );
        let line = json(&all, &figures);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["texts"], &value["copies"], &value["p50_us"]),
            (&json!(50), &json!(150), &json!(1.5))
        );
        assert_eq!(line.lines().count(), 1);
    }
}
