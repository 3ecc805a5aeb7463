//! The top-level fields of a request, of which a format notes what it has said, so that nothing is lost unsaid.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{EncodeError, Encoding};

/// Fields that change nothing about what is answered: where a format has no place for them, nobody misses them.
const INDIFFERENT: &[&str] = &[
    "metadata",
    "model",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "user",
];

/// The fields of a request on their way into another format.
pub struct Fields<'a> {
    all: &'a Map<String, Value>,
    said: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Fields<'a> {
    /// All of a request, none of it said yet.
    pub fn new(all: &'a Map<String, Value>) -> Self {
        Self { all, said: RefCell::default() }
    }

    /// A field that this format has a place for; `null` is as good as absent.
    pub fn take(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.all.get_key_value(name)?;
        self.said.borrow_mut().insert(name);
        (!value.is_null()).then_some(value)
    }

    /// What changes the meaning of a request and has no word in an API that gives one answer in text.
    ///
    /// # Errors
    /// [`EncodeError::Unsupported`] where another number or kind of answers is wanted.
    pub fn one_answer(&self) -> Result<(), EncodeError> {
        if self.take("n").is_some_and(|n| n.as_u64() != Some(1)) {
            let message = "'n' must be 1 for this target: its API gives one answer".to_owned();
            return Err(EncodeError::Unsupported { param: "n".to_owned(), message });
        }
        if self.take("modalities").is_some_and(|kinds| *kinds != json!(["text"])) {
            let message = "'modalities' must be [\"text\"] for this target".to_owned();
            return Err(EncodeError::Unsupported { param: "modalities".to_owned(), message });
        }
        Ok(())
    }

    /// Decides about the rest: left out and noted in `dropped`, refused, or given back to be sent as it is.
    ///
    /// # Errors
    /// [`EncodeError::Unsupported`] where the route is strict.
    pub fn rest(
        &self,
        how: &Encoding<'_>,
        dropped: &mut Vec<String>,
    ) -> Result<Vec<(&'a str, &'a Value)>, EncodeError> {
        let said = self.said.borrow();
        let mut passed = Vec::new();
        for (name, value) in self.all {
            let matters = !value.is_null() && !INDIFFERENT.contains(&name.as_str());
            if matters && !said.contains(name.as_str()) && how.leave_out(name, dropped)? {
                passed.push((name.as_str(), value));
            }
        }
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DropParams;
    use crate::provider_api::Quirks;

    #[test]
    fn what_was_not_said_is_dropped_refused_or_passed_as_the_route_says() {
        let request = json!({ "model": "m", "user": "u", "seed": 7, "logprobs": null, "temperature": 1 });
        let fields = request.as_object().unwrap();
        let rest = |drop_params| {
            let (quirks, settings, mut dropped) = (Quirks::default(), Default::default(), Vec::new());
            let how =
                Encoding { model: "m", stream: false, quirks: &quirks, settings: &settings, drop_params };
            let fields = Fields::new(fields);
            assert_eq!(fields.take("temperature"), Some(&json!(1)));
            assert_eq!(fields.take("top_p"), None);
            let rest = fields.rest(&how, &mut dropped).map(|rest| rest.len());
            (rest, dropped)
        };
        assert_eq!(rest(DropParams::Drop), (Ok(0), vec!["seed".to_owned()]));
        assert_eq!(rest(DropParams::Pass), (Ok(1), vec![]));
        assert_eq!(rest(DropParams::Strict), (Err(EncodeError::unsupported("seed")), vec![]));
    }
}
