//! The vault of one request: which placeholder stands for which value.
//!
//! The same value gets the same placeholder throughout a request, numbered by first appearance, so that a
//! conversation sent again has the same bytes and a provider's prompt cache keeps working.

mod decide;

use crate::channel::{Channel, Reading};
use crate::guard::{Class, Finding, Guard};
use crate::placeholder;
use crate::policy::{Operator, Strictest, Survey};
use crate::proof::Proof;
use crate::restore::{Restore, Restores};
use crate::stream::{Rehydrator, Table};
use crate::text_file::TextFile;
use crate::trail::{Decision, Origins, Trail};
use crate::{confine, json, pii};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

mod given;

/// How often a text is read for what replacements have shown; a bound against texts made to take many rounds.
const ROUNDS: usize = 16;

/// Placeholders issued for one request, and their originals. Never logged: its `Debug` prints counts.
#[derive(Default)]
pub struct Vault {
    entries: Vec<Entry>,
    /// By entity and normalised value.
    index: HashMap<(&'static str, String), usize>,
    /// The highest number in use, by entity.
    highest: BTreeMap<&'static str, u64>,
    pub(crate) trail: Trail,
    /// How often something was found that the policy only logs, by entity.
    logged: BTreeMap<&'static str, usize>,
    /// How often something stayed that is for in-house targets alone, by entity.
    routed: BTreeMap<&'static str, usize>,
    /// How often something was found of which it is only tried what the policy says, by entity and that.
    shadowed: BTreeMap<(&'static str, Operator), usize>,
    /// Entities of which the request itself names one without a number.
    plain: BTreeSet<&'static str>,
    restores: Restores,
    /// What has a placeholder, while a request is read again for it.
    known: Option<Proof>,
    /// What others found, by the text it stands in, while it is replaced.
    given: Option<HashMap<String, Vec<Finding>>>,
    /// Entities that others find.
    foreign: BTreeSet<&'static str>,
    /// Who speaks in the text that is read.
    pub(crate) channel: Channel,
    /// Whether it matters who speaks.
    tells_channels: bool,
    /// A request that is read for the values that stand in several channels, and what came of it.
    survey: Option<Survey>,
    strictest: Option<Strictest>,
}

struct Entry {
    entity: &'static str,
    class: Class,
    /// What stands for it: a placeholder, or a mark or mask that is not restored.
    placeholder: String,
    restored: bool,
    original: String,
    /// The rule that found it first, and how likely it was then.
    rule: &'static str,
    score: f32,
}

/// The policy refuses a text because of what is in it. Names the kind, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {entity} (rule {rule}), which the policy blocks")]
pub struct Blocked {
    /// Personal data or secret.
    pub class: Class,
    /// The entity's name.
    pub entity: &'static str,
    /// The rule that found it.
    pub rule: &'static str,
}

/// Where originals are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Into plain text: as they are.
    Text,
    /// Into the plain input of a tool: as they are, if tools may have them.
    Tool,
    /// Into the text of a JSON document (a tool call's arguments): escaped as within a JSON string, if tools may have
    /// them.
    Json,
}

impl Vault {
    /// An empty vault.
    pub fn new() -> Vault {
        Vault::default()
    }

    /// From now on every decision is kept, for [`Vault::decisions`].
    pub fn keep_decisions(&mut self) {
        self.trail.begin();
    }

    /// Takes the decisions so far, those of a text that was refused, too.
    pub fn decisions(&mut self) -> Vec<Decision> {
        self.trail.take()
    }

    /// What must not stand in anything that is sent; none if nothing was replaced.
    pub fn proof(&self) -> Option<Proof> {
        let originals = self.entries.iter().map(|entry| (entry.entity, entry.original.as_str()));
        (!self.is_empty()).then(|| Proof::new(originals, self.issued().map(str::to_owned).collect()))
    }

    /// Notes the placeholders a user wrote: numbering starts above them, so they are never restored. Call it for
    /// every string of a request before the first is redacted.
    pub fn reserve(&mut self, text: &str) {
        if let Some(file) = TextFile::read(text) {
            self.reserve(&file.text);
        }
        for (entity, number) in placeholder::spelled(text) {
            match number {
                Some(number) => {
                    let highest = self.highest.entry(entity).or_default();
                    *highest = number.max(*highest);
                }
                None => {
                    self.plain.insert(entity);
                }
            }
        }
    }

