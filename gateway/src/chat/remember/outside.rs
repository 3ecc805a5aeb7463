//! What is said of answers from outside: users judge hits, operators have answers forgotten.

use sluice_engine::{Entry, Unavailable};

use super::{Asked, Memory};
use crate::chat::keys::label;
use crate::chat::stored;

/// What an operator chooses answers by.
pub struct Selector<'a> {
    /// `entry`, or what a label stands for: `tag`, `namespace`, `model`, `tenant`.
    pub kind: &'static str,
    /// Its value.
    pub value: &'a str,
}

impl Memory {
    /// What a tenant may call a semantic hit by; none if nothing can be learnt from a verdict.
    pub(super) fn hit_name(&self, tenant: &str, id: u64) -> Option<String> {
        let mut hasher = blake3::Hasher::new_keyed(&self.hash_key);
        hasher.update(b"sluice hit v1").update(&self.process.to_le_bytes());
        hasher.update(&id.to_le_bytes()).update(tenant.as_bytes());
        let seal = hasher.finalize().to_hex();
        (id != u64::MAX).then(|| format!("hit_{id}_{}", &seal[..16]))
    }

    /// Takes a verdict on the hit of this name; `false` if this tenant had no such hit, or it can't be judged any more.
    pub fn judged(&self, tenant: &str, name: &str, right: bool) -> bool {
        let number = name.strip_prefix("hit_").and_then(|rest| rest.split_once('_')?.0.parse().ok());
        number.is_some_and(|id| {
            self.hit_name(tenant, id).is_some_and(|own| own == name) && self.cache.feedback(id, right)
        })
    }

    /// Forgets the answers that are chosen, or only counts them; says how many.
    ///
    /// # Errors
    /// They are in a shared store that is not to be had.
    pub async fn forget(&self, selector: &Selector<'_>, dry_run: bool) -> Result<u64, Unavailable> {
        let Selector { kind, value } = *selector;
        let digest = label(&self.hash_key, kind, value);
        let tag = if kind == "entry" { value } else { &digest };
        if let Some(forgotten) = self.cache.forget_tagged(Some(tag), dry_run).await {
            return forgotten;
        }
        let chosen = |entry: &Entry| {
            let mut labels = stored::labels(entry.payload());
            let name = labels.next();
            if kind == "entry" { name == Some(value) } else { labels.any(|label| label == digest) }
        };
        Ok(self.cache.forget(&chosen, dry_run))
    }

    /// What the answer to this request can be forgotten by: digests, since an operator's words may be anybody's secrets.
    pub(super) fn labels(&self, asked: &Asked<'_>) -> Vec<String> {
        let Asked { call, request, wishes, .. } = asked;
        let fixed = [("tenant", call.caller.tenant.as_str()), ("model", request.model.as_str())];
        let namespace = wishes.namespace.as_deref().map(|namespace| ("namespace", namespace));
        let tags = wishes.tags.iter().map(|tag| ("tag", tag.as_str()));
        let all = fixed.into_iter().chain(namespace).chain(tags);
        all.map(|(kind, value)| label(&self.hash_key, kind, value)).collect()
    }
}
