//! The fast forward pass: an encoder over weights packed at load, without padding and without temporaries.

use super::architecture::Architecture;
use super::tensors::Tensors;
use super::{Encoder, check_ids};
use crate::embedder::EmbedError;
use crate::kernels::{
    Batch, Converted, Format, HEAD_MULTIPLE, Heads, Lines, Norm, Packed, Place, SIZE_MULTIPLE, Scratch, Simd,
    Then, attend, convert, linear, normalise,
};
use std::sync::{Mutex, PoisonError};

/// An encoder in the number format `F`.
pub(super) struct Fused<F> {
    format: F,
    architecture: Architecture,
    /// One row per token of the vocabulary.
    words: Vec<f32>,
    /// One row per position, with the row of token type 0 added: a text by itself has no other type.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer<F>>,
    /// As many as there were passes at the same time, which is the number of workers.
    workspaces: Mutex<Vec<Workspace>>,
}

struct Layer<F> {
    query: Packed<F>,
    key: Packed<F>,
    value: Packed<F>,
    attended: Packed<F>,
    attention_norm: Norm,
    wide: Packed<F>,
    narrow: Packed<F>,
    norm: Norm,
}

/// The memory of a pass. Matrices are blocked but for keys and values.
struct Workspace {
    /// What goes from layer to layer.
    state: Lines,
    /// A sum before its normalisation.
    sum: Lines,
    query: Lines,
    key: Lines,
    value: Lines,
    attended: Lines,
    wide: Lines,
    converted: Converted,
    attention: Scratch,
}

impl Workspace {
    fn new() -> Self {
        let empty = || Lines::zeroed(0);
        Self {
            state: empty(),
            sum: empty(),
            query: empty(),
            key: empty(),
            value: empty(),
            attended: empty(),
            wide: empty(),
            converted: Converted::default(),
            attention: Scratch::default(),
        }
    }

    fn ensure<F: Format>(&mut self, rows: usize, architecture: &Architecture) {
        let (hidden, wide) = (rows * architecture.hidden, rows * architecture.intermediate);
        let matrices = [
            &mut self.state,
            &mut self.sum,
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.attended,
        ];
        for matrix in matrices {
            matrix.ensure(hidden);
        }
        self.wide.ensure(wide);
        self.converted.ensure::<F>(rows, hidden.max(wide));
    }
}

/// Whether the kernels can compute a model of these sizes: whole panels and whole words everywhere.
pub(super) fn takes(architecture: &Architecture) -> bool {
    architecture.hidden.is_multiple_of(SIZE_MULTIPLE)
        && architecture.intermediate.is_multiple_of(SIZE_MULTIPLE)
        && (architecture.hidden / architecture.heads).is_multiple_of(HEAD_MULTIPLE)
}

/// Packs the weights for the format. The error names the tensor at fault.
pub(super) fn build<F: Format>(
    architecture: &Architecture,
    tensors: &Tensors,
) -> Result<Box<dyn Encoder>, String> {
    let format = F::detect().ok_or("this processor lacks the instructions")?;
    Ok(Box::new(Fused::new(format, architecture, tensors)?))
}

impl<F: Format> Fused<F> {
    fn new(format: F, architecture: &Architecture, tensors: &Tensors) -> Result<Self, String> {
        let hidden = architecture.hidden;
        let words = tensors.get("embeddings.word_embeddings.weight", &[architecture.vocabulary, hidden])?;
        let mut positions =
            tensors.get("embeddings.position_embeddings.weight", &[architecture.positions, hidden])?;
        let types =
            tensors.get("embeddings.token_type_embeddings.weight", &[architecture.token_types, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(x, of_type)| *x += of_type);
        }
        let norm = norm(tensors, "embeddings.LayerNorm", architecture)?;
        let layers = (0..architecture.layers).map(|layer| Layer::new(tensors, architecture, layer));
        let layers = layers.collect::<Result<_, _>>()?;
        let architecture = architecture.clone();
        let workspaces = Mutex::default();
        Ok(Self { format, architecture, words, positions, norm, layers, workspaces })
    }

    /// The first sum: what each token's word and place contribute.
    fn look_up(&self, texts: &[&[u32]], batch: &Batch<F>, to: &mut [f32]) {
        let (hidden, lanes) = (self.architecture.hidden, F::S::LANES);
        for (text, (sequence, blocks)) in texts.iter().zip(batch.sequences()) {
            for block in blocks {
                for row in 0..block.rows {
                    let place = block.start - sequence.start + row;
                    let word = &self.words[text[place] as usize * hidden..][..hidden];
                    let position = &self.positions[place * hidden..][..hidden];
                    let chunks = word.chunks_exact(lanes).zip(position.chunks_exact(lanes));
                    for (chunk, (word, position)) in chunks.enumerate() {
                        let to = &mut to[block.chunk::<F::S>(hidden, row, chunk)..][..lanes];
                        for ((to, x), y) in to.iter_mut().zip(word).zip(position) {
                            *to = x + y;
                        }
                    }
                }
            }
        }
    }

