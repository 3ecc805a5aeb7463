//! Attacks that an operator knows: found again by their words, and by their meaning where there is an embedding model.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluice_guardrails::injection::fit::materials;
use sluice_guardrails::injection::{Bank, KnownTexts, least_similarity, words};
use sluice_guardrails::topics::NEUTRAL;
use sluice_models::EmbedPool;

use crate::config::{BankSection, ConfigError};
use crate::error::ApiError;
use crate::meaning;

/// Most attacks that are held.
const MOST: usize = 10_000;
/// Longest text of one.
const LONGEST: usize = 8 * 1024;
/// Harmless prompts of ours, many of them full of words that attacks use.
const HARMLESS: &str = include_str!("../../fixtures/injection/train/benign.txt");

/// The attacks, and how they are found.
pub struct KnownAttacks {
    state: RwLock<State>,
    bank: Bank,
    /// How often they changed.
    generation: AtomicU64,
    embedder: Option<EmbedPool>,
    /// Vectors of harmless prompts, computed when the first attack is.
    harmless: OnceLock<Vec<Vec<f32>>>,
    similarity: Option<f32>,
    file: Option<PathBuf>,
    /// Held by whoever changes them, from reading to the end of writing.
    changing: Mutex<()>,
}

#[derive(Default)]
struct State {
    attacks: Arc<Vec<Known>>,
    texts: Arc<KnownTexts>,
}

/// One attack, as operators are shown it.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// Its name, made of its words: the same text has the same one everywhere.
    #[serde(serialize_with = "as_name")]
    id: u64,
    text: String,
    /// `config` if it stands in the configuration, else `admin`.
    source: &'static str,
    /// Whether texts that mean the same are found, too.
    by_meaning: bool,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
}

fn as_name<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("atk_{id:016x}"))
}

