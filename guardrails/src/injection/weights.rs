//! What was trained, as the bytes that are shipped: little-endian, lexical weights and vectors in a byte each.

use super::features::COUNT;
use super::ngrams::{Lexical, SIZE};

/// Starts every file; the last byte is the version.
const MAGIC: &[u8; 8] = b"SLUINJ\0\x02";

/// What is weighed apart: texts of users, those under a system prompt that keeps something back, and what tools and documents
/// say.
pub(crate) const KINDS: usize = 3;

/// One logistic regression over the features, with what it takes to act on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stack {
    pub(crate) weights: [f32; COUNT],
    pub(crate) bias: f32,
    /// Probabilities from which on a text is flagged, and blocked.
    pub(crate) flag: f32,
    pub(crate) block: f32,
}

/// A head on the vector of one embedding model, and vectors of known attacks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Meaning {
    /// The embedding model that the vectors come from.
    pub(crate) model: String,
    pub(crate) head: Vec<f32>,
    pub(crate) bias: f32,
    /// Of unit length before they were rounded.
    pub(crate) bank: Vec<Vec<i8>>,
    /// For what users say with no system prompt that keeps something back.
    pub(crate) stack: Stack,
}

/// Everything that was trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) wording: Lexical,
    pub(crate) units: Lexical,
    pub(crate) stacks: [Stack; KINDS],
    pub(crate) meaning: Option<Meaning>,
}

impl Weights {
    /// As bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for model in [&self.wording, &self.units] {
            floats(&mut out, &[model.scale, model.bias]);
            out.extend(model.weights.iter().map(|weight| weight.to_le_bytes()[0]));
        }
        number(&mut out, COUNT);
        self.stacks.iter().for_each(|stack| stack.write(&mut out));
        number(&mut out, usize::from(self.meaning.is_some()));
        if let Some(meaning) = &self.meaning {
            number(&mut out, meaning.model.len());
            out.extend(meaning.model.as_bytes());
            number(&mut out, meaning.head.len());
            floats(&mut out, &meaning.head);
            floats(&mut out, &[meaning.bias]);
            number(&mut out, meaning.bank.len());
            out.extend(meaning.bank.iter().flatten().map(|value| value.to_le_bytes()[0]));
            meaning.stack.write(&mut out);
        }
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Weights, String> {
        let mut read = Reader { bytes };
        if read.take(MAGIC.len())? != MAGIC {
            return Err("no weights of this version".to_owned());
        }
        let (wording, units) = (read.lexical()?, read.lexical()?);
        let count = read.number()?;
        if count != COUNT {
            return Err(format!("expected {COUNT} features, found {count}"));
        }
        let stacks = read.stacks()?;
        let meaning = if read.number()? == 1 { Some(read.meaning()?) } else { None };
        if !read.bytes.is_empty() {
            return Err(format!("{} bytes too many", read.bytes.len()));
        }
        Ok(Weights { wording, units, stacks, meaning })
    }
}

impl Stack {
    fn write(&self, out: &mut Vec<u8>) {
        floats(out, &self.weights);
        floats(out, &[self.bias, self.flag, self.block]);
    }

    fn read(read: &mut Reader<'_>) -> Result<Stack, String> {
        let mut weights = [0.0; COUNT];
        for weight in &mut weights {
            *weight = read.float()?;
        }
        Ok(Stack { weights, bias: read.float()?, flag: read.float()?, block: read.float()? })
    }
}

fn floats(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn number(out: &mut Vec<u8>, value: usize) {
    out.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("they end too early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn four(&mut self) -> Result<[u8; 4], String> {
        self.take(4)?.try_into().map_err(|_| "they end too early".to_owned())
    }

    fn float(&mut self) -> Result<f32, String> {
        let value = f32::from_le_bytes(self.four()?);
        if value.is_finite() { Ok(value) } else { Err("a weight is no number".to_owned()) }
    }

    fn number(&mut self) -> Result<usize, String> {
        Ok(u32::from_le_bytes(self.four()?) as usize)
    }

    fn signed(&mut self, length: usize) -> Result<Vec<i8>, String> {
        Ok(self.take(length)?.iter().map(|byte| i8::from_le_bytes([*byte])).collect())
    }

    fn stacks(&mut self) -> Result<[Stack; KINDS], String> {
        Ok([Stack::read(self)?, Stack::read(self)?, Stack::read(self)?])
    }

    fn lexical(&mut self) -> Result<Lexical, String> {
        let (scale, bias) = (self.float()?, self.float()?);
        Ok(Lexical { weights: self.signed(SIZE)?, scale, bias })
    }

    fn meaning(&mut self) -> Result<Meaning, String> {
        let length = self.number()?;
        let model = String::from_utf8(self.take(length)?.to_vec()).map_err(|e| e.to_string())?;
        let dimensions = self.number()?;
        let head = (0..dimensions).map(|_| self.float()).collect::<Result<_, _>>()?;
        let bias = self.float()?;
        let rows = self.number()?;
        let bank = (0..rows).map(|_| self.signed(dimensions)).collect::<Result<_, _>>()?;
        Ok(Meaning { model, head, bias, bank, stack: Stack::read(self)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_survive_being_written_and_damaged_ones_are_refused() {
        let lexical = Lexical { weights: vec![-3; SIZE], scale: 0.5, bias: -1.0 };
        let stack = Stack { weights: [0.25; COUNT], bias: -2.0, flag: 0.5, block: 0.9 };
        let meaning = Meaning {
            model: "some".to_owned(),
            head: vec![0.5; 3],
            bias: 0.1,
            bank: vec![vec![1, -1, 127]],
            stack: stack.clone(),
        };
        let weights = Weights {
            wording: lexical.clone(),
            units: lexical,
            stacks: [stack.clone(), stack.clone(), stack],
            meaning: Some(meaning),
        };
        let bytes = weights.to_bytes();
        assert_eq!(Weights::from_bytes(&bytes).unwrap(), weights);
        assert!(Weights::from_bytes(&bytes[..bytes.len() - 1]).unwrap_err().contains("early"));
        assert!(Weights::from_bytes(&[&bytes[..], &[0]].concat()).unwrap_err().contains("too many"));
        assert!(Weights::from_bytes(b"SLUINJ\0\x01").unwrap_err().contains("version"));
        assert!(Weights::from_bytes(b"").is_err());
    }
}
