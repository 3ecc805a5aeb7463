//! Whole files, some with secrets in them and most without: what is marked is found, and nothing else.

use super::recipe::expand;
use crate::guard::Guard;
use crate::policy::{Action, InjectionAction, Policy};
use std::ops::Range;
use std::path::Path;

/// The file's texts: its paragraphs by their lines, and what is marked in each line.
fn lines_of(file: &str) -> Vec<(String, Vec<Range<usize>>)> {
    file.lines().map(|line| marked(&expand(line))).collect()
}

fn marked(line: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut spans) = (String::new(), Vec::new());
    for part in line.split_inclusive(['«', '»']) {
        let bare = part.trim_end_matches(['«', '»']);
        let start = text.len();
        text.push_str(bare);
        if part.ends_with('»') {
            spans.push(start..text.len());
        }
    }
    (text, spans)
}

#[test]
fn what_is_marked_in_the_files_is_found_and_nothing_else() {
    let policy = Policy { pii: Action::Off, injection: InjectionAction::Off, ..Policy::default() };
    let guard = Guard::new(&policy);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/secrets/files");
    let (mut wrong, mut files) = (Vec::new(), 0);
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        files += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (mut whole, mut expected) = (String::new(), Vec::new());
        for (text, spans) in lines_of(&std::fs::read_to_string(&path).unwrap()) {
            expected.extend(spans.into_iter().map(|span| span.start + whole.len()..span.end + whole.len()));
            whole = whole + &text + "\n";
        }
        let found = guard.inspect(&whole);
        for finding in found.iter().filter(|finding| !expected.contains(&finding.span)) {
            wrong.push(format!("{name}: {} takes {:?}", finding.rule, &whole[finding.span.clone()]));
        }
        for span in expected.iter().filter(|span| found.iter().all(|finding| finding.span != **span)) {
            let from = whole[..span.start].rfind('\n').map_or(0, |at| at + 1);
            wrong.push(format!("{name}: missed in {:?}", &whole[from..span.end]));
        }
    }
    assert!(files > 5 && wrong.is_empty(), "{files} files\n{}", wrong.join("\n"));
}
