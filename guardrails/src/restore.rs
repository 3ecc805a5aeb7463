//! Where originals come back: which entities are restored, and into what.

use crate::guard::Class;
use crate::{pii, secrets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Into what the originals of an entity are put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restore {
    /// Into what people read, and not into tool calls.
    #[default]
    Text,
    /// Into what people read and into tool calls.
    Tools,
    /// Nowhere: the placeholder stays.
    Never,
}

/// What is restored, by entity. Entities that are not named have the one of `default`, which is `text` if it is not
/// given. Secrets are never restored, whatever this says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Restores(#[schemars(with = "BTreeMap<String, Restore>")] Map);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Restore>", into = "BTreeMap<String, Restore>")]
struct Map {
    others: Option<Restore>,
    named: BTreeMap<String, Restore>,
}

/// The key for all entities that have none of their own.
const OTHERS: &str = "default";

impl Restores {
    /// Says it for one entity.
    pub fn set(&mut self, entity: &str, restore: Restore) {
        self.0.named.insert(entity.to_owned(), restore);
    }

    /// Says it for all entities for which nothing else is said.
    pub fn set_default(&mut self, restore: Restore) {
        self.0.others = Some(restore);
    }

    /// What holds for an entity.
    pub fn of(&self, class: Class, entity: &str) -> Restore {
        match class {
            Class::Secret | Class::Content => Restore::Never,
            Class::Pii => self.0.named.get(entity).copied().or(self.0.others).unwrap_or_default(),
        }
    }
}

impl TryFrom<BTreeMap<String, Restore>> for Map {
    type Error = String;

    fn try_from(mut named: BTreeMap<String, Restore>) -> Result<Map, String> {
        let others = named.remove(OTHERS);
        let is_none = |name: &&String| *name == secrets::ENTITY || pii::entity(name).is_none();
        match named.keys().find(is_none) {
            Some(name) => Err(format!("'{name}' is no entity of personal data; expected one, or '{OTHERS}'")),
            None => Ok(Map { others, named }),
        }
    }
}

impl From<Map> for BTreeMap<String, Restore> {
    fn from(Map { others, mut named }: Map) -> Self {
        named.extend(others.map(|restore| (OTHERS.to_owned(), restore)));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_has_the_default_and_secrets_are_never_restored() {
        let rules: Restores = serde_json::from_str(r#"{"default":"tools","US_SSN":"never"}"#).unwrap();
        assert_eq!(rules.of(Class::Pii, "US_SSN"), Restore::Never);
        assert_eq!(rules.of(Class::Pii, "EMAIL_ADDRESS"), Restore::Tools);
        assert_eq!(rules.of(Class::Secret, "SECRET"), Restore::Never);
        assert_eq!(Restores::default().of(Class::Pii, "US_SSN"), Restore::Text);
        let written = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Restores>(&written).unwrap(), rules);
    }

    #[test]
    fn an_entity_that_is_none_is_refused_by_name() {
        for name in ["EMAIL", "SECRET"] {
            let error = serde_json::from_str::<Restores>(&format!(r#"{{"{name}":"text"}}"#)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
