//! The model with its real weights: pulled on first use, then held against vectors of the reference implementation.

use super::*;
use crate::registry::{DEFAULT_MODEL, FileSpec, find};
use crate::weights::{NoProgress, Origin, PullOptions, pull};
use serde::Deserialize;
use std::path::Path;
use std::sync::OnceLock;

/// The default model, got the way every first user gets it.
fn minilm() -> &'static BertEmbedder {
    static MODEL: OnceLock<BertEmbedder> = OnceLock::new();
    MODEL.get_or_init(|| {
        let spec = find(DEFAULT_MODEL).unwrap();
        let files = pull(spec, &PullOptions::default(), &NoProgress).unwrap();
        BertEmbedder::load(spec, &files, Precision::Auto).unwrap()
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// A text of `fixtures/embeddings` with what the reference made of it.
struct Reference {
    id: String,
    text: String,
    vector: Vec<f32>,
    tokens: usize,
}

fn references() -> Vec<Reference> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
        text: String,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/embeddings");
    let texts = std::fs::read_to_string(folder.join("texts.jsonl")).unwrap();
    let vectors = std::fs::read(folder.join("vectors.f32")).unwrap();
    let tokens: Vec<usize> =
        serde_json::from_slice(&std::fs::read(folder.join("tokens.json")).unwrap()).unwrap();
    let lines: Vec<Line> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), lines.len() * 384 * 4);
    assert_eq!(tokens.len(), lines.len());
    let numbers = |bytes: &[u8]| {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>()
    };
    lines
        .into_iter()
        .zip(vectors.chunks_exact(384 * 4))
        .zip(tokens)
        .map(|((Line { id, text }, vector), tokens)| Reference { id, text, vector: numbers(vector), tokens })
        .collect()
}

#[test]
fn every_reference_text_gets_the_reference_vector_and_token_count() {
    let references = references();
    assert!(references.len() >= 110);
    for reference in references {
        let got = minilm().embed(&reference.text).unwrap();
        let similarity = cosine(&got.vector, &reference.vector);
        assert!(similarity >= 0.9999, "{}: cosine {similarity}", reference.id);
        assert_eq!(got.tokens, reference.tokens, "{}", reference.id);
        assert_eq!(got.truncated, reference.id.starts_with("cut-"), "{}", reference.id);
    }
}

/// Texts nobody wrote: words of the references in random order, of random number, with some noise in between.
fn random_texts(n: u64) -> Vec<String> {
    let references = references();
    let words: Vec<&str> =
        references.iter().flat_map(|reference| reference.text.split_whitespace()).collect();
    let text = |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Most prompts are short, some are long.
        let length = if rng.u8(..8) == 0 { rng.usize(1..160) } else { rng.usize(1..24) };
        let mut word = || match rng.u8(..12) {
            0 => rng.u32(..100_000).to_string(),
            1 => std::iter::repeat_with(|| rng.lowercase()).take(7).collect(),
            _ => words[rng.usize(..words.len())].to_owned(),
        };
        std::iter::repeat_with(&mut word).take(length).collect::<Vec<_>>().join(" ")
    };
    (0..n).map(text).collect()
}

#[test]
fn every_kernel_of_this_machine_gives_candles_vectors_on_a_thousand_random_texts() {
    let spec = find(DEFAULT_MODEL).unwrap();
    let files = pull(spec, &PullOptions::default(), &NoProgress).unwrap();
    let load = |kernel| BertEmbedder::load_with(spec, &files, kernel).unwrap();
    let candle = load(Kernel::Candle);
    let texts = random_texts(1000);
    let expected: Vec<_> = texts.iter().map(|text| candle.embed(text).unwrap()).collect();
    let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.is_available() && *kernel != Kernel::Candle);
    for kernel in kernels {
        let model = load(kernel);
        let mut worst = 1.0_f64;
        for (text, expected) in texts.iter().zip(&expected) {
            let got = model.embed(text).unwrap();
            assert_eq!((got.tokens, got.truncated), (expected.tokens, expected.truncated));
            worst = worst.min(cosine(&got.vector, &expected.vector));
        }
        let least = match kernel.precision() {
            Precision::Int8 => 0.98,
            Precision::Bf16 => 0.9999,
            _ => 0.999_999,
        };
        assert!(worst >= least, "{kernel}: cosine {worst}");
        let space = if kernel.precision() == Precision::Int8 { "int8" } else { "f32" };
        assert_eq!(model.id(), format!("{DEFAULT_MODEL}/{space}"));
    }
}

