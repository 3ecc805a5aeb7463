//! What is searched, and for what: vectors of texts, noisy copies of them, and vectors of texts kept back.

use std::collections::HashSet;
use std::path::Path;

use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sluice_models::EmbedPool;

/// The questions of the demo.
const SUPPORT: [&str; 3] = [
    include_str!("../../../../fixtures/cache/support_bank.jsonl"),
    include_str!("../../../../fixtures/cache/support_shop.jsonl"),
    include_str!("../../../../fixtures/cache/support_it.jsonl"),
];
/// One text in so many is a query, but never more than [`MOST_QUERIES`].
const TEXTS_PER_QUERY: usize = 5;
const MOST_QUERIES: usize = 1000;
/// Length of the noise added to a unit vector: the copy's cosine similarity to it is 1/√(1 + 0.4²) ≈ 0.93.
const NOISE: f32 = 0.4;
/// Texts on their way to the embedding workers at a time; fewer than their queue holds.
const AT_ONCE: usize = 16;
const SEED: u64 = 1;

/// Vectors side by side, all of unit length.
pub(super) struct Vectors {
    pub(super) dimensions: usize,
    /// Texts first, then copies; an index of `n` gets the first `n`.
    base: Vec<f32>,
    /// How many of the base are texts.
    pub(super) texts: usize,
    queries: Vec<f32>,
}

/// The texts of a file, or the demo's: each once, in an order of their own.
pub(super) fn texts(file: Option<&Path>) -> Result<Vec<String>, String> {
    let (name, text) = match file {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
            (name, text)
        }
        None => ("fixtures/cache".to_owned(), SUPPORT.concat()),
    };
    let mut seen = HashSet::new();
    let mut texts: Vec<String> =
        text.lines().map(text_of).filter(|text| !text.is_empty() && seen.insert(text.clone())).collect();
    if texts.len() < 2 * TEXTS_PER_QUERY {
        return Err(format!(
            "{name}: {} different texts; expected at least {}",
            texts.len(),
            2 * TEXTS_PER_QUERY
        ));
    }
    Rng::with_seed(SEED).shuffle(&mut texts);
    Ok(texts)
}

/// What a line holds: its "prompt" or "text" if it is such an object, else all of it.
fn text_of(line: &str) -> String {
    let object: Option<Value> = serde_json::from_str(line).ok();
    let field =
        object.as_ref().and_then(|o| o.get("prompt").or_else(|| o.get("text"))).and_then(Value::as_str);
    field.unwrap_or(line).trim().to_owned()
}

impl Vectors {
    /// Embeds the texts, keeps some back, and adds copies until there are `largest`.
    pub(super) fn embed(embedder: &EmbedPool, texts: &[String], largest: usize) -> Result<Self, String> {
        let queries = (texts.len() / TEXTS_PER_QUERY).min(MOST_QUERIES);
        let used = &texts[..texts.len().min(largest.saturating_add(queries))];
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
        let embedded = stream::iter(used).map(|text| embedder.embed(text)).buffered(AT_ONCE).try_collect();
        let embedded: Vec<_> = runtime.block_on(embedded).map_err(|e| e.to_string())?;
        let vectors: Vec<f32> = embedded.iter().flat_map(|e| e.vector.iter().copied()).collect();
        Ok(Self::of(vectors, embedder.dimensions(), queries, largest))
    }

    fn of(mut vectors: Vec<f32>, dimensions: usize, queries: usize, largest: usize) -> Self {
        let queries = vectors.drain(..queries * dimensions).collect();
        let texts = vectors.len() / dimensions;
        let mut rng = Rng::with_seed(SEED);
        vectors.reserve_exact((largest * dimensions).saturating_sub(vectors.len()));
        while vectors.len() < largest * dimensions {
            let at = rng.usize(..texts) * dimensions;
            let copy = noisy(&vectors[at..at + dimensions], &mut rng);
            vectors.extend(copy);
        }
        Self { dimensions, base: vectors, texts, queries }
    }

    /// The first `n` vectors.
    pub(super) fn base(&self, n: usize) -> impl Iterator<Item = &[f32]> {
        self.base.chunks_exact(self.dimensions).take(n)
    }

    pub(super) fn queries(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.queries.chunks_exact(self.dimensions)
    }

    /// How many of the first `n` are texts.
    pub(super) fn texts_among(&self, n: usize) -> usize {
        self.texts.min(n)
    }

    /// Writes `vectors.f32` and `queries.f32`, rows of little-endian floats, and `index.json`, which says what they are.
    pub(super) fn write(&self, folder: &Path, sizes: &[usize]) -> Result<(), String> {
        let about = json!({
            "dimensions": self.dimensions, "n": sizes, "texts": self.texts, "queries": self.queries().len(),
        });
        let bytes = |vectors: &[f32]| vectors.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join("vectors.f32"), bytes(&self.base)))
            .and_then(|()| std::fs::write(folder.join("queries.f32"), bytes(&self.queries)))
            .and_then(|()| std::fs::write(folder.join("index.json"), format!("{about}\n")))
            .map_err(|e| format!("--dump {}: {e}", folder.display()))
    }
}

/// A unit vector beside another, in a random direction.
fn noisy(vector: &[f32], rng: &mut Rng) -> Vec<f32> {
    // The sum of uniform numbers is near enough to normal to have no preferred direction; its variance is 6/12.
    let deviation = NOISE / (vector.len() as f32).sqrt() / 0.5_f32.sqrt();
    let mut copy: Vec<f32> =
        vector.iter().map(|x| x + deviation * (0..6).map(|_| rng.f32() - 0.5).sum::<f32>()).collect();
    let norm = copy.iter().map(|x| x * x).sum::<f32>().sqrt();
    copy.iter_mut().for_each(|x| *x /= norm);
    copy
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Unit vectors in random directions: so many texts, of which `queries` are kept back.
    pub(in super::super) fn random(texts: usize, queries: usize, largest: usize) -> Vectors {
        let mut rng = Rng::with_seed(3);
        let zero = [0.0; 384];
        Vectors::of((0..texts).flat_map(|_| noisy(&zero, &mut rng)).collect(), 384, queries, largest)
    }

    #[test]
    fn copies_make_up_the_number_and_lie_as_near_as_is_said() {
        let vectors = random(60, 10, 500);
        assert_eq!((vectors.texts, vectors.queries().len(), vectors.base(500).count()), (50, 10, 500));
        assert_eq!((vectors.texts_among(30), vectors.texts_among(400)), (30, 50));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let nearest = |copy: &[f32]| vectors.base(50).map(|text| product(text, copy)).fold(-1.0, f32::max);
        let mean = vectors.base(500).skip(50).map(nearest).sum::<f32>() / 450.0;
        assert!((mean - 0.93).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_line_may_be_plain_or_json() {
        assert_eq!(text_of(r#"{"prompt": "a b", "intent": "x"}"#), "a b");
        assert_eq!(text_of(r#"{"text": "c"}"#), "c");
        assert_eq!(text_of(" What is 3 + 4? "), "What is 3 + 4?");
    }

    #[test]
    fn the_demos_questions_are_the_texts_unless_told_otherwise() {
        let built_in = texts(None).unwrap();
        assert!(built_in.len() > 500 && built_in.iter().all(|text| !text.starts_with('{')));
        assert!(texts(Some(Path::new("no such file"))).unwrap_err().starts_with("no such file: "));
    }
}
