//! Policy files that change, and such that are wrong.

use super::*;

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn holding(text: &str) -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn open(&self) -> Result<LivePolicy, String> {
        LivePolicy::open(&Rules { file: Some(self.path()), ..Rules::default() }, &env)
    }
}

fn env(name: &str) -> Option<String> {
    (name == "KEY").then(|| "sixteen-bytes-or-more".to_owned())
}

fn finds(policy: &LivePolicy) -> bool {
    !policy.current().guard.inspect("ada@example.org").is_empty()
}

#[test]
fn a_policy_file_is_named_by_the_sha_256_of_its_bytes() {
    // `printf 'pii: off\n' | sha256sum`
    let policy = File::holding("pii: off\n").open().unwrap();
    let sum = Sha256::digest(b"pii: off\n").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(policy.current().name, sum);
    assert_eq!(sum.len(), 64);
    assert_ne!(policy.current().fingerprint, sum);
}

#[test]
fn a_changed_file_takes_the_place_of_the_old_one_and_has_another_fingerprint() {
    let file = File::holding("pii: redact\n");
    let policy = file.open().unwrap();
    let before = policy.current();
    assert!(finds(&policy));
    assert_eq!(policy.reload(false, &env), Reload::Same);
    file.write("pii: off # and longer\n");
    assert!(matches!(policy.reload(false, &env), Reload::New(_)));
    assert!(!finds(&policy));
    assert_ne!(policy.current().fingerprint, before.fingerprint);
    assert!(
        !before.guard.inspect("ada@example.org").is_empty(),
        "who began with the old one goes on with it"
    );
}

#[test]
fn a_file_that_is_wrong_leaves_the_old_one_in_force_and_says_where() {
    let file = File::holding("pii: redact\n");
    let policy = file.open().unwrap();
    for (text, words) in [
        (
            "pii: redact\nsecretss: off\n",
            "policy.yaml:2:1: unknown field 'secretss': did you mean 'secrets'?",
        ),
        ("packs: [core, dee]\n", "policy.yaml: packs[1]: no pack is called `dee`: did you mean `de`?"),
        ("file: other.yaml\n", "a policy file names no other"),
        ("hash_key: sixteen-bytes-in-the-file\n", "hash_key: expected env:NAME or file:PATH"),
        ("hash_key: env:NO_KEY\n", "hash_key: the environment variable NO_KEY is not set"),
        ("pii: [\n", "policy.yaml:"),
    ] {
        file.write(text);
        let Reload::Wrong(told) = policy.reload(true, &env) else { panic!("{text}") };
        assert!(told.contains(words) && !told.contains("sixteen"), "{text} gave {told}");
        assert!(finds(&policy));
    }
    std::fs::remove_file(file.path()).unwrap();
    assert!(matches!(policy.reload(false, &env), Reload::Wrong(_)));
    assert_eq!(policy.reload(false, &env), Reload::Same, "told once");
    assert!(finds(&policy));
    file.write("hash_key: env:KEY\npii: off\n");
    assert!(matches!(policy.reload(false, &env), Reload::New(_)));
    assert!(!finds(&policy));
}

#[test]
fn a_policy_stands_in_the_configuration_or_in_a_file() {
    let file = File::holding("pii: off\n");
    let rules = Rules { file: Some(file.path()), pii: sluice_guardrails::Action::Block, ..Rules::default() };
    assert!(LivePolicy::open(&rules, &env).unwrap_err().starts_with("guardrails.file: "));
    let absent = Rules { file: Some(file.folder.path().join("no.yaml")), ..Rules::default() };
    assert!(LivePolicy::open(&absent, &env).unwrap_err().contains("no.yaml"));
    let here = LivePolicy::open(&Rules::default(), &env).unwrap();
    assert_eq!((here.current().name.len(), here.reload(true, &env)), (64, Reload::Same));
}
