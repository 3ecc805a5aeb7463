//! What is understood of a `config.json`, and what is refused in which words.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn bert() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 100, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 48, "hidden_act": "gelu", "max_position_embeddings": 50, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "pad_token_id": 0, "is_decoder": false,
        "classifier_dropout": null,
    })
}

fn distilbert() -> Value {
    json!({
        "model_type": "distilbert", "vocab_size": 100, "dim": 24, "n_layers": 3, "n_heads": 2, "hidden_dim": 48,
        "activation": "relu", "max_position_embeddings": 50,
    })
}

fn with(mut config: Value, field: &str, value: Value) -> Value {
    config[field] = value;
    config
}

fn without(mut config: Value, field: &str) -> Value {
    config.as_object_mut().unwrap().remove(field);
    config
}

fn read(config: &Value) -> Result<Architecture, String> {
    Architecture::from_json(config.to_string().as_bytes())
}

/// The words a configuration is refused with.
fn refusal(config: &Value) -> String {
    read(config).unwrap_err()
}

#[test]
fn a_bert_is_read_field_by_field() {
    let expected = Architecture {
        hidden: 24,
        layers: 3,
        heads: 2,
        intermediate: 48,
        activation: Activation::Gelu,
        layer_norm_eps: 1e-12,
        vocabulary: 100,
        positions: 50,
        token_types: 2,
        unused_positions: 0,
        names: Names::Bert,
    };
    assert_eq!(read(&bert()).unwrap(), expected);
    let distilbert = read(&distilbert()).unwrap();
    let own =
        Architecture { activation: Activation::Relu, token_types: 1, names: Names::DistilBert, ..expected };
    assert_eq!(distilbert, own);
}

#[test]
fn the_roberta_family_counts_positions_from_behind_the_padding_token() {
    for model_type in ["roberta", "xlm-roberta", "camembert"] {
        let config = with(with(bert(), "model_type", json!(model_type)), "pad_token_id", json!(4));
        let read_as = read(&config).unwrap();
        assert_eq!((read_as.unused_positions, read_as.positions), (5, 45), "{model_type}");
        let read_as = read(&without(config.clone(), "pad_token_id")).unwrap();
        assert_eq!((read_as.unused_positions, read_as.positions), (2, 48), "{model_type}");
        assert_eq!(
            refusal(&with(config, "max_position_embeddings", json!(5))),
            "max_position_embeddings is 5, expected more than pad_token_id + 1, which is 5"
        );
    }
    let padded = with(bert(), "pad_token_id", json!(4));
    assert_eq!(read(&padded).unwrap().positions, 50, "a BERT's positions start at row 0");
}

