//! What keeps the repository in order: arrows between crates, generated files, first lines, fixtures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate of the product: its folder, its package, the first line of its `lib.rs`, and what it must not depend on.
struct Room {
    folder: &'static str,
    package: &'static str,
    sentence: &'static str,
    /// Names of packages; one that ends in `*` stands for all that begin so.
    never: &'static str,
}

/// The table of ARCHITECTURE.md, as far as a test can see it.
const ROOMS: [Room; 4] = [
    Room {
        folder: "models",
        package: "sluice-models",
        sentence: "Text in, numbers out: local embedding models.",
        // It fetches weights by `ureq`, and serves nobody.
        never: "http http-body* hyper* axum* regex aho-corasick hnsw_rs qdrant-client redb",
    },
    Room {
        folder: "engine",
        package: "sluice-engine",
        sentence: "Vectors in, remembered answers out: the semantic cache.",
        never: "http http-body* hyper* axum* reqwest ureq tokenizers candle-* regex",
    },
    Room {
        folder: "guardrails",
        package: "sluice-guardrails",
        sentence: "Text in, verdict out: PII, secrets, prompt injection.",
        never: "http http-body* hyper* axum* reqwest ureq tokenizers candle-* hnsw_rs",
    },
    Room {
        folder: "gateway",
        package: "sluice",
        sentence: "HTTP in, HTTP out: keys, routing, providers, accounting.",
        never: "regex* aho-corasick fancy-regex hnsw_rs candle-* tokenizers safetensors ndarray",
    },
];

#[test]
fn among_the_four_crates_only_the_gateway_depends_on_the_others() {
    let own: Vec<&str> = ROOMS.iter().map(|room| room.package).collect();
    for room in ROOMS {
        // A server for tests is none of the four, and knows none of them.
        let is_own = |name: &String| name.starts_with("sluice") && name != "sluice-qdrant-stand-in";
        let arrows: Vec<String> = dependencies(room.package).into_iter().filter(is_own).collect();
        let allowed: &[&str] = if room.package == "sluice" { &own[..3] } else { &[] };
        assert_eq!(arrows, sorted(allowed), "the arrows that leave {}", room.folder);
    }
}

#[test]
fn no_crate_depends_on_what_it_must_not_mention() {
    for room in ROOMS {
        for name in dependencies(room.package) {
            let is_it = |never: &str| match never.strip_suffix('*') {
                Some(begin) => name.starts_with(begin),
                None => name == never,
            };
            assert!(!room.never.split(' ').any(is_it), "{} must not depend on {name}", room.folder);
        }
    }
}

#[test]
fn each_crate_begins_with_its_one_sentence() {
    for room in ROOMS {
        let lib = read(&root().join(room.folder).join("src/lib.rs"));
        assert_eq!(lib.lines().next(), Some(format!("//! {}", room.sentence).as_str()), "{}", room.folder);
    }
}

#[test]
fn every_source_file_begins_by_saying_what_it_is() {
    let silent: Vec<PathBuf> =
        files(root()).into_iter().filter(|path| is(path, "rs") && !read(path).starts_with("//! ")).collect();
    assert!(silent.is_empty(), "these files do not begin with '//!' and a sentence: {silent:#?}");
}

#[test]
fn unsafe_code_is_in_one_folder_and_small() {
    let kernels = root().join("models/src/kernels");
    let speaks = |path: &PathBuf| {
        read(path).lines().any(|line| !line.trim().starts_with("//") && line.contains("unsafe {"))
    };
    let outside: Vec<PathBuf> = files(root())
        .into_iter()
        .filter(|path| is(path, "rs") && !path.starts_with(&kernels) && !path.ends_with("tidy.rs"))
        .filter(|path| speaks(path) || read(path).contains("allow(unsafe_code)"))
        .collect();
    assert!(outside.is_empty(), "unsafe code belongs into models/src/kernels: {outside:#?}");
    for room in ROOMS.iter().filter(|room| room.folder != "models") {
        let lib = read(&root().join(room.folder).join("src/lib.rs"));
        assert!(lib.contains("\n#![forbid(unsafe_code)]\n"), "{} does not forbid unsafe code", room.folder);
    }
    let product = files(kernels).into_iter().filter(|path| is(path, "rs") && !path.ends_with("tests.rs"));
    let lines: usize = product.map(|path| read(&path).lines().count()).sum();
    assert!((1..1500).contains(&lines), "the kernels have grown to {lines} lines");
}

