//! For tests: the tiny models of `fixtures/models` and what the reference implementation computes with them.

use super::architecture::Architecture;
use super::tensors::Tensors;
use std::path::{Path, PathBuf};

/// One tiny model.
pub(crate) struct Variant {
    /// Name of its folder.
    pub(crate) name: String,
    /// The folder, with `config.json` and `model.safetensors`.
    pub(crate) folder: PathBuf,
    /// What the reference computes, for texts of 1 to 70 tokens.
    pub(crate) cases: Vec<Case>,
}

/// Token ids and what the reference makes of them.
pub(crate) struct Case {
    /// All of token type 0; every token counts.
    pub(crate) ids: Vec<u32>,
    /// Tokens by their place in `ids`, each with its last hidden state.
    pub(crate) rows: Vec<(usize, Vec<f32>)>,
}

/// Every model of `fixtures/models`, by name.
pub(crate) fn variants() -> Vec<Variant> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/models");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    // Virtual environments and caches of the script may lie beside the models.
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(['.', '_'])).collect();
    names.sort();
    names.iter().map(|name| variant(name)).collect()
}

/// The model of that folder.
pub(crate) fn variant(name: &str) -> Variant {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/models").join(name);
    let cases = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap());
    let cases: Vec<serde_json::Value> = cases.unwrap_or_else(|e| panic!("{name}/reference.json: {e}"));
    Variant { name: name.to_owned(), folder, cases: cases.into_iter().map(Case::from_json).collect() }
}

impl Case {
    fn from_json(mut case: serde_json::Value) -> Self {
        let mut take = |field: &str| case[field].take();
        let ids = serde_json::from_value(take("ids")).unwrap();
        let at: Vec<usize> = serde_json::from_value(take("at")).unwrap();
        let rows: Vec<Vec<f32>> = serde_json::from_value(take("rows")).unwrap();
        assert_eq!(at.len(), rows.len());
        Self { ids, rows: at.into_iter().zip(rows).collect() }
    }
}

impl Variant {
    /// The content of its `config.json`.
    pub(crate) fn config(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("config.json")).unwrap()
    }

    /// The content of its `model.safetensors`.
    pub(crate) fn weights(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("model.safetensors")).unwrap()
    }

    pub(crate) fn architecture(&self) -> Architecture {
        Architecture::from_json(&self.config()).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    pub(crate) fn tensors(&self) -> Tensors {
        let tensors = Tensors::from_safetensors(self.weights(), &self.architecture());
        tensors.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The largest difference of any number from the reference, over all cases, if `forward` turns token ids into
    /// their last hidden states, one token after the other. Not a number if any of them is none.
    pub(crate) fn worst(&self, mut forward: impl FnMut(&[u32]) -> Vec<f32>) -> f32 {
        let mut worst = 0.0_f32;
        for Case { ids, rows } in &self.cases {
            let states = forward(ids);
            let hidden = states.len() / ids.len();
            for (at, expected) in rows {
                assert_eq!(expected.len(), hidden, "{}", self.name);
                let row = &states[at * hidden..][..hidden];
                for (got, expected) in row.iter().zip(expected) {
                    let difference = (got - expected).abs();
                    if difference.is_nan() {
                        return difference;
                    }
                    worst = worst.max(difference);
                }
            }
        }
        worst
    }
}
