//! What is taken from a file, and which files are refused in which words.

use super::super::fixtures::{variant, variants};
use super::*;

type Named = HashMap<String, Tensor>;

/// A variant's tensors as they are in the file.
fn stored(name: &str) -> Named {
    candle_core::safetensors::load_buffer(&variant(name).weights(), &Device::Cpu).unwrap()
}

/// These tensors as a file, read with a variant's architecture.
fn read(name: &str, tensors: &Named) -> Result<Tensors, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    candle_core::safetensors::save(tensors, &path).unwrap();
    Tensors::from_safetensors(std::fs::read(path).unwrap(), &variant(name).architecture())
}

/// The words a variant's file is refused with after a change.
fn refusal(name: &str, change: impl FnOnce(&mut Named)) -> String {
    let mut tensors = stored(name);
    change(&mut tensors);
    match read(name, &tensors) {
        Err(words) => words,
        Ok(_) => panic!("the file was read"),
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_variant_has_all_tensors_under_the_same_names() {
    for variant in variants() {
        let (it, tensors) = (variant.architecture(), variant.tensors());
        let (hidden, middle) = (it.hidden, it.intermediate);
        let shapes: [(&str, Vec<usize>); 5] = [
            ("word_embeddings.weight", vec![it.vocabulary, hidden]),
            ("position_embeddings.weight", vec![it.positions, hidden]),
            ("token_type_embeddings.weight", vec![it.token_types, hidden]),
            ("LayerNorm.weight", vec![hidden]),
            ("LayerNorm.bias", vec![hidden]),
        ];
        for (name, shape) in shapes {
            let got = tensors.get(&format!("embeddings.{name}"), &shape).unwrap();
            assert_eq!(got.len(), shape.iter().product::<usize>());
        }
        let parts: [(&str, Vec<usize>); 8] = [
            ("attention.self.query", vec![hidden, hidden]),
            ("attention.self.key", vec![hidden, hidden]),
            ("attention.self.value", vec![hidden, hidden]),
            ("attention.output.dense", vec![hidden, hidden]),
            ("attention.output.LayerNorm", vec![hidden]),
            ("intermediate.dense", vec![middle, hidden]),
            ("output.dense", vec![hidden, middle]),
            ("output.LayerNorm", vec![hidden]),
        ];
        for layer in 0..it.layers {
            for (part, shape) in &parts {
                let name = format!("encoder.layer.{layer}.{part}");
                tensors.get(&format!("{name}.weight"), shape).unwrap();
                tensors.get(&format!("{name}.bias"), &shape[..1]).unwrap();
            }
        }
        assert_eq!(tensors.0.len(), 5 + 16 * it.layers, "{}: nothing else was taken", variant.name);
    }
}

#[test]
fn numbers_come_row_after_row_and_half_precision_is_widened() {
    for (name, prefix) in [("bert", ""), ("bert-gelu-new", ""), ("bert-relu", "model.")] {
        let (stored, it) = (stored(name), variant(name).architecture());
        let up = "encoder.layer.1.intermediate.dense.weight";
        let got = variant(name).tensors().get(up, &[it.intermediate, it.hidden]).unwrap();
        assert_eq!(got, numbers(&stored[&format!("{prefix}{up}")]));
    }
}

#[test]
fn the_position_table_of_a_roberta_starts_at_the_first_token() {
    let table = "embeddings.position_embeddings.weight";
    let it = variant("roberta").architecture();
    let all = numbers(&stored("roberta")[table]);
    let got = variant("roberta").tensors().get(table, &[80, it.hidden]).unwrap();
    assert_eq!(got, all[2 * it.hidden..]);
}

#[test]
fn a_distilbert_gets_a_token_type_of_zeros() {
    let types =
        variant("distilbert").tensors().get("embeddings.token_type_embeddings.weight", &[1, 64]).unwrap();
    assert!(types.iter().all(|x| *x == 0.0));
}

#[test]
fn asking_for_another_name_or_shape_names_the_tensor() {
    let tensors = variant("bert").tensors();
    assert_eq!(tensors.get("pooler.dense.weight", &[64, 64]).unwrap_err(), "pooler.dense.weight is missing");
    assert_eq!(
        tensors.get("embeddings.LayerNorm.weight", &[8, 8]).unwrap_err(),
        "embeddings.LayerNorm.weight is of shape [64], expected [8, 8]"
    );
}

#[test]
fn a_missing_tensor_is_named_as_it_would_be_in_the_file() {
    let take = |name: &'static str| {
        move |tensors: &mut Named| {
            tensors.remove(name).unwrap();
        }
    };
    assert_eq!(
        refusal("bert", take("encoder.layer.1.output.dense.bias")),
        "encoder.layer.1.output.dense.bias is missing, expected a tensor of shape [64]"
    );
    assert_eq!(
        refusal("distilbert", take("distilbert.transformer.layer.0.ffn.lin2.weight")),
        "distilbert.transformer.layer.0.ffn.lin2.weight is missing, expected a tensor of shape [64, 128]"
    );
    assert_eq!(
        refusal("bert-legacy-names", take("bert.embeddings.LayerNorm.beta")),
        "bert.embeddings.LayerNorm.bias is missing, expected a tensor of shape [64]"
    );
    assert_eq!(
        refusal("bert", take("embeddings.word_embeddings.weight")),
        "embeddings.word_embeddings.weight is missing, expected it with or without a prefix"
    );
}

#[test]
fn a_tensor_of_another_shape_or_type_is_named() {
    let put = |name: &'static str, tensor: Tensor| {
        move |tensors: &mut Named| {
            tensors.insert(name.to_owned(), tensor).unwrap();
        }
    };
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let words = "embeddings.word_embeddings.weight";
    assert_eq!(
        refusal("bert", put(words, zeros(&[139, 64], DType::F32))),
        "embeddings.word_embeddings.weight is of shape [139, 64], expected [140, 64]"
    );
    assert_eq!(
        refusal("bert", put(words, zeros(&[140, 64], DType::I64))),
        "embeddings.word_embeddings.weight is of type I64, expected F32, F16 or BF16"
    );
    assert_eq!(
        refusal("roberta", put("embeddings.position_embeddings.weight", zeros(&[80, 64], DType::F32))),
        "embeddings.position_embeddings.weight is of shape [80, 64], expected [82, 64]"
    );
}

