//! A model nobody listed, described by the files of its own folder: `config.json`, and what sentence-transformers
//! keeps beside it. Whatever would make our vectors other than the model's own is refused, never passed over.

use super::{CONFIG, FileSpec, ModelSpec, Source, TOKENIZER, WEIGHTS};
use crate::bert::Architecture;
use crate::pooling::Pooling;
use crate::weights::store::sha256_of;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Why a folder is not a model we can run.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FolderError {
    /// The folder or the file in it.
    pub path: PathBuf,
    /// What is wrong, and what was expected.
    pub reason: String,
}

/// Tokens of a text that count when the folder says nothing else: what BERT was made for.
const USUAL_WINDOW: u64 = 512;
/// Fewer positions leave no room for a word between its markers.
const FEWEST_POSITIONS: usize = 3;

impl ModelSpec {
    /// Describes the model of the BERT family in `folder`: `config.json`, `tokenizer.json`, `model.safetensors` and,
    /// if they are there, the files of sentence-transformers (`modules.json`, `1_Pooling/config.json`,
    /// `sentence_bert_config.json`, `config_sentence_transformers.json`) and `tokenizer_config.json`.
    ///
    /// Without them: the mean of all tokens, no prefix, and as many tokens as there are positions, at most 512. The
    /// name is the folder's with the beginning of a SHA-256 over all that makes its vectors what they are: the three
    /// files, the pooling, the prefix and the window; so vectors of models that differ in any of them never mix.
    /// Hashes every file, and the model is refused later on if one has changed since.
    ///
    /// # Errors
    /// [`FolderError`] with the file at fault.
    pub fn from_folder(folder: &Path) -> Result<Self, FolderError> {
        let folder = folder.canonicalize().map_err(|error| at(folder, error.to_string()))?;
        let modules = Modules::read(&folder)?;
        // Joining nothing would leave a slash at the end of every message.
        let usual = modules.transformer.as_os_str().is_empty();
        let dir = if usual { folder.clone() } else { folder.join(&modules.transformer) };
        let Architecture { hidden: dimensions, positions, .. } = architecture(&dir)?;
        let prefix = prefix(&folder.join("config_sentence_transformers.json"))?;
        let pooling = pooling(&folder.join(&modules.pooling).join(CONFIG), dimensions, !prefix.is_empty())?;
        let max_tokens = window(&dir, positions)?;
        check_case(&dir)?;
        check_overrules(&dir)?;

        let mut files = Vec::new();
        for name in [CONFIG, TOKENIZER, WEIGHTS] {
            let sha256 = hash(&dir, name)?;
            files.push(FileSpec { name, sha256: Some(sha256.into()), bytes: None });
        }
        let fingerprint = fingerprint(&files, max_tokens, pooling, &prefix);
        Ok(Self {
            name: format!("{}@{fingerprint}", plain_name(&folder)).into(),
            aliases: &[],
            source: Source::Folder(dir),
            files: files.into(),
            dimensions,
            max_tokens,
            pooling,
            prefix: prefix.into(),
        })
    }
}

/// What the encoder is; a folder whose model has no room for a text is refused too.
fn architecture(dir: &Path) -> Result<Architecture, FolderError> {
    let path = dir.join(CONFIG);
    let json = std::fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => not_found(dir, CONFIG),
        _ => at(&path, error.to_string()),
    })?;
    let architecture = Architecture::from_json(&json).map_err(|reason| at(&path, reason))?;
    let positions = architecture.positions;
    if positions < FEWEST_POSITIONS {
        let reason = format!(
            "max_position_embeddings leaves {positions} for a text, expected at least {FEWEST_POSITIONS}"
        );
        return Err(at(&path, reason));
    }
    Ok(architecture)
}

/// Twelve hex digits that change with whatever decides about the vectors.
fn fingerprint(files: &[FileSpec], max_tokens: usize, pooling: Pooling, prefix: &str) -> String {
    let mut hash = Sha256::new();
    for file in files {
        // Hashes are of one length, and so no two lists give the same bytes.
        hash.update(file.sha256.as_deref().unwrap_or_default());
    }
    let pooling = match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
    };
    hash.update(format!(" {max_tokens} {pooling} {prefix}"));
    let digest: [u8; 32] = hash.finalize().into();
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where `modules.json` says the parts are, relative to the folder.
struct Modules {
    transformer: PathBuf,
    pooling: PathBuf,
}

