//! `sluice eval fit-injection`: the injection detector's weights, from labelled texts and our own templates.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use sluice_guardrails::injection::fit::{self, Figures, Known};
use sluice_guardrails::injection::is_data;

use super::{attacks, vectors};

/// What `sluice eval fit-injection` may be told.
#[derive(Args)]
pub struct FitInjectionArgs {
    /// The folder with the folders `injection` and `cache` of labelled files that the card of the shipped weights names.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to write the weights; `guardrails/weights/injection.bin` is what is shipped.
    #[arg(long, value_name = "OUT.bin")]
    out: PathBuf,
    /// Learn nothing from vectors, and load no embedding model.
    #[arg(long)]
    without_vectors: bool,
    /// Embed one in so many of the texts that count less than one that people wrote as an attack or for tests: our templates', and
    /// prompts of streams.
    #[arg(long, value_name = "N", default_value_t = 1)]
    vectors_every: usize,
    #[command(flatten)]
    vectors: vectors::VectorArgs,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be read, by file and line, or loaded, or written.
pub(super) fn run(args: &FitInjectionArgs) -> Result<String, String> {
    let mut examples = attacks::gather(&args.data)?;
    let mut known = None;
    if !args.without_vectors {
        let bank = attacks::known()?;
        let people = examples.iter().filter(|example| !is_data(example.channel)).enumerate();
        let every = args.vectors_every.max(1);
        let people = people.filter(|(at, example)| example.weight >= 1.0 || at.is_multiple_of(every));
        let texts: Vec<&str> =
            people.map(|(_, example)| example.text.as_str()).chain(bank.iter().map(String::as_str)).collect();
        let vectors = vectors::of(&args.vectors, &texts)?;
        for example in examples.iter_mut().filter(|example| !is_data(example.channel)) {
            example.vector = vectors.of(&example.text).cloned();
        }
        let attacks = bank.iter().filter_map(|text| vectors.of(text).cloned()).collect();
        known = Some(Known { model: vectors.model, vectors: attacks });
    }
    let fitted = fit::fit(&examples, known.as_ref());
    std::fs::write(&args.out, &fitted.bytes).map_err(|e| format!("--out {}: {e}", args.out.display()))?;
    let mut out = format!("Wrote {}, {} bytes.\n", args.out.display(), fitted.bytes.len());
    fitted.figures.iter().for_each(|figures| tell(figures, &mut out));
    Ok(out)
}

/// What was measured where a text's category had been left out.
fn tell(figures: &Figures, out: &mut String) {
    let Figures { name, area, recall, thresholds: (flag, block), groups, weights } = figures;
    let _ = writeln!(
        out,
        "\nTexts of {name}, each category left out of its own training: area under the curve {area:.4}, recall at 1 % false \
         positives {recall:.3}; flagged from {flag:.3} on, blocked from {block:.3} on."
    );
    for (group, (texts, flagged, blocked, attack)) in groups {
        let label = if *attack { "injection" } else { "benign" };
        let (flagged, blocked) = (100.0 * flagged, 100.0 * blocked);
        let _ = writeln!(
            out,
            "  {group:<30} {label:<9} {texts:>6} {flagged:>6.1} % flagged {blocked:>6.1} % blocked"
        );
    }
    let weighed: Vec<String> =
        weights.iter().filter(|(_, w)| *w >= 0.005).map(|(name, w)| format!("{name} {w:.2}")).collect();
    let _ = writeln!(out, "  weights: {}", weighed.join(", "));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_folder_without_the_data_is_named() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            args: FitInjectionArgs,
        }
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.bin");
        let words = ["fit-injection".as_ref(), "--data".as_ref(), folder.path(), "--out".as_ref(), &out];
        let error = run(&Command::parse_from(words).args).unwrap_err();
        assert!(error.contains("benign.jsonl"), "{error}");
    }
}
