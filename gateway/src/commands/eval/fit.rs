//! `sluice eval fit`: what the learnt rule knows before its first label, from labelled data.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use sluice_engine::replay::fit::fit;
use sluice_engine::replay::materials::{Pair, lines, of_pairs, of_stream};
use sluice_engine::replay::pairs::minimal_pairs;
use sluice_engine::replay::{Line, Stream};

use super::super::EmbeddingArgs;
use super::lines as files;
use crate::commands::demo;

/// What `sluice eval fit` may be told.
#[derive(Args)]
pub struct FitArgs {
    /// The folder with the labelled files that the card of the shipped prior names, or its folder `cache`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to write it; `engine/src/decide/prior.json` is what is shipped.
    #[arg(long, value_name = "OUT.json")]
    out: PathBuf,
    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// Streams of labelled prompts, with what the card says of them.
const STREAMS: [(&str, &str); 2] = [
    ("stream_banking77", "customers of a bank, half of the intents of BANKING77, CC BY 4.0 (PolyAI)"),
    ("stream_clinc150", "requests to an assistant, 90 of the intents of CLINC150, CC BY 3.0 (Clinc)"),
];
/// Labelled pairs.
const PAIRS: [(&str, &str); 3] = [
    ("pairs_redis_prompts", "MIT (Redis)"),
    ("pairs_pawsx_en", "PAWS-X (Google), free for any purpose"),
    ("pairs_gptcache_mock", "MIT (Zilliz)"),
];
/// Our own.
const TEMPLATES: &str = include_str!("../../../../fixtures/cache/minimal_pairs.txt");
const SUPPORT: &str = "questions of the demo";
const MINIMAL: &str = "every other template of fixtures/cache/minimal_pairs.txt";

/// Lines to fit on.
struct Source {
    lines: Vec<Line>,
    /// Whether they are a stream, and not pairs; and whether it is tested for cuts.
    is_stream: bool,
    certifies: bool,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be read, by file and line, or loaded, or written.
pub(super) fn run(args: &FitArgs) -> Result<String, String> {
    let folder = [args.data.join("cache"), args.data.clone()];
    let folder = folder.iter().find(|folder| folder.join("stream_banking77.jsonl").exists());
    let folder = folder.ok_or_else(|| {
        format!("--data {}: no stream_banking77.jsonl in it, nor in its folder cache", args.data.display())
    })?;
    let sources = sources(folder)?;
    let embedder = super::super::load_embedder(&args.embedding.section())?;
    let mut vectors = Vec::new();
    for source in &sources {
        vectors.push(super::embed(&embedder, &source.lines)?.0);
    }
    let streams: Vec<Stream<'_>> = sources
        .iter()
        .zip(&vectors)
        .map(|(source, vectors)| Stream::new(&source.lines, vectors, &[]))
        .collect();
    let mut materials = Vec::new();
    for (source, stream) in sources.iter().zip(&streams) {
        if source.is_stream {
            materials.extend(of_stream(stream, source.certifies));
        } else {
            materials.push(of_pairs(stream));
        }
    }
    let shipped = fit(&materials, card(embedder.id()));
    let text = serde_json::to_string(&shipped).map_err(|e| e.to_string())?;
    std::fs::write(&args.out, text + "\n").map_err(|e| format!("--out {}: {e}", args.out.display()))?;
    let cuts: Vec<String> = shipped
        .cuts
        .iter()
        .map(|c| format!("{} % from a probability of {:.3} on", 100.0 * c.max_false_hit_rate, c.cut))
        .collect();
    Ok(format!("Wrote {}. Cuts: {}.\n", args.out.display(), cuts.join("; ")))
}

fn sources(folder: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for (name, _) in STREAMS {
        let lines = files::stream(&folder.join(format!("{name}.jsonl")))?;
        sources.push(Source { lines, is_stream: true, certifies: true });
    }
    sources.push(Source { lines: demo::stream::built_in()?, is_stream: true, certifies: false });
    for (name, _) in PAIRS {
        let path = folder.join(format!("{name}.jsonl"));
        let pairs = files::read::<Pair>(&path, "\"a\", \"b\" and \"same\"")?;
        let pairs: Vec<Pair> = pairs.into_iter().map(|(_, pair)| pair).collect();
        sources.push(Source { lines: lines(name, &pairs), is_stream: false, certifies: false });
    }
    let minimal = minimal_pairs(TEMPLATES)?.into_iter().filter(|pair| pair.template.is_multiple_of(2));
    let minimal: Vec<Pair> = minimal.map(|pair| Pair { a: pair.a, b: pair.b, same: pair.same }).collect();
    sources.push(Source { lines: lines("minimal", &minimal), is_stream: false, certifies: false });
    Ok(sources)
}

/// What a person should know of the weights.
fn card(embedding: &str) -> Value {
    let mut fitted_on: Map<String, Value> =
        STREAMS.iter().chain(&PAIRS).map(|(k, v)| ((*k).into(), (*v).into())).collect();
    fitted_on.insert(SUPPORT.into(), "our own".into());
    fitted_on.insert(MINIMAL.into(), "our own".into());
    json!({
        "what": "log odds that a remembered answer is right for a new prompt, by boosted trees; how sure they may be of \
                 themselves and the cuts come from intents that the trees of the other half of the intents had not seen",
        "how": "sluice eval fit",
        "embedding": embedding,
        "fitted_on": fitted_on,
        "streams": "each shuffled, sorted by intent, with each intent once, its beginnings, and with a quarter of its intents",
        "not_fitted_on": "QQP, and files whose terms restrict their use",
        "limits": "fitted on English questions to banks, shops, help desks and assistants: elsewhere the labels of the \
                   traffic itself have to do more",
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Told {
        #[command(flatten)]
        args: FitArgs,
    }

    #[test]
    fn a_folder_without_the_data_and_a_line_that_is_no_pair_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = |data: &Path| {
            let out = data.join("prior.json");
            Told::parse_from([Path::new("fit"), "--data".as_ref(), data, "--out".as_ref(), &out]).args
        };
        let error = run(&args(folder.path())).unwrap_err();
        assert!(error.starts_with("--data") && error.contains("stream_banking77.jsonl"), "{error}");
        for (name, _) in STREAMS {
            let line = "{\"id\":\"1\",\"prompt\":\"How?\",\"intent\":\"how\"}";
            std::fs::write(folder.path().join(format!("{name}.jsonl")), line).unwrap();
        }
        std::fs::write(folder.path().join("pairs_redis_prompts.jsonl"), "{\"a\":\"secret\"}").unwrap();
        let error = run(&args(folder.path())).unwrap_err();
        assert!(error.contains("pairs_redis_prompts.jsonl:1:") && !error.contains("secret"), "{error}");
    }
}