#[test]
fn texts_of_a_batch_get_the_vectors_they_get_alone() {
    let model = minilm();
    let ids: Vec<_> = random_texts(12).iter().map(|text| model.token_ids(text).unwrap()).collect();
    let together = model.embed_ids(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    for (ids, vector) in ids.iter().zip(&together) {
        let alone = &model.embed_ids(&[ids]).unwrap()[0];
        assert!(cosine(alone, vector) > 0.999_999);
    }
}

#[test]
fn the_states_of_the_tokens_are_those_the_vector_is_pooled_from() {
    let text = "How do I reset my password?";
    let TokenStates { ids, states, dimensions, truncated } = minilm().token_states(text).unwrap();
    assert_eq!((ids.first(), ids.last(), dimensions, truncated), (Some(&101), Some(&102), 384, false));
    assert_eq!(states.len(), ids.len() * dimensions);
    let pooled = crate::Pooling::Mean.pool(&states, dimensions);
    assert_eq!(pooled, minilm().embed(text).unwrap().vector);
}

#[test]
fn ids_the_model_cannot_look_up_are_refused() {
    for text in [&[][..], &[0; 513], &[30_522]] {
        let error = minilm().embed_ids(&[text]).unwrap_err();
        assert!(matches!(error, EmbedError::Forward(_)), "{error}");
    }
}

#[test]
fn a_kernel_this_processor_lacks_is_refused_and_not_run() {
    let spec = find(DEFAULT_MODEL).unwrap();
    let files = pull(spec, &PullOptions::default(), &NoProgress).unwrap();
    for kernel in Kernel::ALL.into_iter().filter(|kernel| !kernel.is_available()) {
        let Err(error) = BertEmbedder::load_with(spec, &files, kernel) else { panic!("{kernel} was loaded") };
        assert!(error.to_string().contains(&kernel.to_string()), "{error}");
    }
}

#[test]
fn vectors_are_unit_length_and_of_the_promised_size() {
    for text in ["", "a", "a question", &"long ".repeat(1000)] {
        let vector = minilm().embed(text).unwrap().vector;
        assert_eq!(vector.len(), minilm().dimensions());
        assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn paraphrases_are_nearer_than_other_questions() {
    let embed = |text| minilm().embed(text).unwrap().vector;
    let question = embed("How do I reset my password?");
    let same = cosine(&question, &embed("I forgot my password, how can I set a new one?"));
    let other = cosine(&question, &embed("How much does delivery to Norway cost?"));
    assert!(same > 0.7 && other < 0.3, "{same} and {other}");
}

#[test]
fn the_vector_space_is_named_after_the_model() {
    assert_eq!(minilm().id(), "all-MiniLM-L6-v2/f32");
    assert_eq!(minilm().max_tokens(), 256);
}

/// A model of files which hash right but hold nonsense.
fn load_nonsense(config: &[u8], tokenizer: &[u8]) -> LoadError {
    use crate::weights::testing::{model, scratch};
    let dir = scratch();
    let files = [(CONFIG, config), (TOKENIZER, tokenizer), (WEIGHTS, &b"no tensors"[..])];
    let spec = model(&files, None);
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let files = ModelFiles { dir: dir.path().to_path_buf(), origin: Origin::Folder };
    match BertEmbedder::load(spec, &files, Precision::Auto) {
        Err(error) => error,
        Ok(_) => panic!("nonsense was loaded"),
    }
}

#[test]
fn a_file_that_does_not_fit_the_model_is_named() {
    let error = load_nonsense(b"{}", b"").to_string();
    assert!(error.starts_with("tiny: config.json: hidden_size is missing"), "{error}");

    let mut config = serde_json::json!({
        "vocab_size": 9, "hidden_size": 5, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 4, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 8,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    });
    let error = load_nonsense(config.to_string().as_bytes(), b"").to_string();
    assert_eq!(error, "tiny: config.json: hidden_size is 5, expected 4");

    config["hidden_size"] = 4.into();
    let error = load_nonsense(config.to_string().as_bytes(), b"{}").to_string();
    assert!(error.starts_with("tiny: tokenizer.json: "), "{error}");
}

#[test]
fn a_missing_file_is_named_with_its_folder() {
    let dir = crate::weights::testing::scratch();
    let files = ModelFiles { dir: dir.path().to_path_buf(), origin: Origin::Folder };
    let spec = find(DEFAULT_MODEL).unwrap();
    let FileSpec { name, .. } = &spec.files[0];
    let Err(error) = BertEmbedder::load(spec, &files, Precision::Auto) else { panic!("loaded from nothing") };
    assert!(error.to_string().contains(name), "{error}");
}
