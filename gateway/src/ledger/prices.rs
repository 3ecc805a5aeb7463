//! The price table: `catalogue/prices.yaml`, US dollars per million tokens.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::wire::usage::Usage;

/// A billionth of a US dollar.
pub type Nanodollars = u64;

/// Prices by provider kind and model.
pub struct Prices {
    models: BTreeMap<(String, String), Price>,
}

struct Price {
    /// Nano-dollars per million tokens.
    input: u64,
    /// Of input that the provider read from its own prompt cache.
    cached_input: u64,
    output: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "source")]
    _source: serde_json::Value,
    #[serde(rename = "date")]
    _date: String,
    models: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: String,
    model: String,
    input: String,
    output: String,
    #[serde(default)]
    cached_input: Option<String>,
    #[serde(default, rename = "note")]
    _note: Option<String>,
}

impl Prices {
    /// The table that ships with this binary.
    ///
    /// # Errors
    /// What is wrong with the file; a test makes sure that it is right.
    pub fn shipped() -> Result<Self, String> {
        Self::parse(include_str!("../../catalogue/prices.yaml"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = serde_saphyr::from_str(text)
            .map_err(|e| format!("catalogue/prices.yaml: {}", e.without_snippet()))?;
        let mut models = BTreeMap::new();
        for row in table.models {
            let price = |text: &str| {
                dollars(text)
                    .ok_or_else(|| format!("catalogue/prices.yaml: {}: '{text}' is no price", row.model))
            };
            let price = Price {
                input: price(&row.input)?,
                cached_input: price(row.cached_input.as_ref().unwrap_or(&row.input))?,
                output: price(&row.output)?,
            };
            models.insert((row.provider, row.model), price);
        }
        Ok(Self { models })
    }

    /// What this usage costs; none where the model has no price, which is not the same as costing nothing.
    pub fn cost(&self, kind: &str, model: &str, usage: &Usage) -> Option<Nanodollars> {
        let price = self.models.get(&(kind.to_owned(), model.to_owned()))?;
        let cached = usage.cached_tokens().min(usage.prompt_tokens);
        let total = u128::from(usage.prompt_tokens - cached) * u128::from(price.input)
            + u128::from(cached) * u128::from(price.cached_input)
            + u128::from(usage.completion_tokens) * u128::from(price.output);
        u64::try_from(total.div_ceil(1_000_000)).ok()
    }

    /// The models priced for a provider kind.
    pub fn models<'p>(&'p self, kind: &'p str) -> impl Iterator<Item = &'p str> {
        self.models.keys().filter(move |(provider, _)| provider == kind).map(|(_, model)| model.as_str())
    }
}

/// A decimal number of dollars, as nano-dollars; no floating point on the way.
fn dollars(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_become_whole_nanodollars() {
        assert_eq!(dollars("0.15"), Some(150_000_000));
        assert_eq!(dollars("10"), Some(10_000_000_000));
        for wrong in ["", ".5", "1.0000000001", "-1", "1,5", "free", "1.-5"] {
            assert_eq!(dollars(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_shipped_table_prices_ten_models_and_the_mock() {
        let prices = Prices::shipped().unwrap();
        assert!(prices.models.len() >= 11);
        let usage = Usage { prompt_tokens: 1_000_000, completion_tokens: 0, ..Usage::default() };
        assert!(prices.cost("mock", "mock", &usage).unwrap() > 0);
        assert_eq!(prices.cost("mock", "unknown", &usage), None);
    }
}
