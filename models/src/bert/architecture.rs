//! What a model's `config.json` says, in one vocabulary for every member of the BERT family.

use crate::activation::Activation;
use candle_transformers::models::bert::{Config, HiddenAct, PositionEmbeddingType};
use serde_json::{Map, Value};

/// How the tensors are named in the file, without what stands before `embeddings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Bert,
    DistilBert,
}

/// The shape of an encoder: embeddings of words, positions and token types, normalised, then layers of attention and
/// feed-forward with a layer norm after each (Devlin et al. 2018). All sizes are within bounds that fit in memory,
/// and `hidden` is a multiple of `heads`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Architecture {
    /// Numbers per token.
    pub(crate) hidden: usize,
    /// Layers, at least one.
    pub(crate) layers: usize,
    /// Attention heads in each layer.
    pub(crate) heads: usize,
    /// Numbers per token between the halves of the feed-forward part.
    pub(crate) intermediate: usize,
    /// The function applied there.
    pub(crate) activation: Activation,
    /// Added to the variance in every layer norm.
    pub(crate) layer_norm_eps: f64,
    /// Rows of the word table; an id at or beyond it has no embedding.
    pub(crate) vocabulary: usize,
    /// Tokens a text can have: rows of the position table, already without those RoBERTa leaves out.
    pub(crate) positions: usize,
    /// Rows of the token type table, of which a single text uses the first.
    pub(crate) token_types: usize,
    /// Rows at the start of the stored position table that no text uses.
    pub(super) unused_positions: usize,
    pub(super) names: Names,
}

/// What a family calls its sizes, and what it leaves unsaid.
struct Family {
    model_type: &'static str,
    names: Names,
    /// Whether the first token is at the row after the padding token's id, as in RoBERTa (Liu et al. 2019).
    positions_after_padding: bool,
    hidden: &'static str,
    layers: &'static str,
    heads: &'static str,
    intermediate: &'static str,
    activation: &'static str,
}

const BERT: Family = Family {
    model_type: "bert",
    names: Names::Bert,
    positions_after_padding: false,
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate: "intermediate_size",
    activation: "hidden_act",
};
const ROBERTA: Family = Family { model_type: "roberta", positions_after_padding: true, ..BERT };

/// Every `model_type` that is understood.
static FAMILIES: &[Family] = &[
    BERT,
    ROBERTA,
    Family { model_type: "xlm-roberta", ..ROBERTA },
    Family { model_type: "camembert", ..ROBERTA },
    Family {
        model_type: DISTILBERT,
        names: Names::DistilBert,
        hidden: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate: "hidden_dim",
        activation: "activation",
        ..BERT
    },
    Family { model_type: ELECTRA, ..BERT },
];
const DISTILBERT: &str = "distilbert";
const ELECTRA: &str = "electra";

/// Bounds for the sizes: several times the largest model of the family, far from what a machine cannot hold.
mod at_most {
    pub(super) const HIDDEN: usize = 1 << 14;
    pub(super) const LAYERS: usize = 1 << 8;
    pub(super) const INTERMEDIATE: usize = 1 << 16;
    pub(super) const VOCABULARY: usize = 1 << 22;
    pub(super) const POSITIONS: usize = 1 << 20;
    pub(super) const TOKEN_TYPES: usize = 1 << 10;
}

/// What the reference implementation assumes where `layer_norm_eps` is missing, and always for DistilBERT.
const DEFAULT_EPS: f64 = 1e-12;

impl Architecture {
    /// Reads a `config.json`. A field that is null counts as missing; fields that do not change the result of the
    /// encoder are not looked at.
    ///
    /// # Errors
    /// Names the field, what it holds and what was expected: when a size is missing, of another type, zero or beyond
    /// all reason, and when the file describes a model that computes something else (another `model_type`, relative
    /// positions, a decoder, another activation, embeddings narrower than the layers).
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, String> {
        let config: Value = serde_json::from_slice(json).map_err(|e| format!("not JSON: {e}"))?;
        let fields = Fields(config.as_object().ok_or("not a JSON object")?);
        let family = family(&fields)?;
        refuse_other_computations(&fields, family)?;

        let hidden = fields.size(family.hidden, at_most::HIDDEN)?;
        let heads = fields.size(family.heads, at_most::HIDDEN)?;
        if hidden % heads != 0 {
            let (wide, many) = (family.hidden, family.heads);
            return Err(format!("{wide} is {hidden}, expected a multiple of {many}, which is {heads}"));
        }
        if family.model_type == ELECTRA || fields.get("embedding_size").is_some() {
            let embedding = fields.size("embedding_size", at_most::HIDDEN)?;
            if embedding != hidden {
                return Err(format!("embedding_size is {embedding}, expected {} ({hidden})", family.hidden));
            }
        }
        let (unused_positions, positions) = positions(&fields, family)?;
        let is_distilbert = family.model_type == DISTILBERT;
        Ok(Self {
            hidden,
            layers: fields.size(family.layers, at_most::LAYERS)?,
            heads,
            intermediate: fields.size(family.intermediate, at_most::INTERMEDIATE)?,
            activation: activation(&fields, family.activation)?,
            layer_norm_eps: if is_distilbert { DEFAULT_EPS } else { fields.epsilon("layer_norm_eps")? },
            vocabulary: fields.size("vocab_size", at_most::VOCABULARY)?,
            positions,
            token_types: match fields.get("type_vocab_size") {
                _ if is_distilbert => 1,
                None => 2,
                Some(_) => fields.size("type_vocab_size", at_most::TOKEN_TYPES)?,
            },
            unused_positions,
            names: family.names,
        })
    }

