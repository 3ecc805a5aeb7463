//! The tensors of any member of the BERT family under BERT's own names, as 32-bit floats.

use super::architecture::{Architecture, Names};
use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Storage, Tensor};
use candle_nn::VarBuilder;
use std::collections::{HashMap, HashSet};

/// Tensors by canonical name: `embeddings.word_embeddings.weight`, `embeddings.LayerNorm.bias`,
/// `encoder.layer.0.attention.self.query.weight` and so on, without a prefix. Row 0 of the position table belongs to
/// a text's first token, and there is a token type table even where the model has none.
pub(crate) struct Tensors(HashMap<String, Tensor>);

const WORDS: &str = "embeddings.word_embeddings.weight";

impl Tensors {
    /// Takes from a safetensors file what `architecture` needs: with or without a prefix before the names, layer
    /// norms under today's names or the first BERT's (`gamma`, `beta`), in f32, f16 or bf16. What stands beside the
    /// encoder (a pooler, a head) is left out.
    ///
    /// # Errors
    /// Names the tensor: when one is missing, of another shape or type, or holds what is no finite number, or when one
    /// within the encoder would not be used, since the model would then compute something else. Says so when the file is no safetensors file.
    // By value, since the file's bytes are to be gone when the tensors are there.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn from_safetensors(bytes: Vec<u8>, architecture: &Architecture) -> Result<Self, String> {
        let file = SliceSafetensors::new(&bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
        let names: HashSet<String> = file.tensors().into_iter().map(|(name, _)| name).collect();
        let prefix = prefix(&names)?;
        let mut reader = Reader { file, unused: names, prefix, tensors: HashMap::new() };
        reader.embeddings(architecture)?;
        for layer in 0..architecture.layers {
            reader.layer(layer, architecture)?;
        }
        reader.refuse_unused(architecture)?;
        Ok(Self(reader.tensors))
    }

    /// The numbers of one tensor, row after row; matrices have a row for each output.
    ///
    /// # Errors
    /// Names the tensor if there is none of that canonical name or it has another shape.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let tensor = self.0.get(name).ok_or_else(|| format!("{name} is missing"))?;
        if tensor.dims() != shape {
            return Err(format!("{name} is of shape {:?}, expected {shape:?}", tensor.dims()));
        }
        let numbers = tensor.flatten_all().and_then(|tensor| tensor.to_vec1());
        numbers.map_err(|e| format!("{name}: {e}"))
    }

    /// The same tensors for candle's models.
    pub(crate) fn into_var_builder(self) -> VarBuilder<'static> {
        VarBuilder::from_tensors(self.0, DType::F32, &Device::Cpu)
    }
}

/// What stands before the names in the file: nothing, or words that end in a full stop.
fn prefix(names: &HashSet<String>) -> Result<String, String> {
    let prefixes = names.iter().filter_map(|name| name.strip_suffix(WORDS));
    let mut prefixes: Vec<&str> = prefixes.filter(|it| it.is_empty() || it.ends_with('.')).collect();
    prefixes.sort_unstable();
    match *prefixes.as_slice() {
        [one] => Ok(one.to_owned()),
        [] => Err(format!("{WORDS} is missing, expected it with or without a prefix")),
        [one, another, ..] => {
            Err(format!("{one}{WORDS} and {another}{WORDS} are both there, expected one encoder"))
        }
    }
}

/// The two vectors or the matrix and vector that make a part of the model.
#[derive(Clone, Copy)]
enum Part {
    /// From so many numbers to so many.
    Linear(usize, usize),
    /// Over so many numbers.
    LayerNorm(usize),
}

/// Takes tensors out of a file one by one.
struct Reader<'a> {
    file: SliceSafetensors<'a>,
    /// Names in the file that nothing has asked for yet.
    unused: HashSet<String>,
    prefix: String,
    tensors: HashMap<String, Tensor>,
}