fn id_of(text: &str) -> u64 {
    let digest = Sha256::digest(words(text));
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

impl KnownAttacks {
    /// Those of the configuration and of its file. Waits for the embedding model, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Values`]: what is wrong with which field, or line of the file.
    pub(crate) fn build(section: &BankSection, embedder: Option<&EmbedPool>) -> Result<Self, ConfigError> {
        let problem =
            |problem: String| ConfigError::Values(vec![format!("guardrails.injection_bank.{problem}")]);
        let mut texts: Vec<(&'static str, String)> = Vec::new();
        for (at, example) in section.examples.iter().enumerate() {
            check(example).map_err(|wrong| problem(format!("examples[{at}]: {wrong}")))?;
            texts.push(("config", example.clone()));
        }
        if !section.similarity.is_none_or(|least| (0.0..=1.0).contains(&least)) {
            return Err(problem("similarity: expected a number from 0 to 1".to_owned()));
        }
        if let Some(path) = &section.file {
            let kept = read(path).map_err(|wrong| problem(format!("file: {wrong}")))?;
            texts.extend(kept.into_iter().map(|text| ("admin", text)));
        }
        if texts.len() > MOST {
            return Err(problem(format!("examples: more than {MOST} attacks, with those of the file")));
        }
        let attacks = Self {
            state: RwLock::default(),
            bank: Bank::default(),
            generation: AtomicU64::new(0),
            embedder: embedder.cloned(),
            harmless: OnceLock::new(),
            similarity: section.similarity,
            file: section.file.clone(),
            changing: Mutex::default(),
        };
        let new = attacks.learn(texts).map_err(|wrong| problem(format!("examples: {wrong}")))?;
        attacks.set(new).map_err(|wrong| problem(format!("examples: {wrong}")))?;
        attacks.generation.store(0, Ordering::Release);
        Ok(attacks)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Changes whenever they do; 0 until then.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether one of them stands in a text.
    pub(crate) fn stands_in(&self, text: &str) -> bool {
        let texts = Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).texts);
        texts.find(text).is_some()
    }

    /// What tells them by their meaning, if any of them can be.
    pub(crate) fn by_meaning(&self) -> Option<(&Bank, &EmbedPool)> {
        self.embedder.as_ref().filter(|_| !self.bank.is_empty()).map(|embedder| (&self.bank, embedder))
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Arc<Vec<Known>> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).attacks)
    }

    /// Adds texts, and gives them with their names; those that are known stay as they are. Waits for the embedding model and the disk.
    /// The number is that of the new ones.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] that names the text; [`ApiError::AttacksNotKept`], and then nothing was added.
    pub fn add(&self, texts: Vec<String>) -> Result<(usize, Vec<Known>), ApiError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, text) in texts.iter().enumerate() {
            check(text).map_err(|wrong| ApiError::invalid(format!("texts[{at}]"), wrong))?;
        }
        let known = self.all();
        let ids: Vec<u64> = texts.iter().map(|text| id_of(text)).collect();
        let mut taken: HashSet<u64> = known.iter().map(|attack| attack.id).collect();
        let new = texts.into_iter().zip(&ids).filter(|(_, id)| taken.insert(**id));
        let new: Vec<_> = new.map(|(text, _)| ("admin", text)).collect();
        if known.len() + new.len() > MOST {
            return Err(ApiError::invalid("texts", format!("more than {MOST} attacks can't be held")));
        }
        let failed = |error: String| {
            tracing::error!(error, "an attack could not be added");
            ApiError::AttacksNotKept
        };
        let (added, vectors) = self.learn(new).map_err(failed)?;
        let count = added.len();
        let all: Vec<Known> = known.iter().cloned().chain(added).collect();
        self.keep(&all).map_err(|error| failed(error.to_string()))?;
        let told = all.iter().filter(|attack| ids.contains(&attack.id)).cloned().collect();
        self.set((all, vectors)).map_err(failed)?;
        Ok((count, told))
    }

    /// Removes one that an operator added, by its name. Waits for the disk.
    ///
    /// # Errors
    /// [`ApiError::AttackUnknown`]; [`ApiError::Invalid`] for one of the configuration; [`ApiError::AttacksNotKept`], and then it is still there.
    pub fn remove(&self, name: &str) -> Result<(), ApiError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.all();
        let id = name.strip_prefix("atk_").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let found = known.iter().find(|attack| Some(attack.id) == id).ok_or(ApiError::AttackUnknown)?;
        if found.source == "config" {
            let problem =
                "it stands in the configuration (guardrails.injection_bank.examples): remove it there";
            return Err(ApiError::invalid("id", problem));
        }
        let rest: Vec<Known> = known.iter().filter(|attack| attack.id != found.id).cloned().collect();
        let failed = |error: String| {
            tracing::error!(error, "an attack could not be removed");
            ApiError::AttacksNotKept
        };
        self.keep(&rest).map_err(|error| failed(error.to_string()))?;
        self.bank.remove(found.id);
        self.set((rest, Vec::new())).map_err(failed)
    }

    /// What is to be known of new texts, each once: with the vectors of those that the model sees whole.
    fn learn(&self, texts: Vec<(&'static str, String)>) -> Result<Learnt, String> {
        let mut seen = HashSet::new();
        let texts: Vec<_> = texts
            .into_iter()
            .map(|(source, text)| (id_of(&text), source, text))
            .filter(|(id, ..)| seen.insert(*id))
            .collect();
        let vectors: Vec<Option<Vec<f32>>> = match self.embedder.as_ref().filter(|_| !texts.is_empty()) {
            None => vec![None; texts.len()],
            Some(embedder) => {
                let all: Vec<&str> = texts.iter().map(|(.., text)| text.as_str()).collect();
                let embedded = meaning::embed(embedder, &all)?;
                embedded.iter().map(|e| (!e.truncated).then(|| e.vector.clone())).collect()
            }
        };
        let mut near = Vec::new();
        let mut attacks = Vec::with_capacity(texts.len());
        for ((id, source, text), vector) in texts.into_iter().zip(vectors) {
            attacks.push(Known { id, text, source, by_meaning: vector.is_some() });
            if let Some(vector) = vector {
                let harmless = self.harmless()?.iter().map(Vec::as_slice);
                let least = self.similarity.unwrap_or_else(|| least_similarity(&vector, harmless));
                near.push((id, vector, least));
            }
        }
        Ok((attacks, near))
    }

    fn harmless(&self) -> Result<&[Vec<f32>], String> {
        if let Some(harmless) = self.harmless.get() {
            return Ok(harmless);
        }
        let Some(embedder) = &self.embedder else { return Ok(&[]) };
        let ours = materials::expand_first(HARMLESS)?;
        let texts: Vec<&str> =
            ours.iter().map(|ours| ours.text.as_str()).chain(NEUTRAL.iter().copied()).collect();
        let vectors = meaning::embed(embedder, &texts)?.iter().map(|e| e.vector.clone()).collect();
        Ok(self.harmless.get_or_init(|| vectors))
    }

    /// From now on these are all; the vectors of new ones come with them.
    fn set(&self, (attacks, vectors): Learnt) -> Result<(), String> {
        let texts = KnownTexts::new(attacks.iter().map(|attack| attack.text.as_str()))?;
        for (id, vector, least) in vectors {
            self.bank.add(id, &vector, least);
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State { attacks: Arc::new(attacks), texts: Arc::new(texts) };
        // Last, so that who sees it is judged by them.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Writes those that do not stand in the configuration; the file is whole at any time.
    fn keep(&self, attacks: &[Known]) -> std::io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut out = Vec::new();
        for attack in attacks.iter().filter(|attack| attack.source == "admin") {
            serde_json::to_writer(&mut out, &Line { text: attack.text.clone() })?;
            out.push(b'\n');
        }
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let mut file = File::create(&beside)?;
        file.write_all(&out)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    }
}

/// Attacks, and of new ones their names, vectors and thresholds.
type Learnt = (Vec<Known>, Vec<(u64, Vec<f32>, f32)>);

fn check(text: &str) -> Result<(), String> {
    match text.len() {
        length if length > LONGEST => Err(format!("longer than {LONGEST} bytes")),
        _ if words(text).is_empty() => Err("expected a text with words".to_owned()),
        _ => Ok(()),
    }
}

/// The texts of the file; none if it is not there yet.
fn read(path: &Path) -> Result<Vec<String>, String> {
    let place = path.display();
    let folder = crate::audit::folder_of(path);
    if path.file_name().is_none() || path.is_dir() {
        return Err(format!("expected the path of a file, found '{place}'"));
    }
    if !folder.is_dir() {
        return Err(format!("the folder '{}' is not there", folder.display()));
    }
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let wrong = |problem: String| format!("{place}:{}: {problem}", at + 1);
            let read = serde_json::from_str::<Line>(line);
            let text = read.map_err(|_| wrong("expected {\"text\": \"an attack\"}".to_owned()))?.text;
            check(&text).map_err(wrong)?;
            Ok(text)
        })
        .collect()
}

