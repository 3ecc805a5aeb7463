//! Every variant of the family, run by candle, against what the reference implementation computes.

use super::architecture::Architecture;
use super::fixtures::{Variant, variant, variants};
use super::tensors::Tensors;
use crate::activation::Activation;
use candle_core::{Device, Tensor};
use candle_transformers::models::bert::BertModel;

/// The largest difference of candle's `BertModel` from a variant's reference.
fn worst(variant: &Variant, tensors: Tensors, architecture: &Architecture) -> f32 {
    let model = BertModel::load(tensors.into_var_builder(), &architecture.to_candle()).unwrap();
    variant.worst(|ids| {
        let ids = Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let states = model.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
        states.flatten_all().unwrap().to_vec1().unwrap()
    })
}

#[test]
fn every_variant_gets_the_states_of_the_reference() {
    let variants = variants();
    assert!(variants.len() >= 9);
    for variant in variants {
        let worst = worst(&variant, variant.tensors(), &variant.architecture());
        assert!(worst <= 1e-4, "{}: {worst}", variant.name);
    }
}

#[test]
fn the_reference_has_texts_of_many_lengths_up_to_the_whole_position_table() {
    for variant in variants() {
        let lengths: Vec<usize> = variant.cases.iter().map(|case| case.ids.len()).collect();
        assert_eq!(lengths, [1, 2, 3, 5, 8, 14, 15, 16, 17, 31, 32, 33, 64, 70], "{}", variant.name);
        let architecture = variant.architecture();
        assert!(architecture.positions >= 70, "{}", variant.name);
        for case in &variant.cases {
            assert!(case.ids.iter().all(|id| (*id as usize) < architecture.vocabulary), "{}", variant.name);
        }
    }
}

/// How far a model is off whose architecture was read wrong.
fn worst_if(name: &str, change: impl Fn(&mut Architecture)) -> f32 {
    let variant = variant(name);
    let mut architecture = variant.architecture();
    change(&mut architecture);
    let tensors = Tensors::from_safetensors(variant.weights(), &architecture).unwrap();
    worst(&variant, tensors, &architecture)
}

#[test]
fn the_reference_tells_a_wrong_reading_from_a_right_one() {
    let erf = |it: &mut Architecture| it.activation = Activation::Gelu;
    let tanh = |it: &mut Architecture| it.activation = Activation::GeluTanh;
    let differences = [
        ("erf for tanh", worst_if("bert-gelu-new", erf)),
        ("tanh for erf", worst_if("bert", tanh)),
        ("erf for ReLU", worst_if("bert-relu", erf)),
        ("one head for two", worst_if("bert", |it| it.heads = 1)),
        ("another epsilon", worst_if("bert-odd-shapes", |it| it.layer_norm_eps = 1e-12)),
        (
            "RoBERTa's positions from the row before",
            worst_if("roberta", |it| {
                it.unused_positions -= 1;
                it.positions += 1;
            }),
        ),
    ];
    for (what, difference) in differences {
        assert!(difference > 3e-4, "{what} makes a difference of {difference} only");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_kernel_gets_the_states_of_the_reference_as_near_as_its_numbers_allow() {
    use super::{Kernel, Precision};
    let mut taken = 0;
    for variant in variants() {
        let architecture = variant.architecture();
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
            let Ok(encoder) = kernel.build(&architecture, variant.tensors()) else { continue };
            let worst = variant.worst(|ids| encoder.states(&[ids]).unwrap());
            let near = match kernel.precision() {
                Precision::Int8 => 0.6,
                Precision::Bf16 => 0.15,
                _ => 1e-4,
            };
            assert!(worst <= near, "{} by {kernel}: {worst}", variant.name);
            taken += usize::from(kernel != Kernel::Candle);
        }
    }
    assert!(taken > 0 || !Kernel::F32Avx2.is_available());
}
