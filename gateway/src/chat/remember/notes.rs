//! What is kept of a request beside its answer, where the operator wants to be able to export answers: the redacted request,
//! as a line of an import spells it. Nothing else in the cache says what was asked.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sluice_engine::{Entry, Unavailable};

use super::{Asked, Memory};
use crate::chat::keys::{NOT_PART_OF_THE_QUESTION, label};
use crate::chat::labels::words;
use crate::chat::stored;

/// Longer requests are not kept: a long conversation is asked once, and would take the room of many answers.
const MOST_BYTES: usize = 16 * 1024;

/// The request as a line of an import without its answer; nothing of one that can't be written so, or is too long.
pub(super) fn write(asked: &Asked<'_>, text: Option<&str>) -> Bytes {
    let note = text.and_then(|text| line(asked, text)).map(|line| line.to_string());
    note.filter(|note| note.len() <= MOST_BYTES).map_or_else(Bytes::new, Bytes::from)
}

fn line(asked: &Asked<'_>, text: &str) -> Option<Value> {
    let fields = asked.request.fields();
    // An import has one answer a line.
    fields.get("n").is_none_or(|n| n.is_null() || n.as_u64() == Some(1)).then_some(())?;
    let messages = fields.get("messages")?.as_array()?;
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("tenant", json!(asked.call.caller.tenant));
    put("model", json!(asked.request.model));
    match messages.as_slice() {
        [user] if says(user, "user", text) => put("prompt", json!(text)),
        [system, user] if says(user, "user", text) && plain(system, "system").is_some() => {
            put("system", json!(plain(system, "system")));
            put("prompt", json!(text));
        }
        all => put("messages", json!(all)),
    }
    let counts = |(name, value): &(&String, &Value)| {
        !NOT_PART_OF_THE_QUESTION.contains(&name.as_str()) && *name != "n" && !value.is_null()
    };
    let parameters: Map<String, Value> =
        fields.iter().filter(counts).map(|(name, value)| (name.clone(), value.clone())).collect();
    if !parameters.is_empty() {
        put("parameters", Value::Object(parameters));
    }
    if let Some(namespace) = &asked.wishes.namespace {
        put("namespace", json!(namespace));
    }
    if !asked.wishes.tags.is_empty() {
        put("tags", json!(asked.wishes.tags));
    }
    Some(Value::Object(line))
}

/// The words of a message that holds nothing but a role and a text.
fn plain<'m>(message: &'m Value, role: &str) -> Option<&'m str> {
    let members = message.as_object().filter(|members| members.len() == 2)?;
    members.get("role")?.as_str().filter(|own| *own == role)?;
    members.get("content")?.as_str()
}

fn says(message: &Value, role: &str, text: &str) -> bool {
    plain(message, role) == Some(text)
}

/// An answer that can be written as a line of an import.
pub(in crate::chat) struct Kept(std::sync::Arc<Entry>);

impl Memory {
    /// The answers whose requests were kept, of all tenants or of one, and how many others there are.
    ///
    /// # Errors
    /// They are in a shared store that is not to be had.
    pub(in crate::chat) async fn kept(
        &self,
        tenant: Option<&str>,
    ) -> Result<(Vec<Kept>, usize), Unavailable> {
        let digest = tenant.map(|tenant| label(&self.hash_key, "tenant", tenant));
        let is_its = |entry: &Entry| {
            digest.as_ref().is_none_or(|digest| stored::labels(entry.payload()).any(|label| label == digest))
        };
        let fresh = |entry: &Entry| {
            stored::fresh_for(entry.payload())
                .is_some_and(|fresh_for| entry.age_at(self.clock.now()) < fresh_for)
        };
        let mut entries = match self.cache.shared_entries().await {
            Some(shared) => shared?,
            None => self.cache.entries(),
        };
        entries.retain(|entry| fresh(entry) && is_its(entry));
        let all = entries.len();
        entries.retain(|entry| !entry.note.is_empty());
        // The oldest first: what an import stores later counts as the newer.
        entries.sort_by_key(|entry| entry.created);
        let others = all - entries.len();
        Ok((entries.into_iter().map(Kept).collect(), others))
    }

    /// The line of an answer, with the time that is left to it in whole seconds; none if that is over.
    pub(in crate::chat) fn line_of(&self, kept: &Kept) -> Option<String> {
        let entry = &kept.0;
        let Value::Object(mut line) = serde_json::from_slice(&entry.note).ok()? else { return None };
        let left = stored::fresh_for(entry.payload())?.checked_sub(entry.age_at(self.clock.now()))?;
        line.insert("answer".to_owned(), json!(words(entry.payload())?));
        line.insert("ttl".to_owned(), json!(left.as_secs()));
        (left.as_secs() > 0).then(|| format!("{}\n", Value::Object(line)))
    }
}
