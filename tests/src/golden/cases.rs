//! The files of `fixtures/chats`.
//!
//! The unit tests of the gateway read this file as well, so it needs nothing but JSON.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Anthropic's models on Vertex AI, of which requests alone have another form.
const VERTEX: &str = "vertex_anthropic";

/// A conversation.
pub struct Case {
    /// Its folder's name.
    pub name: String,
    folder: PathBuf,
}

/// A refusal, as a provider says it.
pub struct Refusal {
    /// What happened.
    pub name: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

/// All conversations, in order of their names.
///
/// # Panics
/// If the folder can't be read.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = entries(&root())
        .into_iter()
        .filter(|folder| folder.join("openai.request.json").is_file())
        .map(|folder| Case { name: name_of(&folder), folder })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(cases.len() >= 15, "only {} conversations", cases.len());
    cases
}

/// The refusals of a format, in order of their names; none if it has no files.
pub fn refusals(format: &str) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = entries(&root().join("errors"))
        .into_iter()
        .filter_map(|path| {
            let name = name_of(&path)
                .strip_prefix(&format!("{}.error.", provider_files(format)))?
                .strip_suffix(".json")?
                .to_owned();
            let said = json(&path)?;
            let headers = said["headers"].as_object().into_iter().flatten();
            let headers =
                headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            let status = u16::try_from(said["status"].as_u64()?).ok()?;
            Some(Refusal { name, status, headers: headers.collect(), body: said["body"].clone() })
        })
        .collect();
    refusals.sort_by(|one, other| one.name.cmp(&other.name));
    refusals
}

impl Case {
    /// Whether this format has files for it.
    pub fn has(&self, format: &str) -> bool {
        self.path(format, "request.json").is_file()
    }

    /// The request in this format.
    pub fn request(&self, format: &str) -> Value {
        let mut request = self.read(format, "request.json");
        if let (VERTEX, Some(request)) = (format, request.as_object_mut()) {
            request.remove("model");
            request.insert("anthropic_version".to_owned(), "vertex-2023-10-16".into());
        }
        request
    }

    /// The whole answer in this format.
    pub fn answer(&self, format: &str) -> Value {
        self.read(format, "answer.json")
    }

    /// The streamed answer in this format, as its bytes come over the wire.
    ///
    /// # Panics
    /// If there is none.
    pub fn stream(&self, format: &str) -> Vec<u8> {
        let read = |end: &str| fs::read(self.path(format, end)).ok();
        match read("stream.sse") {
            Some(bytes) => bytes,
            None => {
                let lines =
                    read("stream.jsonl").unwrap_or_else(|| panic!("{} has no {format}.stream", self.name));
                super::stream::frames(&String::from_utf8_lossy(&lines))
            }
        }
    }

    fn read(&self, format: &str, part: &str) -> Value {
        json(&self.path(format, part)).unwrap_or_else(|| panic!("{} has no {format}.{part}", self.name))
    }

    fn path(&self, format: &str, part: &str) -> PathBuf {
        self.folder.join(format!("{}.{part}", provider_files(format)))
    }
}

/// The format in which this client API's files are written, by the API's name.
pub fn client_files(api: &str) -> &str {
    match api {
        "chat_completions" => "openai",
        "messages" => "anthropic",
        other => other,
    }
}

/// The format in which this provider API's files are written: Anthropic's models speak it wherever they are.
pub fn provider_files(api: &str) -> &str {
    if api == VERTEX { "anthropic" } else { api }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/chats")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the golden conversations are in fixtures/chats");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn json(path: &Path) -> Option<Value> {
    let bytes = fs::read(path).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}