    fn pass(&self, texts: &[&[u32]], w: &mut Workspace) -> Vec<f32> {
        let (format, hidden, wide) = (self.format, self.architecture.hidden, self.architecture.intermediate);
        let batch = &Batch::<F>::new(texts.iter().map(|text| text.len()));
        w.ensure::<F>(batch.rows(), &self.architecture);
        self.look_up(texts, batch, &mut w.sum);
        normalise(format, batch, &w.sum, &self.norm, &mut w.state);

        for layer in &self.layers {
            let a = convert(format, batch, &w.state, hidden, &mut w.converted);
            linear(format, batch, a, &layer.query, Place::Blocked(&mut w.query), Then::Nothing);
            linear(format, batch, a, &layer.key, Place::RowMajor(&mut w.key), Then::Nothing);
            linear(format, batch, a, &layer.value, Place::RowMajor(&mut w.value), Then::Nothing);

            let heads = Heads {
                queries: &w.query,
                keys: &w.key,
                values: &w.value,
                heads: self.architecture.heads,
                head: hidden / self.architecture.heads,
            };
            attend(format, batch, &heads, &mut w.attention, &mut w.attended);
            let a = convert(format, batch, &w.attended, hidden, &mut w.converted);
            linear(format, batch, a, &layer.attended, Place::Blocked(&mut w.sum), Then::Add(&w.state));
            normalise(format, batch, &w.sum, &layer.attention_norm, &mut w.state);

            let a = convert(format, batch, &w.state, hidden, &mut w.converted);
            let activate = Then::Activate(self.architecture.activation);
            linear(format, batch, a, &layer.wide, Place::Blocked(&mut w.wide), activate);
            let a = convert(format, batch, &w.wide, wide, &mut w.converted);
            linear(format, batch, a, &layer.narrow, Place::Blocked(&mut w.sum), Then::Add(&w.state));
            normalise(format, batch, &w.sum, &layer.norm, &mut w.state);
        }
        batch.unblocked(&w.state, hidden)
    }
}

impl<F: Format> Encoder for Fused<F> {
    fn states(&self, texts: &[&[u32]]) -> Result<Vec<f32>, EmbedError> {
        check_ids(&self.architecture, texts)?;
        let free = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = free().pop();
        let mut workspace = kept.unwrap_or_else(Workspace::new);
        let states = self.pass(texts, &mut workspace);
        free().push(workspace);
        Ok(states)
    }
}

impl<F: Format> Layer<F> {
    fn new(tensors: &Tensors, architecture: &Architecture, layer: usize) -> Result<Self, String> {
        let (hidden, wide) = (architecture.hidden, architecture.intermediate);
        let layer = format!("encoder.layer.{layer}");
        let scaled = |part: &str, outputs: usize, inputs: usize, scale: f32| {
            let mut weights = tensors.get(&format!("{layer}.{part}.weight"), &[outputs, inputs])?;
            let mut bias = tensors.get(&format!("{layer}.{part}.bias"), &[outputs])?;
            if scale != 1.0 {
                weights.iter_mut().chain(&mut bias).for_each(|x| *x *= scale);
            }
            Ok::<_, String>(Packed::new(&weights, bias, inputs))
        };
        let linear = |part: &str, outputs, inputs| scaled(part, outputs, inputs, 1.0);
        // The scores' scale is in the queries already.
        let scale = 1.0 / ((hidden / architecture.heads) as f32).sqrt();
        Ok(Self {
            query: scaled("attention.self.query", hidden, hidden, scale)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attended: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm(tensors, &format!("{layer}.attention.output.LayerNorm"), architecture)?,
            wide: linear("intermediate.dense", wide, hidden)?,
            narrow: linear("output.dense", hidden, wide)?,
            norm: norm(tensors, &format!("{layer}.output.LayerNorm"), architecture)?,
        })
    }
}

fn norm(tensors: &Tensors, name: &str, architecture: &Architecture) -> Result<Norm, String> {
    let part = |part: &str| tensors.get(&format!("{name}.{part}"), &[architecture.hidden]);
    Ok(Norm { gain: part("weight")?, bias: part("bias")?, epsilon: architecture.layer_norm_eps as f32 })
}