impl Modules {
    fn read(folder: &Path) -> Result<Self, FolderError> {
        let usual = Self { transformer: PathBuf::new(), pooling: PathBuf::from("1_Pooling") };
        let path = folder.join("modules.json");
        let Some(modules) = optional(&path)? else { return Ok(usual) };
        let Some(modules) = modules.as_array() else {
            return Err(at(&path, "expected an array of modules"));
        };
        let (mut transformer, mut pooling) = (None, None);
        for (index, module) in modules.iter().enumerate() {
            let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
            let place = Path::new(module.get("path").and_then(Value::as_str).unwrap_or_default());
            if !place.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(at(&path, format!("module {index}: expected a path inside the folder")));
            }
            // The package the type is in has moved between releases; the type itself has not.
            let part = match kind.rsplit('.').next() {
                Some("Transformer") if index == 0 => &mut transformer,
                Some("Pooling") => &mut pooling,
                Some("Normalize") => continue,
                _ => {
                    let reason = format!(
                        "module {index} is '{kind}'; supported is a Transformer followed by Pooling and Normalize"
                    );
                    return Err(at(&path, reason));
                }
            };
            if part.replace(place.to_path_buf()).is_some() {
                return Err(at(&path, format!("module {index}: a second '{kind}'; expected one")));
            }
        }
        match (transformer, pooling) {
            (Some(transformer), Some(pooling)) => Ok(Self { transformer, pooling }),
            (None, _) => Err(at(&path, "there is no Transformer; expected it as the first module")),
            (_, None) => Err(at(&path, "there is no Pooling; expected it after the Transformer")),
        }
    }
}

fn pooling(path: &Path, dimensions: usize, prefixed: bool) -> Result<Pooling, FolderError> {
    let Some(config) = optional(path)? else { return Ok(Pooling::Mean) };
    if let Some(size) = config.get("word_embedding_dimension").or_else(|| config.get("embedding_dimension"))
        && size.as_u64() != Some(dimensions as u64)
    {
        return Err(at(path, format!("the dimension is {size}, expected {dimensions} as in config.json")));
    }
    // With a prefix it matters whether its tokens count; they always do here.
    if prefixed && config.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(at(
            path,
            "include_prompt is false, expected true: a prompt's tokens are pooled with the text's",
        ));
    }
    let modes = modes(&config);
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        [] => Err(at(path, "no pooling mode is on; expected the mean or the CLS token")),
        _ => {
            let reason =
                format!("pooling is {}; supported are the mean and the CLS token", modes.join(" with "));
            Err(at(path, reason))
        }
    }
}

/// The pooling modes that are on, without their common beginning: one name, or a switch for each.
fn modes(config: &Value) -> Vec<String> {
    if let Some(mode) = config.get("pooling_mode").and_then(Value::as_str) {
        return vec![mode.to_owned()];
    }
    let switches = config.as_object().into_iter().flatten().filter(|(_, on)| on.as_bool() == Some(true));
    switches.filter_map(|(name, _)| name.strip_prefix("pooling_mode_").map(str::to_owned)).collect()
}

/// What sentence-transformers puts before a text when nobody names a prompt.
fn prefix(path: &Path) -> Result<String, FolderError> {
    let Some(config) = optional(path)? else { return Ok(String::new()) };
    let Some(name) = config.get("default_prompt_name").filter(|name| !name.is_null()) else {
        return Ok(String::new());
    };
    let prompt = name.as_str().and_then(|name| config.get("prompts")?.get(name)?.as_str());
    let missing =
        || at(path, format!("default_prompt_name is {name}, expected one of 'prompts', which are texts"));
    prompt.map(str::to_owned).ok_or_else(missing)
}