impl Reader<'_> {
    fn embeddings(&mut self, it: &Architecture) -> Result<(), String> {
        let hidden = it.hidden;
        self.table(WORDS, it.vocabulary, hidden, 0)?;
        let rows = it.unused_positions + it.positions;
        self.table("embeddings.position_embeddings.weight", rows, hidden, it.unused_positions)?;
        let types = "embeddings.token_type_embeddings.weight";
        match it.names {
            Names::Bert => self.table(types, it.token_types, hidden, 0)?,
            Names::DistilBert => {
                let zeros = Tensor::zeros((it.token_types, hidden), DType::F32, &Device::Cpu);
                self.tensors.insert(types.to_owned(), zeros.map_err(|e| format!("{types}: {e}"))?);
            }
        }
        self.part("embeddings.LayerNorm", "embeddings.LayerNorm", Part::LayerNorm(hidden))
    }

    fn layer(&mut self, layer: usize, it: &Architecture) -> Result<(), String> {
        let square = Part::Linear(it.hidden, it.hidden);
        let up = Part::Linear(it.hidden, it.intermediate);
        let down = Part::Linear(it.intermediate, it.hidden);
        let norm = Part::LayerNorm(it.hidden);
        let parts = [
            ("attention.self.query", "attention.q_lin", square),
            ("attention.self.key", "attention.k_lin", square),
            ("attention.self.value", "attention.v_lin", square),
            ("attention.output.dense", "attention.out_lin", square),
            ("attention.output.LayerNorm", "sa_layer_norm", norm),
            ("intermediate.dense", "ffn.lin1", up),
            ("output.dense", "ffn.lin2", down),
            ("output.LayerNorm", "output_layer_norm", norm),
        ];
        for (bert, distilbert, part) in parts {
            let canonical = format!("encoder.layer.{layer}.{bert}");
            let stored = match it.names {
                Names::Bert => canonical.clone(),
                Names::DistilBert => format!("transformer.layer.{layer}.{distilbert}"),
            };
            self.part(&canonical, &stored, part)?;
        }
        Ok(())
    }

    /// Takes weight and bias.
    fn part(&mut self, canonical: &str, stored: &str, part: Part) -> Result<(), String> {
        let (weight, outputs) = match part {
            Part::Linear(inputs, outputs) => (vec![outputs, inputs], outputs),
            Part::LayerNorm(width) => (vec![width], width),
        };
        for (kind, first_name, shape) in [("weight", "gamma", weight), ("bias", "beta", vec![outputs])] {
            let mut name = format!("{}{stored}.{kind}", self.prefix);
            let legacy = format!("{}{stored}.{first_name}", self.prefix);
            if matches!(part, Part::LayerNorm(_))
                && !self.unused.contains(&name)
                && self.unused.contains(&legacy)
            {
                name = legacy;
            }
            let tensor = self.take(&name, &shape)?;
            self.tensors.insert(format!("{canonical}.{kind}"), tensor);
        }
        Ok(())
    }

    /// Takes a table of `rows` rows, called the same in every family, and leaves out its first `skipped`.
    fn table(&mut self, name: &str, rows: usize, width: usize, skipped: usize) -> Result<(), String> {
        let mut tensor = self.take(&format!("{}{name}", self.prefix), &[rows, width])?;
        if skipped > 0 {
            let used = tensor.narrow(0, skipped, rows - skipped).and_then(|used| used.copy());
            tensor = used.map_err(|e| format!("{name}: {e}"))?;
        }
        self.tensors.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// Takes one tensor by its name in the file. Shape and type are checked before anything is copied.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, String> {
        if !self.unused.remove(name) {
            return Err(format!("{name} is missing, expected a tensor of shape {shape:?}"));
        }
        let view = self.file.get(name).map_err(|e| format!("{name}: {e}"))?;
        if view.shape() != shape {
            return Err(format!("{name} is of shape {:?}, expected {shape:?}", view.shape()));
        }
        if !matches!(DType::try_from(view.dtype()), Ok(DType::F32 | DType::F16 | DType::BF16)) {
            return Err(format!("{name} is of type {:?}, expected F32, F16 or BF16", view.dtype()));
        }
        let tensor = self.file.load(name, &Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32));
        let tensor = tensor.map_err(|e| format!("{name}: {e}"))?;
        match first_not_finite(&tensor).map_err(|e| format!("{name}: {e}"))? {
            None => Ok(tensor),
            Some((at, number)) => {
                Err(format!("{name} holds {number} as number {at} from 0, expected finite numbers"))
            }
        }
    }

    /// Refuses a file whose encoder has tensors we know nothing of, such as a gate or a table of distances.
    fn refuse_unused(&self, it: &Architecture) -> Result<(), String> {
        /// Tables of constants which some versions of the reference implementation wrote into the file.
        const CONSTANTS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];
        let layers = match it.names {
            Names::Bert => "encoder.",
            Names::DistilBert => "transformer.",
        };
        let unknown = self.unused.iter().filter(|name| {
            name.strip_prefix(&self.prefix).is_some_and(|name| {
                (name.starts_with("embeddings.") || name.starts_with(layers)) && !CONSTANTS.contains(&name)
            })
        });
        match unknown.min() {
            None => Ok(()),
            Some(name) => {
                Err(format!("{name} has no place in a plain encoder of {} layers, expected none", it.layers))
            }
        }
    }
}

/// The first number that is infinite or none, and its place; with one, vectors would be none either, or silently wrong.
fn first_not_finite(tensor: &Tensor) -> candle_core::Result<Option<(usize, f32)>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { return Ok(None) };
    // What was just loaded lies in one piece.
    let numbers = storage.as_slice::<f32>()?.get(layout.start_offset()..).unwrap_or_default();
    let at = numbers.iter().position(|number| !number.is_finite());
    Ok(at.and_then(|at| Some((at, *numbers.get(at)?))))
}

#[cfg(test)]
mod tests;
