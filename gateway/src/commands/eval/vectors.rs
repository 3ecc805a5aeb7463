//! The vectors of many texts, from the model that a command was told, kept in a file if one is named.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use sluice_models::EmbedPool;

use crate::commands::EmbeddingArgs;
use crate::meaning::may_be_whole;

/// Texts whose vectors are written at once; what was computed before a command was stopped is not computed again.
const BATCH: usize = 256;
/// Starts each file; the model's name, the length of its vectors and an end of line follow.
const MAGIC: &str = "sluice vectors 1";
/// A text's digest.
const KEY: usize = 32;

/// Where vectors come from.
#[derive(Args)]
pub(super) struct VectorArgs {
    #[command(flatten)]
    embedding: EmbeddingArgs,
    /// A file in which vectors are kept, under a digest of their text, so that they are computed once. It belongs to one model.
    #[arg(long, value_name = "FILE")]
    vectors_file: Option<PathBuf>,
}

/// Vectors by digests of their texts; none for a text that is longer than the model's window.
type Known = HashMap<[u8; KEY], Option<Vec<f32>>>;

/// Vectors of one model.
pub(super) struct Vectors {
    /// The model's name.
    pub(super) model: String,
    known: Known,
}

impl Vectors {
    /// The vector of a text that was asked for, unless it is longer than the model's window.
    pub(super) fn of(&self, text: &str) -> Option<&Vec<f32>> {
        self.known.get(&digest(text))?.as_ref()
    }
}

/// The vectors of these texts.
pub(super) fn of(args: &VectorArgs, texts: &[&str]) -> Result<Vectors, String> {
    let embedder = crate::commands::load_embedder(&args.embedding.section())?;
    // Formats of numbers differ in vectors by less than what is learnt from them.
    let model = embedder.id().rsplit_once('/').map_or(embedder.id(), |(model, _)| model).to_owned();
    let (mut known, mut file) = (Known::new(), None);
    if let Some(path) = &args.vectors_file {
        let told = |problem: String| format!("--vectors-file {}: {problem}", path.display());
        let header = format!("{MAGIC} {model} {}\n", embedder.dimensions());
        let bytes =
            if path.exists() { std::fs::read(path).map_err(|e| told(e.to_string()))? } else { Vec::new() };
        known = read(&bytes, &header, embedder.dimensions()).map_err(told)?;
        let mut opened =
            OpenOptions::new().create(true).append(true).open(path).map_err(|e| told(e.to_string()))?;
        if bytes.is_empty() {
            opened.write_all(header.as_bytes()).map_err(|e| told(e.to_string()))?;
        }
        file = Some(opened);
    }
    let mut missing: Vec<&str> =
        texts.iter().copied().filter(|text| !known.contains_key(&digest(text))).collect();
    missing.sort_unstable();
    missing.dedup();
    for batch in missing.chunks(BATCH) {
        let computed = embed(&embedder, batch)?;
        if let Some(file) = &mut file {
            write(file, batch, &computed, embedder.dimensions())
                .map_err(|e| format!("--vectors-file: {e}"))?;
        }
        known.extend(batch.iter().map(|text| digest(text)).zip(computed));
    }
    Ok(Vectors { model, known })
}

fn embed(embedder: &EmbedPool, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let one = async |text: &&str| match may_be_whole(text, embedder.max_tokens()) {
        // It would be cut off, and its vector thrown away.
        false => Ok(None),
        true => embedder.embed_within("", text, None).await.map(Some),
    };
    let embedded = stream::iter(texts).map(one).buffered(super::AT_ONCE).try_collect();
    let embedded: Vec<_> = runtime.block_on(embedded).map_err(|e| e.to_string())?;
    let whole = |e: sluice_models::Embedded| (!e.embedding.truncated).then(|| e.embedding.vector.clone());
    Ok(embedded.into_iter().map(|embedded| embedded.and_then(whole)).collect())
}

/// One record for each text: its digest, whether there is a vector, and its numbers or as many zeros.
fn write(
    file: &mut File,
    texts: &[&str],
    vectors: &[Option<Vec<f32>>],
    dimensions: usize,
) -> std::io::Result<()> {
    let mut out = Vec::new();
    for (text, vector) in texts.iter().zip(vectors) {
        out.extend(digest(text));
        out.push(u8::from(vector.is_some()));
        match vector {
            Some(vector) => out.extend(vector.iter().flat_map(|value| value.to_le_bytes())),
            None => out.resize(out.len() + 4 * dimensions, 0),
        }
    }
    file.write_all(&out)
}

fn read(bytes: &[u8], header: &str, dimensions: usize) -> Result<Known, String> {
    if bytes.is_empty() {
        return Ok(Known::new());
    }
    let records = bytes.strip_prefix(header.as_bytes());
    let records =
        records.ok_or_else(|| format!("expected a file that begins with '{}'", header.trim_end()))?;
    let size = KEY + 1 + 4 * dimensions;
    if !records.len().is_multiple_of(size) {
        return Err("its last vector is cut off: remove the file".to_owned());
    }
    let record = |record: &[u8]| {
        let (key, rest) = record.split_first_chunk::<KEY>()?;
        let (there, numbers) = rest.split_first()?;
        let vector = numbers.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Some((*key, (*there == 1).then_some(vector)))
    };
    Ok(records.chunks_exact(size).filter_map(record).collect())
}

fn digest(text: &str) -> [u8; KEY] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_found_again_in_the_file_and_that_of_another_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        let header = format!("{MAGIC} model 2\n");
        std::fs::write(&path, &header).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        write(&mut file, &["a", "long"], &[Some(vec![0.25, -1.0]), None], 2).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let vectors = Vectors { model: String::new(), known: read(&bytes, &header, 2).unwrap() };
        assert_eq!(vectors.of("a"), Some(&vec![0.25, -1.0]));
        assert!(vectors.known.contains_key(&digest("long")) && vectors.of("long").is_none());
        assert!(read(&bytes[..bytes.len() - 1], &header, 2).unwrap_err().contains("cut off"));
        let other = format!("{MAGIC} other 2\n");
        assert!(read(&bytes, &other, 2).unwrap_err().contains("begins with 'sluice vectors 1 other 2'"));
    }
}