/// Tokens of a text that count.
fn window(dir: &Path, positions: usize) -> Result<usize, FolderError> {
    let said = |file: &str, field: &str| -> Result<Option<u64>, FolderError> {
        let path = dir.join(file);
        let Some(found) = optional(&path)? else { return Ok(None) };
        match found.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(number) => match (number.as_u64(), number.as_f64()) {
                (Some(tokens), _) if tokens > 2 => Ok(Some(tokens)),
                // "No limit" is written as 10^30.
                (None, Some(large)) if large > 1e18 => Ok(None),
                _ => Err(at(&path, format!("{field} is {number}, expected a number of at least 3"))),
            },
        }
    };
    let tokens = match said("sentence_bert_config.json", "max_seq_length")? {
        Some(tokens) => tokens,
        None => said("tokenizer_config.json", "model_max_length")?.unwrap_or(USUAL_WINDOW),
    };
    Ok(usize::try_from(tokens).map_or(positions, |tokens| tokens.min(positions)))
}

/// sentence-transformers can be told to lower a text's case before the tokenizer sees it. We leave that to the
/// tokenizer, which is the same if it does it too.
fn check_case(dir: &Path) -> Result<(), FolderError> {
    let path = dir.join("sentence_bert_config.json");
    let lowers =
        optional(&path)?.is_some_and(|config| config.get("do_lower_case") == Some(&Value::Bool(true)));
    if lowers && !lowers_case(required(&dir.join(TOKENIZER))?.get("normalizer")) {
        return Err(at(
            &path,
            "do_lower_case is true, but the normalizer of tokenizer.json keeps upper case",
        ));
    }
    Ok(())
}

/// transformers lets `tokenizer_config.json` overrule what a BERT tokenizer's own file says of case, accents and Chinese
/// characters. We read the tokenizer's file alone, so the two must agree.
fn check_overrules(dir: &Path) -> Result<(), FolderError> {
    const SAME: [(&str, &str); 3] = [
        ("do_lower_case", "lowercase"),
        ("strip_accents", "strip_accents"),
        ("tokenize_chinese_chars", "handle_chinese_chars"),
    ];
    let path = dir.join("tokenizer_config.json");
    let Some(config) = optional(&path)? else { return Ok(()) };
    let tokenizer = required(&dir.join(TOKENIZER))?;
    let normalizer =
        tokenizer.get("normalizer").filter(|n| n.get("type") == Some(&Value::from("BertNormalizer")));
    let Some(normalizer) = normalizer else { return Ok(()) };
    for (field, own) in SAME {
        let overrules = |wanted: &&Value| wanted.is_boolean() && Some(*wanted) != normalizer.get(own);
        if let Some(wanted) = config.get(field).filter(overrules) {
            let found = normalizer.get(own).unwrap_or(&Value::Null);
            let problem =
                format!("{field} is {wanted}, but {own} of the normalizer in {TOKENIZER} is {found}");
            return Err(at(&path, problem));
        }
    }
    Ok(())
}

fn lowers_case(normalizer: Option<&Value>) -> bool {
    let Some(normalizer) = normalizer else { return false };
    let several = normalizer.get("normalizers").and_then(Value::as_array);
    normalizer.get("type").and_then(Value::as_str) == Some("Lowercase")
        || normalizer.get("lowercase") == Some(&Value::Bool(true))
        || several.is_some_and(|each| each.iter().any(|one| lowers_case(Some(one))))
}

fn hash(dir: &Path, name: &str) -> Result<String, FolderError> {
    let path = dir.join(name);
    sha256_of(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => not_found(dir, name),
        _ => at(&path, error.to_string()),
    })
}

fn not_found(dir: &Path, name: &str) -> FolderError {
    at(dir, format!("{name} not found; expected {CONFIG}, {TOKENIZER} and {WEIGHTS}"))
}

/// The folder's name, without what does not belong into the name of a model.
fn plain_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect()
}

fn required(path: &Path) -> Result<Value, FolderError> {
    let dir = path.parent().unwrap_or(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    optional(path)?.ok_or_else(|| not_found(dir, &name))
}

/// The file's content as JSON, if the file is there.
fn optional(path: &Path) -> Result<Option<Value>, FolderError> {
    match std::fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| at(path, format!("not JSON: {error}")))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at(path, error.to_string())),
    }
}

fn at(path: &Path, reason: impl Into<String>) -> FolderError {
    FolderError { path: path.to_path_buf(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
