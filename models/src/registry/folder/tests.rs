//! Folders as sentence-transformers writes them, and each way they may ask for what we don't do.

use super::*;
use crate::bert::BertEmbedder;
use crate::embedder::Embedder;
use crate::registry::{DEFAULT_MODEL, ResolveError, find, resolve};
use crate::weights::{NoProgress, PullOptions, WeightsError, pull};

const MODULES: &str = r#"[
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

const POOLING: &str = r#"{"word_embedding_dimension": 4, "pooling_mode_cls_token": true,
    "pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": false, "include_prompt": true}"#;

/// A whole configuration of a BERT but for these fields, which end in its positions.
fn config(last: &str) -> String {
    format!(
        r#"{{"model_type": "bert", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "vocab_size": 10, {last}}}"#
    )
}

/// A folder named `my model` with the three files a model needs and nothing else.
struct Model(tempfile::TempDir);

impl Model {
    fn bare() -> Self {
        let model = Self(tempfile::tempdir().unwrap());
        model
            .with("config.json", &config(r#""max_position_embeddings": 600"#))
            .with("tokenizer.json", r#"{"normalizer": {"type": "BertNormalizer", "lowercase": false}}"#)
            .with("model.safetensors", "weights")
    }

    /// With everything sentence-transformers keeps beside it.
    fn full() -> Self {
        Self::bare()
            .with("modules.json", MODULES)
            .with("1_Pooling/config.json", POOLING)
            .with("sentence_bert_config.json", r#"{"max_seq_length": 200, "do_lower_case": false}"#)
            .with("tokenizer_config.json", r#"{"model_max_length": 100}"#)
            .with(
                "config_sentence_transformers.json",
                r#"{"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}"#,
            )
    }

    fn with(self, file: &str, content: &str) -> Self {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn without(self, file: &str) -> Self {
        std::fs::remove_file(self.path().join(file)).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("my model")
    }

    fn spec(&self) -> ModelSpec {
        ModelSpec::from_folder(&self.path()).unwrap()
    }

    /// The refusal, which must name the folder and the file at fault.
    fn refused(&self, file: &str) -> String {
        let error = ModelSpec::from_folder(&self.path()).unwrap_err().to_string();
        assert!(error.contains("my model") && error.contains(file), "{file} is not in: {error}");
        error
    }
}

#[test]
fn a_bare_folder_gets_the_mean_of_512_tokens_and_no_prefix() {
    let spec = Model::bare().spec();
    assert_eq!((spec.dimensions, spec.max_tokens, spec.pooling), (4, 512, Pooling::Mean));
    assert_eq!(spec.prefix, "");
    assert!(!spec.hashes_known());
}

#[test]
fn the_files_of_sentence_transformers_say_how_it_is_done() {
    let spec = Model::full().spec();
    assert_eq!((spec.dimensions, spec.max_tokens, spec.pooling), (4, 200, Pooling::Cls));
    assert_eq!(spec.prefix, "query: ");
}

#[test]
fn the_name_has_the_folder_in_it_and_changes_with_all_that_changes_vectors() {
    let name = |model: &Model| model.spec().name.into_owned();
    let model = Model::full();
    let first = name(&model);
    let hex = first.strip_prefix("my-model@").unwrap();
    assert!(hex.len() == 12 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
    assert_eq!(first, name(&Model::full()), "the same files have the same name");
    assert_eq!(resolve(model.path().to_str().unwrap()).unwrap().name, first);

    let mut names = vec![first];
    let prompt = r#"{"prompts": {"query": "other: "}, "default_prompt_name": "query"}"#;
    for (file, content) in [
        ("model.safetensors", "other weights"),
        ("tokenizer.json", r#"{"normalizer": {"type": "BertNormalizer", "lowercase": true}}"#),
        ("config.json", &config(r#""layer_norm_eps": 1e-6, "max_position_embeddings": 600"#)),
        ("1_Pooling/config.json", r#"{"pooling_mode": "mean"}"#),
        ("config_sentence_transformers.json", prompt),
        ("sentence_bert_config.json", r#"{"max_seq_length": 199}"#),
    ] {
        names.push(name(&Model::full().with(file, content)));
    }
    let different: std::collections::HashSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
}

#[test]
fn windows_are_never_longer_than_the_positions_there_are() {
    let seq = |tokens: &str| format!(r#"{{"max_seq_length": {tokens}}}"#);
    let window = |model: Model| model.spec().max_tokens;
    assert_eq!(window(Model::bare().with("sentence_bert_config.json", &seq("8192"))), 600);
    assert_eq!(window(Model::full().with("sentence_bert_config.json", &seq("null"))), 100);
    let limitless = r#"{"model_max_length": 1000000000000000019884624838656}"#;
    assert_eq!(window(Model::bare().with("tokenizer_config.json", limitless)), 512);
    let roberta = |rest: &str| config(rest).replace(r#""bert""#, r#""roberta""#);
    let large = roberta(r#""max_position_embeddings": 514, "pad_token_id": 1"#);
    assert_eq!(window(Model::bare().with("config.json", &large)), 512);
    let small = roberta(r#""max_position_embeddings": 100"#);
    assert_eq!(window(Model::bare().with("config.json", &small)), 98);
    let distilbert = r#"{"model_type": "distilbert", "dim": 4, "n_layers": 1, "n_heads": 2, "hidden_dim": 8,
        "vocab_size": 10, "max_position_embeddings": 64}"#;
    assert_eq!(window(Model::bare().with("config.json", distilbert)), 64);
}

#[test]
fn parts_are_found_where_modules_json_says() {
    let modules = MODULES.replace(r#""path": """#, r#""path": "0_Transformer""#);
    let model = Model::bare().with("modules.json", &modules).with("1_Pooling/config.json", POOLING);
    std::fs::create_dir(model.path().join("0_Transformer")).unwrap();
    for file in [CONFIG, TOKENIZER, WEIGHTS] {
        std::fs::rename(model.path().join(file), model.path().join("0_Transformer").join(file)).unwrap();
    }
    let spec = model.spec();
    assert_eq!(spec.pooling, Pooling::Cls);
    let files = pull(&spec, &PullOptions::default(), &NoProgress).unwrap();
    assert_eq!(files.read(&spec, WEIGHTS).unwrap(), b"weights");
}

#[test]
fn newer_files_of_sentence_transformers_are_understood() {
    let modules = MODULES.replace("sentence_transformers.models.", "sentence_transformers.base.modules.");
    let model = Model::bare()
        .with("modules.json", &modules)
        .with("1_Pooling/config.json", r#"{"embedding_dimension": 4, "pooling_mode": "cls"}"#);
    assert_eq!(model.spec().pooling, Pooling::Cls);
}

#[test]
fn a_module_we_do_not_have_is_refused_by_its_name() {
    let dense = MODULES.replace("models.Normalize", "models.Dense");
    let error = Model::bare().with("modules.json", &dense).refused("modules.json");
    assert!(error.contains("module 2 is 'sentence_transformers.models.Dense'"), "{error}");

    let outside = MODULES.replace("1_Pooling", "../1_Pooling");
    let error = Model::bare().with("modules.json", &outside).refused("modules.json");
    assert!(error.contains("module 1: expected a path inside the folder"), "{error}");

    for (modules, reason) in [
        ("[]", "there is no Transformer"),
        (r#"[{"path": "", "type": "x.Transformer"}]"#, "there is no Pooling"),
        ("{}", "expected an array"),
        ("[", "not JSON"),
    ] {
        let error = Model::bare().with("modules.json", modules).refused("modules.json");
        assert!(error.contains(reason), "{error}");
    }
    let twice = MODULES.replace("models.Normalize", "models.Pooling");
    let error = Model::bare().with("modules.json", &twice).refused("modules.json");
    assert!(error.contains("module 2: a second"), "{error}");
}

#[test]
fn a_pooling_we_do_not_have_is_refused_by_its_name() {
    for (pooling, reason) in [
        (r#"{"pooling_mode_max_tokens": true}"#, "pooling is max_tokens;"),
        (r#"{"pooling_mode_lasttoken": true}"#, "pooling is lasttoken;"),
        (
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            "cls_token with mean_tokens",
        ),
        (r#"{"pooling_mode": "weightedmean"}"#, "pooling is weightedmean;"),
        (r#"{"pooling_mode_cls_token": false}"#, "no pooling mode is on"),
        (r#"{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}"#, "is 8, expected 4"),
    ] {
        let error = Model::bare().with("1_Pooling/config.json", pooling).refused("1_Pooling/config.json");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_prompt_that_would_not_be_pooled_is_refused() {
    let pooling = POOLING.replace(r#""include_prompt": true"#, r#""include_prompt": false"#);
    let error = Model::full().with("1_Pooling/config.json", &pooling).refused("1_Pooling/config.json");
    assert!(error.contains("include_prompt"), "{error}");
    let bare = Model::bare().with("1_Pooling/config.json", &pooling);
    assert_eq!(bare.spec().pooling, Pooling::Cls, "without a prompt it makes no difference");
}

#[test]
fn a_default_prompt_that_is_not_there_is_refused() {
    let file = "config_sentence_transformers.json";
    let error = Model::full().with(file, r#"{"default_prompt_name": "nope", "prompts": {}}"#).refused(file);
    assert!(error.contains(r#""nope""#), "{error}");
    for none in ["{}", r#"{"default_prompt_name": null, "prompts": {"query": "query: "}}"#] {
        assert_eq!(Model::bare().with(file, none).spec().prefix, "");
    }
}

#[test]
fn lower_case_is_only_asked_for_where_the_tokenizer_does_it() {
    let file = "sentence_bert_config.json";
    let model = Model::bare().with(file, r#"{"do_lower_case": true}"#);
    let error = model.refused(file);
    assert!(error.contains("do_lower_case"), "{error}");
    let sequence =
        r#"{"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}}"#;
    let bert = r#"{"normalizer": {"type": "BertNormalizer", "lowercase": true}}"#;
    let model = model.with("tokenizer.json", sequence);
    assert_eq!(model.spec().dimensions, 4);
    assert_eq!(model.with("tokenizer.json", bert).spec().dimensions, 4);
}

#[test]
fn a_configuration_without_sizes_is_refused() {
    for (config, reason) in [
        ("{}", "hidden_size is missing"),
        (&config(r#""max_position_embeddings": 512"#).replace("4", "0"), "hidden_size is 0"),
        (&config(r#""type_vocab_size": 2"#), "max_position_embeddings is missing"),
        (&config(r#""max_position_embeddings": 2"#), "expected at least 3"),
        (&config(r#""max_position_embeddings": 9"#).replace("bert", "t5"), "model_type is \"t5\""),
        ("no json", "not JSON"),
    ] {
        let error = Model::bare().with("config.json", config).refused("config.json");
        assert!(error.contains(reason), "{error}");
    }
    for (file, field) in
        [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")]
    {
        for wrong in ["2", "-1", "1.5", "\"many\""] {
            let error = Model::bare().with(file, &format!(r#"{{"{field}": {wrong}}}"#)).refused(file);
            assert!(error.contains(&format!("{field} is {wrong}")), "{error}");
        }
    }
}

#[test]
fn a_folder_that_lacks_a_file_is_refused_by_the_files_name() {
    for file in [CONFIG, TOKENIZER, WEIGHTS] {
        let error = Model::bare().without(file).refused(file);
        assert!(error.contains("not found"), "{error}");
    }
    let nowhere = ModelSpec::from_folder(Path::new("no/such/folder")).unwrap_err();
    assert!(nowhere.to_string().starts_with("no/such/folder: "), "{nowhere}");
    let model = Model::bare().without(WEIGHTS);
    let error = resolve(model.path().to_str().unwrap()).unwrap_err();
    assert!(matches!(error, ResolveError::Folder(_)), "{error}");
}

#[test]
fn a_folder_is_loaded_from_where_it_lies_and_refused_when_it_has_changed() {
    let model = Model::bare();
    let spec = model.spec();
    let files = pull(&spec, &PullOptions::default(), &NoProgress).unwrap();
    assert_eq!(files.dir, model.path().canonicalize().unwrap());
    assert!(files.unverified(&spec).unwrap().is_empty());

    let model = model.with(WEIGHTS, "changed");
    for error in [
        files.read(&spec, WEIGHTS).unwrap_err(),
        pull(&spec, &PullOptions::default(), &NoProgress).unwrap_err(),
    ] {
        assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
    }
    let model = model.without(WEIGHTS);
    let error = pull(&spec, &PullOptions::default(), &NoProgress).unwrap_err();
    assert!(matches!(error, WeightsError::Missing { .. }), "{error}");
    drop(model);
}

/// The default model's files in a folder of their own, whose prompt is `prompt`.
fn default_model_as_a_folder(prompt: &str) -> Model {
    let known = find(DEFAULT_MODEL).unwrap();
    let files = pull(known, &PullOptions::default(), &NoProgress).unwrap();
    let prompts = serde_json::json!({ "prompts": { "p": prompt }, "default_prompt_name": "p" });
    let model = Model::bare().with("config_sentence_transformers.json", &prompts.to_string());
    for file in known.files.iter() {
        std::fs::copy(files.dir.join(file.name), model.path().join(file.name)).unwrap();
    }
    model
}

#[test]
fn a_known_model_read_as_a_folder_embeds_the_same_with_its_prefix_before_every_text() {
    let load = |spec: &ModelSpec| {
        let files = pull(spec, &PullOptions::default(), &NoProgress).unwrap();
        BertEmbedder::load(spec, &files, crate::Precision::F32).unwrap()
    };
    let model = default_model_as_a_folder("query: ");
    let (from_registry, from_folder) = (load(find(DEFAULT_MODEL).unwrap()), load(&model.spec()));
    assert_eq!(from_folder.id().split('@').next(), Some("my-model"));

    let expected = from_registry.embed("query: how do I reset my password?").unwrap();
    let found = from_folder.embed("how do I reset my password?").unwrap();
    assert_eq!(found.tokens, expected.tokens);
    let cosine: f32 = found.vector.iter().zip(&expected.vector).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.9999, "{cosine}");
}

#[test]
fn a_tokenizer_is_refused_whose_two_files_disagree() {
    let file = "tokenizer_config.json";
    for (config, field) in [
        (r#"{"do_lower_case": true}"#, "do_lower_case"),
        (r#"{"strip_accents": true}"#, "strip_accents"),
        (r#"{"tokenize_chinese_chars": false}"#, "tokenize_chinese_chars"),
    ] {
        let error = Model::bare().with(file, config).refused(file);
        assert!(error.contains(field) && error.contains("tokenizer.json"), "{error}");
    }
    let agreed = r#"{"do_lower_case": false, "strip_accents": null}"#;
    assert_eq!(Model::bare().with(file, agreed).spec().dimensions, 4);
}