    /// The same for candle's `BertModel`, which is to be loaded from [`Tensors`](super::tensors::Tensors).
    pub(crate) fn to_candle(&self) -> Config {
        Config {
            vocab_size: self.vocabulary,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: self.intermediate,
            hidden_act: match self.activation {
                Activation::Gelu => HiddenAct::Gelu,
                Activation::GeluTanh => HiddenAct::GeluApproximate,
                Activation::Relu => HiddenAct::Relu,
            },
            hidden_dropout_prob: 0.0,
            max_position_embeddings: self.positions,
            type_vocab_size: self.token_types,
            layer_norm_eps: self.layer_norm_eps,
            position_embedding_type: PositionEmbeddingType::Absolute,
            use_cache: false,
            classifier_dropout: None,
            // Names are canonical already: there is no prefix to look for.
            model_type: None,
            ..Config::default()
        }
    }
}

fn family(fields: &Fields<'_>) -> Result<&'static Family, String> {
    let known = || FAMILIES.iter().map(|family| family.model_type).collect::<Vec<_>>().join(", ");
    if fields.get("model_type").is_some() {
        let model_type = fields.text("model_type", "")?;
        let found = FAMILIES.iter().find(|family| family.model_type == model_type);
        return found.ok_or_else(|| fields.wrong("model_type", &format!("one of {}", known())));
    }
    // The first BERT models were published without a model type, and without architectures too.
    let architecture = fields.get("architectures").and_then(|names| names.get(0)).and_then(Value::as_str);
    if architecture.is_none_or(|name| name.starts_with("Bert")) {
        return Ok(&BERT);
    }
    Err(format!("model_type is missing and architectures name no BERT, expected one of {}", known()))
}

/// Refuses what the sizes alone would not give away.
fn refuse_other_computations(fields: &Fields<'_>, family: &Family) -> Result<(), String> {
    if fields.text("position_embedding_type", "absolute")? != "absolute" {
        return Err(fields.wrong("position_embedding_type", "\"absolute\""));
    }
    for flag in ["is_decoder", "add_cross_attention"] {
        if fields.get(flag).is_some_and(|value| *value != Value::Bool(false)) {
            return Err(fields.wrong(flag, "false, for an encoder"));
        }
    }
    if fields.get("quantization_config").is_some() {
        let model_type = family.model_type;
        return Err(format!("quantization_config is given, expected a {model_type} model of plain floats"));
    }
    Ok(())
}

/// Rows of the position table before the first token's, and from there on.
fn positions(fields: &Fields<'_>, family: &Family) -> Result<(usize, usize), String> {
    const FIELD: &str = "max_position_embeddings";
    let rows = fields.size(FIELD, at_most::POSITIONS)?;
    if !family.positions_after_padding {
        return Ok((0, rows));
    }
    let unused = match fields.get("pad_token_id") {
        None => 2,
        Some(_) => fields.whole("pad_token_id", 0, at_most::POSITIONS)? + 1,
    };
    if rows <= unused {
        return Err(format!("{FIELD} is {rows}, expected more than pad_token_id + 1, which is {unused}"));
    }
    Ok((unused, rows - unused))
}

fn activation(fields: &Fields<'_>, field: &str) -> Result<Activation, String> {
    match fields.text(field, "gelu")? {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        _ => Err(fields.wrong(field, "one of gelu, gelu_python, gelu_new, gelu_pytorch_tanh, relu")),
    }
}

/// The fields of a `config.json`.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A size that must be there, from 1 to `most`.
    fn size(&self, name: &str, most: usize) -> Result<usize, String> {
        self.whole(name, 1, most)
    }

    fn whole(&self, name: &str, least: usize, most: usize) -> Result<usize, String> {
        let number = self.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.wrong(name, &format!("a whole number from {least} to {most}")))
    }

    fn epsilon(&self, name: &str) -> Result<f64, String> {
        let Some(value) = self.get(name) else { return Ok(DEFAULT_EPS) };
        let number = value.as_f64().filter(|number| (f64::from(f32::MIN_POSITIVE)..1.0).contains(number));
        number.ok_or_else(|| self.wrong(name, "a number between 0 and 1"))
    }

    fn text(&self, name: &str, default: &'a str) -> Result<&'a str, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.wrong(name, "a string"))
    }

    /// The error that says what a field holds and what was expected.
    fn wrong(&self, name: &str, expected: &str) -> String {
        const SHOWN: usize = 40;
        let found = match self.get(name) {
            None => "missing".to_owned(),
            Some(Value::Array(_)) => "an array".to_owned(),
            Some(Value::Object(_)) => "an object".to_owned(),
            Some(value) => {
                let whole = value.to_string();
                let shown: String = whole.chars().take(SHOWN).collect();
                if shown.len() < whole.len() { format!("{shown}…") } else { shown }
            }
        };
        format!("{name} is {found}, expected {expected}")
    }
}

#[cfg(test)]
mod tests;