#[test]
fn every_name_of_an_activation_is_known_and_others_are_refused() {
    let names = [
        ("gelu", Activation::Gelu),
        ("gelu_python", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
    ];
    for (name, activation) in names {
        assert_eq!(read(&with(bert(), "hidden_act", json!(name))).unwrap().activation, activation);
        assert_eq!(read(&with(distilbert(), "activation", json!(name))).unwrap().activation, activation);
    }
    let expected = "one of gelu, gelu_python, gelu_new, gelu_pytorch_tanh, relu";
    assert_eq!(
        refusal(&with(bert(), "hidden_act", json!("swiglu"))),
        format!("hidden_act is \"swiglu\", expected {expected}")
    );
    assert_eq!(
        refusal(&with(distilbert(), "activation", json!("GELU"))),
        format!("activation is \"GELU\", expected {expected}")
    );
    assert_eq!(
        refusal(&with(bert(), "hidden_act", json!(["gelu"]))),
        "hidden_act is an array, expected a string"
    );
}

#[test]
fn what_older_configurations_leave_out_is_what_the_reference_assumes() {
    let mut old = bert();
    for field in ["model_type", "hidden_act", "type_vocab_size", "layer_norm_eps", "position_embedding_type"]
    {
        old = without(old, field);
    }
    assert_eq!(read(&old).unwrap(), read(&bert()).unwrap());
    assert_eq!(read(&with(old, "architectures", json!(["BertModel"]))).unwrap(), read(&bert()).unwrap());
    assert_eq!(read(&with(bert(), "layer_norm_eps", Value::Null)).unwrap(), read(&bert()).unwrap());
}

#[test]
fn models_that_compute_something_else_are_refused() {
    let known = "bert, roberta, xlm-roberta, camembert, distilbert, electra";
    for other in ["mpnet", "modernbert", "nomic_bert", "deberta-v2", "xlm-roberta-xl", "bert-generation", ""]
    {
        let words = refusal(&with(bert(), "model_type", json!(other)));
        assert_eq!(words, format!("model_type is \"{other}\", expected one of {known}"));
    }
    let nameless = with(without(bert(), "model_type"), "architectures", json!(["RobertaModel"]));
    assert!(refusal(&nameless).starts_with("model_type is missing and architectures name no BERT"));
    for other in ["relative_key", "relative_key_query", "alibi", "rotary"] {
        let words = refusal(&with(bert(), "position_embedding_type", json!(other)));
        assert_eq!(words, format!("position_embedding_type is \"{other}\", expected \"absolute\""));
    }
    for flag in ["is_decoder", "add_cross_attention"] {
        let words = refusal(&with(bert(), flag, json!(true)));
        assert_eq!(words, format!("{flag} is true, expected false, for an encoder"));
    }
    let quantised = with(bert(), "quantization_config", json!({"bits": 4}));
    assert!(refusal(&quantised).starts_with("quantization_config is given"));
}

#[test]
fn an_electra_must_have_embeddings_as_wide_as_its_layers() {
    let electra = with(bert(), "model_type", json!("electra"));
    assert!(refusal(&electra).starts_with("embedding_size is missing, expected a whole number"));
    assert_eq!(
        refusal(&with(electra.clone(), "embedding_size", json!(12))),
        "embedding_size is 12, expected hidden_size (24)"
    );
    assert_eq!(read(&with(electra, "embedding_size", json!(24))).unwrap(), read(&bert()).unwrap());
}

#[test]
fn a_size_that_is_missing_zero_absurd_or_no_number_is_named() {
    let berts = [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ];
    let distilberts = ["dim", "n_layers", "n_heads", "hidden_dim", "vocab_size", "max_position_embeddings"];
    for (config, fields) in [(bert(), berts), (distilbert(), distilberts)] {
        for field in fields {
            let missing = refusal(&without(config.clone(), field));
            assert!(
                missing.starts_with(&format!("{field} is missing, expected a whole number from 1 to")),
                "{missing}"
            );
            for bad in
                [json!(0), json!(-1), json!(24.5), json!("24"), json!(true), json!(u64::MAX), json!(1e300)]
            {
                let words = refusal(&with(config.clone(), field, bad.clone()));
                assert!(words.starts_with(&format!("{field} is {bad}, expected a whole number")), "{words}");
            }
        }
    }
    let types = with(bert(), "type_vocab_size", json!(0));
    assert_eq!(refusal(&types), "type_vocab_size is 0, expected a whole number from 1 to 1024");
}

#[test]
fn heads_must_divide_the_hidden_size() {
    assert_eq!(
        refusal(&with(bert(), "num_attention_heads", json!(5))),
        "hidden_size is 24, expected a multiple of num_attention_heads, which is 5"
    );
    assert_eq!(
        refusal(&with(distilbert(), "n_heads", json!(48))),
        "dim is 24, expected a multiple of n_heads, which is 48"
    );
}

#[test]
fn an_epsilon_must_be_a_small_positive_number() {
    for bad in [json!(0), json!(-1e-5), json!(1), json!(1e-300), json!("1e-5")] {
        let words = refusal(&with(bert(), "layer_norm_eps", bad.clone()));
        assert_eq!(words, format!("layer_norm_eps is {bad}, expected a number between 0 and 1"));
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    assert!(Architecture::from_json(b"").unwrap_err().starts_with("not JSON: "));
    assert!(Architecture::from_json(&[0xff, 0xfe]).unwrap_err().starts_with("not JSON: "));
    assert_eq!(Architecture::from_json(b"[1]").unwrap_err(), "not a JSON object");
    assert!(Architecture::from_json(b"{}").unwrap_err().starts_with("hidden_size is missing"));
}

#[test]
fn a_long_value_is_shown_in_part() {
    let words = refusal(&with(bert(), "hidden_act", json!("x".repeat(10_000))));
    assert!(words.len() < 150, "{}", words.len());
}

/// Anything a field could hold.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_u64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,60}".prop_map(Value::from),
        Just(json!([])),
        Just(json!([1])),
        Just(json!({"a": 1})),
    ]
}

proptest! {
    #[test]
    fn whatever_a_field_holds_the_answer_is_an_error_or_a_sound_architecture(
        changes in proptest::collection::vec((0_usize..14, anything()), 1..4),
        model_type in 0_usize..6,
    ) {
        let mut config = with(bert(), "model_type", json!(FAMILIES[model_type].model_type));
        for (field, value) in distilbert().as_object().unwrap() {
            if field != "model_type" {
                config[field] = value.clone();
            }
        }
        config["embedding_size"] = json!(24);
        for (field, value) in changes {
            let name = config.as_object().unwrap().keys().nth(field).unwrap().clone();
            config[name] = value;
        }
        if let Ok(it) = read(&config) {
            let sizes = [it.hidden, it.layers, it.heads, it.intermediate, it.vocabulary, it.positions, it.token_types];
            prop_assert!(sizes.iter().all(|size| (1..=1 << 22).contains(size)));
            prop_assert!(it.hidden % it.heads == 0 && it.layer_norm_eps > 0.0);
        }
    }
}