#[test]
fn tensors_an_encoder_would_not_use_are_refused_and_heads_beside_it_are_not() {
    let zeros = Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
    for name in [
        "encoder.layer.0.attention.self.distance_embedding.weight",
        "encoder.layer.0.mlp.gated_layers.weight",
        "encoder.layer.2.output.dense.bias",
        "embeddings.LayerNorm.gamma",
    ] {
        let words = refusal("bert", |tensors| {
            tensors.insert(name.to_owned(), zeros.clone());
        });
        assert_eq!(words, format!("{name} has no place in a plain encoder of 2 layers, expected none"));
    }
    let mut tensors = stored("bert");
    for name in ["pooler.other", "classifier.weight", "lm_head.bias", "embeddings.position_ids"] {
        tensors.insert(name.to_owned(), zeros.clone());
    }
    assert!(read("bert", &tensors).is_ok());
}

#[test]
fn two_encoders_in_one_file_are_refused() {
    let words = refusal("bert", |tensors| {
        let word = tensors["embeddings.word_embeddings.weight"].clone();
        tensors.insert("question.embeddings.word_embeddings.weight".to_owned(), word);
    });
    assert!(words.ends_with("are both there, expected one encoder"), "{words}");
}

#[test]
fn more_layers_than_the_file_has_are_refused_at_the_first_that_is_missing() {
    let architecture = Architecture { layers: usize::MAX, ..variant("bert").architecture() };
    let refused = Tensors::from_safetensors(variant("bert").weights(), &architecture);
    let words = refused.err().unwrap();
    assert!(words.starts_with("encoder.layer.2.attention.self.query.weight is missing"), "{words}");
}

#[test]
fn a_file_cut_anywhere_or_with_a_damaged_header_is_refused_or_read_but_never_panics() {
    let (whole, it) = (variant("bert-odd-shapes").weights(), variant("bert-odd-shapes").architecture());
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for length in (0..64).chain((64..whole.len()).step_by(499)) {
        let words = Tensors::from_safetensors(whole[..length].to_vec(), &it).err().unwrap();
        assert!(words.starts_with("not a safetensors file: "), "{length}: {words}");
    }
    for at in 0..header {
        for flip in [0x01, 0x10, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            // A changed digit may still make sense, as a name of a head does; the answer only has to come.
            let _ = Tensors::from_safetensors(damaged, &it);
        }
    }
}

#[test]
fn weights_that_are_no_finite_numbers_are_refused_and_named() {
    for (variant, name) in [
        ("bert", "encoder.layer.1.output.dense.weight"),
        ("bert", "embeddings.word_embeddings.weight"),
        ("bert", "embeddings.LayerNorm.bias"),
        ("roberta", "embeddings.position_embeddings.weight"),
    ] {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let words = refusal(variant, |tensors| {
                let tensor = &tensors[name];
                let mut all = numbers(tensor);
                let last = all.len() - 1;
                all[last] = wrong;
                let changed = Tensor::from_vec(all, tensor.shape(), &Device::Cpu).unwrap();
                tensors.insert(name.to_owned(), changed);
            });
            let last = stored(variant)[name].elem_count() - 1;
            assert_eq!(
                words,
                format!("{name} holds {wrong} as number {last} from 0, expected finite numbers")
            );
        }
    }
}

#[test]
fn half_precision_that_is_no_finite_number_is_refused_too() {
    let name = "encoder.layer.0.output.dense.bias";
    let words = refusal("bert", |tensors| {
        let tensor = tensors[name].to_dtype(DType::F32).unwrap();
        let large = tensor.affine(0.0, 1e30).unwrap().to_dtype(DType::F16).unwrap();
        tensors.insert(name.to_owned(), large);
    });
    assert!(words.starts_with(&format!("{name} holds inf as number 0")), "{words}");
}
