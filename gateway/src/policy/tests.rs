//! Policy files that change, and such that are wrong.

use super::*;
use sluice_engine::ManualClock;
use std::time::Duration;

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
        LivePolicy::open(&Rules { file: Some(self.path()), ..Rules::default() }, None, &env)
    }
}

fn env(name: &str) -> Option<String> {
    (name == "KEY").then(|| "sixteen-bytes-or-more".to_owned())
}

fn finds(policy: &LivePolicy) -> bool {
    !policy.current().guard("", "").inspect("ada@example.org").is_empty()
}

#[test]
fn a_policy_file_is_named_by_the_sha_256_of_its_bytes() {
    // `printf 'pii: off\n' | sha256sum`
    let policy = File::holding("pii: off\n").open().unwrap();
    let sum = Sha256::digest(b"pii: off\n").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(policy.current().name, sum);
    assert_eq!(sum.len(), 64);
    assert_ne!(policy.current().fingerprint(), sum);
}

#[test]
fn a_changed_file_takes_the_place_of_the_old_one_and_has_another_fingerprint() {
    let file = File::holding("pii: redact\n");
    let policy = file.open().unwrap();
    let before = policy.current();
    assert!(finds(&policy));
    assert_eq!(policy.reload(false, None, &env), Reload::Same);
    file.write("pii: off # and longer\n");
    assert!(matches!(policy.reload(false, None, &env), Reload::New(_)));
    assert!(!finds(&policy));
    assert_ne!(policy.current().fingerprint(), before.fingerprint());
    assert!(
        !before.guard("", "").inspect("ada@example.org").is_empty(),
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
        let Reload::Wrong(told) = policy.reload(true, None, &env) else { panic!("{text}") };
        assert!(told.contains(words) && !told.contains("sixteen"), "{text} gave {told}");
        assert!(finds(&policy));
    }
    std::fs::remove_file(file.path()).unwrap();
    assert!(matches!(policy.reload(false, None, &env), Reload::Wrong(_)));
    assert_eq!(policy.reload(false, None, &env), Reload::Same, "told once");
    assert!(finds(&policy));
    file.write("hash_key: env:KEY\npii: off\n");
    assert!(matches!(policy.reload(false, None, &env), Reload::New(_)));
    assert!(!finds(&policy));
}

#[test]
fn a_policy_stands_in_the_configuration_or_in_a_file() {
    let file = File::holding("pii: off\n");
    let rules = Rules { file: Some(file.path()), pii: sluice_guardrails::Action::Block, ..Rules::default() };
    assert!(LivePolicy::open(&rules, None, &env).unwrap_err().starts_with("guardrails.file: "));
    let absent = Rules { file: Some(file.folder.path().join("no.yaml")), ..Rules::default() };
    assert!(LivePolicy::open(&absent, None, &env).unwrap_err().contains("no.yaml"));
    let here = LivePolicy::open(&Rules::default(), None, &env).unwrap();
    assert_eq!((here.current().name.len(), here.reload(true, None, &env)), (64, Reload::Same));
}

/// Seconds of 2027-02-01, from `date -u +%s`.
const FEBRUARY: u64 = 1_801_440_000;

#[test]
fn an_exception_is_not_applied_from_the_second_on_in_which_it_ends() {
    let exception = "{until: 2027-01-31, reason: r, entity: EMAIL_ADDRESS, action: log}";
    let over = "{id: old, until: 2026-12-31, reason: r, entity: US_SSN, action: log}";
    let rules: Rules = config::parse_as(&format!("exceptions: [{exception}, {over}]"), "test").unwrap();
    let to = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let clock = Arc::new(ManualClock::new(to(FEBRUARY - 1)));
    let set = |time: SystemTime| clock.advance(time.duration_since(clock.now()).unwrap());
    let policy = LivePolicy::open_by(Arc::<ManualClock>::clone(&clock), &rules, None, &env).unwrap();
    let before = policy.current();
    assert!(!finds(&policy) && before.exceptions() == 1);
    set(to(FEBRUARY) - Duration::from_nanos(1));
    assert!(!finds(&policy));
    set(to(FEBRUARY));
    assert!(finds(&policy) && policy.current().exceptions() == 0);
    let marks =
        |policy: &InForce| [policy.fingerprint().to_owned(), policy.guard("", "").fingerprint().to_owned()];
    let (one, other) = (marks(&before), marks(&policy.current()));
    assert!(
        one[0] != other[0] && one[1] != other[1],
        "nothing that is cached under the one is found under the other"
    );
    assert_eq!(before.name, policy.current().name, "nobody has changed the policy");
    assert!(before.guard("", "").inspect("ada@example.org").is_empty(), "who began with it goes on with it");
    assert_eq!(policy.notes().expired, [("old".to_owned(), "2026-12-31".to_owned())]);
}

#[test]
fn a_policy_of_which_something_is_only_tried_says_of_what() {
    let file = File::holding("shadow: true\n");
    let policy = file.open().unwrap();
    assert_eq!(policy.notes().tried, ["shadow"]);
    assert!(!finds(&policy));
    file.write("entities: {US_SSN: {shadow: true}} # longer\n");
    assert!(matches!(policy.reload(false, None, &env), Reload::New(_)));
    assert_eq!(policy.notes().tried, ["entities.US_SSN.shadow"]);
    assert!(finds(&policy));
}