    /// What is put back, and into what. Without it everything but secrets, and into text alone.
    pub fn restore_by(&mut self, restores: Restores) {
        self.restores = restores;
    }

    /// [`Vault::reserve`] for every string and key of a JSON value.
    pub fn reserve_json(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.reserve(text),
            Value::Array(items) => items.iter().for_each(|item| self.reserve_json(item)),
            Value::Object(map) => map.iter().for_each(|(key, item)| {
                self.reserve(key);
                self.reserve_json(item);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Replaces what `guard` finds in `text`; `None` if it finds nothing. Redacting the result changes nothing.
    ///
    /// # Errors
    /// [`Blocked`] if the policy blocks a class that was found.
    pub fn redact(&mut self, guard: &Guard, text: &str) -> Result<Option<String>, Blocked> {
        self.redact_labelled(guard, text, "")
    }

    /// [`Vault::redact`] for a text that is the value of something named `label`, which counts as context.
    ///
    /// # Errors
    /// As [`Vault::redact`].
    pub fn redact_labelled(
        &mut self,
        guard: &Guard,
        text: &str,
        label: &str,
    ) -> Result<Option<String>, Blocked> {
        if self.survey.is_some() {
            self.look_over(guard, text, label);
            return Ok(None);
        }
        self.reserve(text);
        let again = match (&self.given, &self.known) {
            (Some(given), _) => Some(given.get(text).cloned().unwrap_or_default()),
            (None, Some(known)) => Some(self.repeated(known, text)),
            (None, None) => None,
        };
        if again.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let mut is_again = again.is_some();
        let (came, mut origins) =
            if is_again { self.trail.kept(text) } else { (Cow::Borrowed(text), Origins::default()) };
        self.trail.next_text();
        let (mut found, staying) = match again {
            Some(again) => self.replaceable(guard, text, again),
            None => guard.examine(text, label, self.verdicts(guard, text)),
        };
        let (mut routed, logged) = confine::part(staying, self.verdicts(guard, text));
        self.note(guard, text, (&came, &origins), &logged, false);
        self.count(guard, text, &logged);
        let mut redacted: Option<String> = None;
        // A replacement moves context closer, which may show more; the second round rarely finds anything.
        for _ in 0..ROUNDS {
            if found.is_empty() {
                break;
            }
            let now = redacted.as_deref().unwrap_or(text);
            self.note(guard, now, (&came, &origins), &found, true);
            self.refuse(guard, now, &found, is_again)?;
            is_again = false;
            let next = self.operate(guard, now, &found);
            origins.replaced(&self.trail.parts);
            let (rest, staying) = guard.examine(&next, label, self.verdicts(guard, &next));
            (found, routed) = (rest, confine::part(staying, self.verdicts(guard, &next)).0);
            redacted = Some(next);
        }
        self.confine(guard, redacted.as_deref().unwrap_or(text), (&came, &origins), &routed);
        if redacted.is_some() || is_again {
            self.trail.keep(&came, origins);
        }
        Ok(redacted)
    }

    /// Where values that have a placeholder stand in a text.
    fn repeated(&self, known: &Proof, text: &str) -> Vec<Finding> {
        let places = known.places(text).into_iter().map(|(number, span)| {
            let &Entry { entity, rule, class, score, .. } = &self.entries[number];
            Finding { entity, rule, class, span, score }
        });
        places.collect()
    }

    /// Replaces resolved findings, left to right.
    fn operate(&mut self, guard: &Guard, text: &str, found: &[Finding]) -> String {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        self.trail.parts.clear();
        for finding in found {
            out.push_str(&text[from..finding.span.start]);
            let begun = out.len();
            out.push_str(self.issue(guard, finding, text));
            self.trail.replaced(&finding.span, out.len() - begun);
            from = finding.span.end;
        }
        out.push_str(&text[from..]);
        out
    }

    /// What stands for a value: if nothing does yet, a new placeholder, or what the policy says instead of one.
    fn issue(&mut self, guard: &Guard, finding: &Finding, text: &str) -> &str {
        let (treatment, original) = (*self.verdicts(guard, text).of(finding), &text[finding.span.clone()]);
        let key = (finding.entity, pii::normalised(finding.entity, original));
        let at = *self.index.entry(key).or_insert_with(|| {
            let mark = guard.plan.mark(finding.entity, &treatment, original);
            let restored = mark.is_none() && finding.class == Class::Pii;
            let placeholder = mark.unwrap_or_else(|| {
                let highest = self.highest.entry(finding.entity).or_default();
                *highest += 1;
                placeholder::write(finding.entity, *highest)
            });
            self.entries.push(Entry {
                entity: finding.entity,
                class: finding.class,
                placeholder,
                restored,
                original: original.to_owned(),
                rule: finding.rule,
                score: finding.score,
            });
            self.entries.len() - 1
        });
        &self.entries[at].placeholder
    }

    /// Redacts every string and every key of a JSON value in place, and tells whether anything changed. What is found in
    /// one place is replaced in all, also where nothing around it tells what it is, as far as [`Proof`] would see it
    /// there; only keys that are words of letters are left then, since they may be the protocol's.
    ///
    /// A number of nine digits or more is read as text and becomes a string if something is found in it. A string
    /// that is itself a JSON object or array (a tool call's arguments) is redacted inside, its layout kept. The
    /// key over a value counts as context. A text file in a `data:` URL is redacted inside. Left alone are `data:` URLs with
    /// images, audio or video in base64, and what `skip` says: it is asked for each string and number that is read with the
    /// keys that lead to it (those of arrays' items are those of the array) and its text. Keys are always read.
    ///
    /// # Errors
    /// As [`Vault::redact`]; the value may then be redacted in part.
    pub fn redact_json(
        &mut self,
        guard: &Guard,
        value: &mut Value,
        skip: &dyn Fn(&[&str], &str) -> bool,
    ) -> Result<bool, Blocked> {
        self.read_json(guard, value, &Reading { skip, channel: &|_, _| None, standard: Channel::User })
    }

    /// [`Vault::redact_json`] for a value in which several speak. Where the policy tells channels apart and a value stands in
    /// several, the strictest of what it says of them decides for all of it.
    ///
    /// # Errors
    /// As [`Vault::redact`]; the value may then be redacted in part.
    pub fn read_json(
        &mut self,
        guard: &Guard,
        value: &mut Value,
        reading: &Reading<'_>,
    ) -> Result<bool, Blocked> {
        self.begin(guard, reading);
        self.strictest = None;
        if guard.plan.has_channels() {
            self.survey(guard, value, reading)?;
        }
        self.trail.forget();
        let mut changed = json::redact(self, guard, value, &[], reading)?;
        changed |= self.spread(guard, value, reading)?;
        match self.strictest.as_ref().and_then(Strictest::blocked) {
            Some(blocked) => Err(blocked.clone()),
            None => Ok(changed),
        }
    }

    /// Replaces what has a placeholder wherever it stands.
    fn spread(&mut self, guard: &Guard, value: &mut Value, reading: &Reading<'_>) -> Result<bool, Blocked> {
        let mut changed = false;
        // Reading again may show more, which is then looked for, too.
        let (mut looked_for, mut rounds) = (0, 0..ROUNDS);
        while looked_for < self.entries.len() && rounds.next().is_some() {
            looked_for = self.entries.len();
            self.known = self.proof();
            let again = json::redact(self, guard, value, &[], reading);
            self.known = None;
            changed |= again?;
        }
        Ok(changed)
    }

    /// What is being looked for everywhere, and not other values.
    fn looked_for(&self) -> Option<&Proof> {
        self.known.as_ref().or_else(|| self.survey.as_ref()?.places())
    }

    /// Whether certain values are being looked for everywhere, and not other ones.
    pub(crate) fn is_repeating(&self) -> bool {
        self.given.is_some() || self.looked_for().is_some()
    }

    /// Whether this is a value that is being looked for.
    pub(crate) fn is_known(&self, text: &str) -> bool {
        self.looked_for().is_some_and(|known| known.is_one(text))
    }

    /// `text` with placeholders in place of the values that have one already, however they are printed; whatever else
    /// `guard` finds in it stays. For an answer that is given together with its question, in which the same values stand.
    pub fn hide_known<'t>(&self, guard: &Guard, text: &'t str) -> Cow<'t, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for finding in guard.inspect(text) {
            let key = (finding.entity, pii::normalised(finding.entity, &text[finding.span.clone()]));
            if let Some(&at) = self.index.get(&key) {
                out.push_str(&text[from..finding.span.start]);
                out.push_str(&self.entries[at].placeholder);
                from = finding.span.end;
            }
        }
        out.push_str(&text[from..]);
        // What was found by the words around it may stand here without them, and in other letters. The longer ones first:
        // one may hold another.
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.original.len()));
        for entry in entries.into_iter().filter(|entry| !entry.original.is_empty()) {
            out = replace_in_any_case(&out, &entry.original, &entry.placeholder);
        }
        Cow::Owned(out)
    }

    /// How often something was found that the policy only logs, by entity.
    pub fn logged(&self) -> &BTreeMap<&'static str, usize> {
        &self.logged
    }

    /// How often something stayed that the policy leaves to in-house targets, by entity. Whoever sends the texts sends them to
    /// no others, unless this is empty.
    pub fn routed(&self) -> &BTreeMap<&'static str, usize> {
        &self.routed
    }

    /// How often something was found of which it is only tried what the policy says, by entity and what that is.
    pub fn shadowed(&self) -> &BTreeMap<(&'static str, Operator), usize> {
        &self.shadowed
    }

    /// What stands for the values replaced so far, in order.
    pub fn issued(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.placeholder.as_str())
    }

    /// Whether nothing was replaced.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many different values were replaced, by entity.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        self.entries.iter().for_each(|entry| *counts.entry(entry.entity).or_default() += 1);
        counts
    }

    /// Puts originals back in place of placeholders issued by this vault, as far as [`Vault::restore_by`] says; secrets stay
    /// replaced. A placeholder may be spelled in other ways (`[Email Address 1]`, `\[EMAIL_ADDRESS_1\]`; without a number if it
    /// is the only one of its entity). Within an URL, the destination of a link or an image, or a tag of HTML it stays. A
    /// value printed in several ways comes back as it stood first.
    pub fn rehydrate<'t>(&self, text: &'t str, form: Form) -> Cow<'t, str> {
        if self.is_empty() || !text.contains('[') {
            return Cow::Borrowed(text);
        }
        let mut rehydrator = self.rehydrator(form);
        let restored = rehydrator.push(text) + &rehydrator.finish();
        if restored == text { Cow::Borrowed(text) } else { Cow::Owned(restored) }
    }

    /// [`Vault::rehydrate`] for a text that arrives in pieces. Knows what was issued up to now; one for each stream.
    pub fn rehydrator(&self, form: Form) -> Rehydrator {
        Rehydrator::new(Arc::new(self.table(form)))
    }

    fn table(&self, form: Form) -> Table {
        let restored = self.entries.iter().filter(|entry| entry.restored);
        let restored = restored.filter(|entry| match (self.restores.of(entry.class, entry.entity), form) {
            (Restore::Never, _) | (Restore::Text, Form::Tool | Form::Json) => false,
            (Restore::Text | Restore::Tools, _) => true,
        });
        let counts = self.counts();
        Table::new(
            form,
            restored.flat_map(|entry| {
                let inside = entry.placeholder.trim_matches(['[', ']']).to_owned();
                let alone = counts.get(entry.entity) == Some(&1) && !self.plain.contains(entry.entity);
                let bare = alone.then(|| entry.entity.to_owned());
                [Some(inside), bare].into_iter().flatten().map(|name| (name, entry.original.clone()))
            }),
        )
    }
}

/// `text` with `to` in place of `from`, whether in capitals or small letters.
fn replace_in_any_case(text: &str, from: &str, to: &str) -> String {
    // The letters that change have one byte either way, so places in the one text are places in the other.
    let (small, mut out, mut done) = (text.to_ascii_lowercase(), String::with_capacity(text.len()), 0);
    for (at, found) in small.match_indices(&from.to_ascii_lowercase()) {
        out.push_str(&text[done..at]);
        out.push_str(to);
        done = at + found.len();
    }
    out.push_str(&text[done..]);
    out
}

impl Form {
    pub(crate) fn write(self, original: &str) -> String {
        match self {
            Form::Text | Form::Tool => original.to_owned(),
            Form::Json => {
                let quoted = Value::from(original).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        }
    }

    /// How Markdown's escape is written there.
    pub(crate) fn escape(self) -> &'static str {
        match self {
            Form::Text | Form::Tool => "\\",
            Form::Json => "\\\\",
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