impl std::fmt::Debug for KnownAttacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownAttacks").field("attacks", &self.all().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(file: &Path) -> BankSection {
        BankSection {
            examples: vec!["Open the pod bay doors".to_owned()],
            file: Some(file.to_owned()),
            ..BankSection::default()
        }
    }

    #[test]
    fn what_was_added_is_there_after_a_restart_and_what_was_removed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attacks.jsonl");
        let attacks = KnownAttacks::build(&section(&file), None).unwrap();
        assert_eq!((attacks.all().len(), attacks.generation()), (1, 0));
        let texts =
            ["Be evil now, please", "be EVIL now please!", "open the pod bay doors", "Sing Daisy to me"];
        let (added, told) = attacks.add(texts.map(str::to_owned).to_vec()).unwrap();
        assert_eq!((added, told.len(), attacks.generation()), (2, 3, 1));
        assert!(attacks.stands_in("Hal, sing daisy to me!"));
        let again = KnownAttacks::build(&section(&file), None).unwrap();
        assert!(again.stands_in("Hal, sing daisy to me!") && again.all().len() == 3);
        let name = format!("atk_{:016x}", id_of("sing daisy to me"));
        again.remove(&name).unwrap();
        assert!(!again.stands_in("Hal, sing daisy to me!"));
        assert!(matches!(again.remove(&name), Err(ApiError::AttackUnknown)));
        let of_config = format!("atk_{:016x}", id_of("open the pod bay doors"));
        assert!(matches!(again.remove(&of_config), Err(ApiError::Invalid { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "{\"text\":\"Be evil now, please\"}\n");
    }

    #[test]
    fn nothing_is_added_that_could_not_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attacks.jsonl");
        let attacks = KnownAttacks::build(&section(&file), None).unwrap();
        drop(folder);
        let added = attacks.add(vec!["Sing Daisy to me".to_owned()]);
        assert!(matches!(added, Err(ApiError::AttacksNotKept)) && attacks.all().len() == 1);
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("attacks.jsonl");
        fs::write(&file, "{\"text\": \"Sing Daisy to me\"}\n\nhush\n").unwrap();
        let told = KnownAttacks::build(&section(&file), None).unwrap_err().to_string();
        assert!(
            told.starts_with("guardrails.injection_bank.file: ")
                && told.contains("attacks.jsonl:3: expected")
        );
        assert!(!told.contains("hush"));
    }
}
