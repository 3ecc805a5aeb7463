//! The configurations in fixtures/: good ones are read, bad ones are refused with place and reason.

use std::fs;
use std::path::{Path, PathBuf};

use sluice::commands::config::{ConfigCommand, run};
use sluice::config;
use sluice::gateway::{Gateway, Parts};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/configs").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_good_configuration_builds_a_gateway() {
    for file in files("good") {
        let (config, _) = config::load(Some(&file)).unwrap_or_else(|e| panic!("{e}"));
        let parts = Parts { mock: Some("http://127.0.0.1:1/v1"), ..Parts::default() };
        // Everything is set but what says where to ask.
        let named = |name: &str| !["AWS_ENDPOINT_URL_STS", "AZURE_AUTHORITY_HOST"].contains(&name);
        let env = |name: &str| named(name).then(|| format!("sk-of-{name}"));
        let built = Gateway::build(&config, parts, &env);
        assert!(built.is_ok(), "{}: {:?}", file.display(), built.err());
    }
}

/// Each file says on its first lines what its error must say: `# expect: 3:5` or `# expect: did you mean 'ttl'`.
#[test]
fn every_bad_configuration_is_refused_with_place_and_reason() {
    let mut wrong = Vec::new();
    for file in files("bad") {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        let told = run(&ConfigCommand::Check { file: Some(file.clone()) }).err().unwrap_or_default();
        if expected.is_empty()
            || !expected.iter().all(|words| told.contains(words))
            || told.contains("hunter2")
        {
            wrong.push(format!("{name} expects {expected:?} and gets: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let told = run(&ConfigCommand::Check { file: Some(PathBuf::from("no/such.yaml")) }).unwrap_err();
    assert!(told.contains("no/such.yaml"), "{told}");
}