#[test]
fn the_configuration_schema_in_the_repository_is_current() {
    let path = root().join("gateway/config.schema.json");
    // Not by assert_eq: nobody wants to read the schema twice.
    assert!(
        read(&path) == sluice::config::schema(),
        "gateway/config.schema.json is not what the code says; run: cargo run -- config schema > gateway/config.schema.json"
    );
}

#[test]
fn every_line_of_every_fixture_is_json() {
    let fixtures = files(root().join("fixtures"));
    let mut lines = 0;
    for path in fixtures.iter().filter(|path| is(path, "jsonl")) {
        for (at, line) in read(path).lines().enumerate() {
            let place = format!("{}:{}", path.display(), at + 1);
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert!(value.is_object(), "{place}: expected an object");
            lines += 1;
        }
    }
    assert!(lines > 0, "no fixture was found");
}

#[test]
fn every_test_that_the_list_of_pitfalls_names_exists() {
    let code: String = files(root()).iter().filter(|path| is(path, "rs")).map(|path| read(path)).collect();
    let list = read(&root().join("tests/README.md"));
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), 20, "one line for each pitfall");
    for row in rows {
        let tests = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = tests.split(['`', ' ']).filter(|name| !name.is_empty()).collect();
        assert!(!names.is_empty(), "no test for: {row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "there is no test {name}, for: {row}");
        }
    }
}

#[test]
fn every_folder_of_fixtures_says_what_it_is_for() {
    let folders = fs::read_dir(root().join("fixtures")).expect("the folder of fixtures can be listed");
    for folder in folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()) {
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
    }
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    let checkout = root().display().to_string();
    for path in files(root()) {
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let text = String::from_utf8_lossy(&bytes);
        for (at, line) in text.lines().enumerate() {
            assert!(!names_a_machine(line, &checkout), "{}:{} names one", path.display(), at + 1);
        }
    }
}

#[test]
fn a_folder_of_somebodys_machine_is_recognised() {
    let names = |line: &str| names_a_machine(line, "/srv/build/checkout");
    // Written in pieces, or this file would be found itself.
    for folder in ["home/rosa", "Users/rosa", "root", "work"] {
        assert!(names(&format!("see /{folder}/notes")), "{folder}");
    }
    assert!(names(&["C:", "Users", "rosa"].join("\\")));
    assert!(names("at /srv/build/checkout/x"));
    for fine in
        ["../work/x", "the gateway/work/x", "https://example.com/home/", "/etc/hosts", "/v1/models", "/homes"]
    {
        assert!(!names(fine), "{fine}");
    }
}

/// True if the line holds the absolute path of a home, of a work folder, or of this very checkout.
fn names_a_machine(line: &str, checkout: &str) -> bool {
    // A checkout at `/src` or `/app` is too short a name to mean anything.
    let own = (checkout.matches('/').count() > 1).then(|| checkout.to_owned());
    let usual = ["home", "Users", "root", "work", "workspace"].map(|name| format!("/{name}/"));
    let windows = ["C:", "Users", ""].join("\\");
    own.into_iter().chain(usual).chain([windows]).any(|folder| {
        line.match_indices(&folder).any(|(at, _)| {
            // Part of a longer path is no absolute one.
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~/}>)".contains(before))
        })
    })
}

/// The names of a package's normal, development and build dependencies, in order and each once.
fn dependencies(package: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let workspace: Value = serde_json::from_slice(&out.stdout).expect("cargo writes JSON");
    let packages = workspace["packages"].as_array().expect("a list of packages");
    let found =
        packages.iter().find(|p| p["name"] == package).unwrap_or_else(|| panic!("no package {package}"));
    let names = found["dependencies"].as_array().expect("a list of dependencies").iter();
    sorted(&names.map(|d| d["name"].as_str().expect("a name")).collect::<Vec<_>>())
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut sorted: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

/// The project's own files: neither what was built nor what other tools keep here for themselves.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![folder], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let entry = entry.expect("an entry of the folder");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("the kind of the entry");
            if kind.is_file() {
                found.push(path);
            } else if kind.is_dir() && (!name.starts_with('.') || name == ".ci") && !is_made(&path, &name) {
                open.push(path);
            }
        }
    }
    found
}

/// Cargo marks its output, Python its environments.
fn is_made(path: &Path, name: &str) -> bool {
    name == "__pycache__" || path.join("CACHEDIR.TAG").exists() || path.join("pyvenv.cfg").exists()
}
