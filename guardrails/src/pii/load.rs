//! Packs read and tried out: those that come with the program, and an operator's own.

use super::engine::{Engine, RowError};
use super::names;
use super::pack::{DefaultAction, Pack, Row};
use crate::guard::Finding;
use crate::score::Band;
use crate::text::Scan;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The packs that come with the program, by name.
const FILES: &[(&str, &str)] = &[
    ("core", include_str!("../../packs/core.yaml")),
    ("us", include_str!("../../packs/us.yaml")),
    ("au", include_str!("../../packs/au.yaml")),
    ("be", include_str!("../../packs/be.yaml")),
    ("br", include_str!("../../packs/br.yaml")),
    ("ca", include_str!("../../packs/ca.yaml")),
    ("ch", include_str!("../../packs/ch.yaml")),
    ("de", include_str!("../../packs/de.yaml")),
    ("dk", include_str!("../../packs/dk.yaml")),
    ("es", include_str!("../../packs/es.yaml")),
    ("fi", include_str!("../../packs/fi.yaml")),
    ("fr", include_str!("../../packs/fr.yaml")),
    ("ie", include_str!("../../packs/ie.yaml")),
    ("il", include_str!("../../packs/il.yaml")),
    ("in", include_str!("../../packs/in.yaml")),
    ("it", include_str!("../../packs/it.yaml")),
    ("kr", include_str!("../../packs/kr.yaml")),
    ("mx", include_str!("../../packs/mx.yaml")),
    ("ng", include_str!("../../packs/ng.yaml")),
    ("nl", include_str!("../../packs/nl.yaml")),
    ("no", include_str!("../../packs/no.yaml")),
    ("ph", include_str!("../../packs/ph.yaml")),
    ("pl", include_str!("../../packs/pl.yaml")),
    ("pt", include_str!("../../packs/pt.yaml")),
    ("se", include_str!("../../packs/se.yaml")),
    ("sg", include_str!("../../packs/sg.yaml")),
    ("th", include_str!("../../packs/th.yaml")),
    ("tr", include_str!("../../packs/tr.yaml")),
    ("uk", include_str!("../../packs/uk.yaml")),
    ("za", include_str!("../../packs/za.yaml")),
];

/// The packs that are on unless a policy says otherwise.
pub const DEFAULT_PACKS: &[&str] = &["core", "us"];

static PACKS: LazyLock<Vec<Pack>> = LazyLock::new(|| {
    // The files are part of the program, and a test reads every one of them.
    FILES
        .iter()
        .map(|(name, text)| Pack::read(text, name).expect("a pack of the program is readable"))
        .collect()
});

/// The packs that come with the program.
pub fn built_in() -> &'static [Pack] {
    &PACKS
}

/// Which of the built-in rows apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Names of packs, or `all`.
    pub packs: Vec<String>,
    /// Entities whose rows apply even if their pack is off or they are off in it.
    pub named: Vec<String>,
    /// Whether rows apply whose findings are only reported.
    pub logged: bool,
}

impl Default for Selection {
    /// What redaction is about: the default packs without what is only reported.
    fn default() -> Selection {
        let packs = DEFAULT_PACKS.iter().map(|&pack| pack.to_owned()).collect();
        Selection { packs, named: Vec::new(), logged: false }
    }
}

impl Selection {
    /// Every row of `packs`, those whose findings are only reported included.
    ///
    /// # Errors
    /// The name of a pack that does not exist, and those that do.
    pub fn of(packs: &[String]) -> Result<Selection, String> {
        let names = || built_in().iter().map(|pack| pack.pack.as_str());
        match packs.iter().find(|pack| *pack != "all" && !names().any(|name| name == pack.as_str())) {
            Some(unknown) => Err(format!(
                "no pack is called `{unknown}`; expected `all` or some of {}",
                names().collect::<Vec<_>>().join(", ")
            )),
            None => Ok(Selection { packs: packs.to_vec(), named: Vec::new(), logged: true }),
        }
    }

    /// The built-in rows that apply.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> + '_ {
        let of = move |pack: &'static Pack| pack.rows.iter().filter(move |row| self.wants(pack, row));
        built_in().iter().flat_map(of)
    }

    fn wants(&self, pack: &Pack, row: &Row) -> bool {
        let all = self.packs.iter().any(|name| name == "all");
        let on = all || (self.packs.contains(&pack.pack) && !row.opt_in);
        let acts = self.logged || row.action == DefaultAction::Redact;
        (on && acts) || self.named.contains(&row.entity)
    }

    /// The compiled rows, with all rows of an operator's own packs, which were [checked](Pack::check) when they were read.
    ///
    /// # Errors
    /// What is wrong with which row of them.
    pub fn engine_with(&self, own: &[Pack]) -> Result<Engine, RowError> {
        let packs: Vec<&Pack> = built_in().iter().chain(own).collect();
        let is_own = |pack: &Pack| own.iter().any(|own| std::ptr::eq(own, pack));
        Engine::new(&packs, &|pack, row| is_own(pack) || self.wants(pack, row))
    }

    /// The compiled rows; those of equal selections are compiled once.
    pub fn engine(&self) -> Arc<Engine> {
        static COMPILED: Mutex<Vec<(Selection, Arc<Engine>)>> = Mutex::new(Vec::new());
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, engine)) = compiled.iter().find(|(selection, _)| selection == self) {
            return Arc::clone(engine);
        }
        // A test compiles every row of every pack.
        let engine = Arc::new(self.engine_with(&[]).expect("the rows of the program compile"));
        compiled.push((self.clone(), Arc::clone(&engine)));
        engine
    }
}

/// The known entity called `name`: of a built-in pack, or of one that an operator brought.
pub(crate) fn entity(name: &str) -> Option<&'static str> {
    LazyLock::force(&ENTITIES);
    names::known(name)
}

/// Interns the entities of all built-in packs.
static ENTITIES: LazyLock<()> = LazyLock::new(|| {
    for row in built_in().iter().flat_map(|pack| &pack.rows) {
        names::intern(&row.entity);
    }
});

impl Pack {
    /// Reads a pack from YAML; `place` (a file's name) is for messages.
    ///
    /// # Errors
    /// Where what was expected.
    pub fn read(text: &str, place: &str) -> Result<Pack, String> {
        serde_saphyr::from_str(text).map_err(|e| format!("{place}: {e}"))
    }

    /// Compiles every row and runs its own examples.
    ///
    /// # Errors
    /// The first row that can't be compiled or doesn't do what its examples say. Names the example by its number: it
    /// may hold somebody's data.
    pub fn check(&self) -> Result<(), RowError> {
        match self.problems() {
            problems if problems.is_empty() => Ok(()),
            mut problems => Err(problems.remove(0)),
        }
    }

    fn problems(&self) -> Vec<RowError> {
        let engine = match Engine::new(&[self], &|_, _| true) {
            Ok(engine) => engine,
            Err(problem) => return vec![problem],
        };
        let error = |row: &Row, problem| RowError { pack: self.pack.clone(), row: row.id.clone(), problem };
        let check = |row| check_row(&engine, row).err().map(|problem| error(row, problem));
        self.rows.iter().filter_map(check).collect()
    }
}

/// Runs a row's own examples.
fn check_row(engine: &Engine, row: &Row) -> Result<(), String> {
    if row.examples.is_empty() || row.others.is_empty() {
        return Err("expected at least one text in `examples` and one in `others`".to_owned());
    }
    let found = |text: &str| -> Vec<Finding> {
        let mut out = Vec::new();
        engine.find(&Scan::new(text, ""), Band::Possible.least(), &mut out);
        out.retain(|finding| finding.rule == row.id);
        out
    };
    let likely = |finding: &Finding| finding.score >= Band::Likely.least();
    for (field, texts, wanted) in [("examples", &row.examples, true), ("possible", &row.possible, false)] {
        for (index, text) in texts.iter().enumerate() {
            let (text, spans) = unmark(text).ok_or_else(|| {
                format!("{field}[{index}]: expected `<<` before and `>>` behind every marked value")
            })?;
            let found: Vec<_> = found(&text).into_iter().filter(|f| likely(f) == wanted).collect();
            let there = |span: &Range<usize>| found.iter().any(|finding| finding.span == *span);
            if found.is_empty() || !spans.iter().all(there) {
                let band = if wanted { "likely" } else { "only possible" };
                return Err(format!("{field}[{index}]: expected every value to be found as {band}"));
            }
        }
    }
    for (index, text) in row.others.iter().enumerate() {
        if found(text).iter().any(likely) {
            return Err(format!("others[{index}]: expected nothing to be found as likely"));
        }
    }
    Ok(())
}

/// An example without its marks, and where the marked values stand in it.
fn unmark(example: &str) -> Option<(String, Vec<Range<usize>>)> {
    let (mut text, mut spans) = (String::new(), Vec::new());
    let mut rest = example;
    while let Some((before, marked)) = rest.split_once("<<") {
        let (value, after) = marked.split_once(">>")?;
        text.push_str(before);
        spans.push(text.len()..text.len() + value.len());
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Some((text, spans))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Guard;
    use crate::policy::Policy;

    #[test]
    fn every_row_of_every_pack_does_what_its_examples_say() {
        let mut problems = Vec::new();
        for (name, text) in FILES {
            let pack = Pack::read(text, name).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(pack.pack, *name);
            problems.extend(pack.problems().iter().map(ToString::to_string));
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn rows_of_all_packs_have_ids_of_their_own() {
        assert!(Engine::new(&built_in().iter().collect::<Vec<_>>(), &|_, _| true).is_ok());
    }

    const BADGE: &str = r"
pack: acme
rows:
  - id: acme-badge
    entity: EMPLOYEE_ID
    pattern: 'EMP-\d{6}'
    start: keyword
    keywords: [EMP-]
    prior: 1
    examples: ['My badge is <<EMP-123456>>.']
    others: ['TEMP-1234567']
";

    #[test]
    fn an_operators_pack_is_compiled_and_tried_out() {
        Pack::read(BADGE, "acme.yaml").unwrap().check().unwrap();
    }

    #[test]
    fn an_operators_rows_apply_beside_those_of_the_program() {
        let own = [Pack::read(BADGE, "acme.yaml").unwrap()];
        let engine = Selection::default().engine_with(&own).unwrap();
        let policy = Policy::default();
        let guard = Guard::with_engine(&policy, Arc::new(engine));
        let found = guard.inspect("EMP-123456 is ada@example.org");
        assert_eq!(found.iter().map(|f| f.entity).collect::<Vec<_>>(), ["EMPLOYEE_ID", "EMAIL_ADDRESS"]);
        let taken = [Pack::read(&BADGE.replace("acme-badge", "email"), "acme.yaml").unwrap()];
        let problem = Selection::default().engine_with(&taken).err().map(|e| e.problem);
        assert_eq!(problem.as_deref(), Some("id: another row has the same"));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_without_its_texts() {
        for (from, to, problem) in [
            ("EMP-123456>>.", "EMP-123456>>7.", "examples[0]: expected every value to be found as likely"),
            ("'TEMP-1234567'", "'EMP-654321'", "others[0]: expected nothing to be found as likely"),
            ("prior: 1", "validate: luhm", "validate: no validate is called `luhm`"),
            ("acme-badge", "Badge", "id: expected lower case letters"),
            ("EMPLOYEE_ID", "Employee", "entity: expected upper case letters"),
            (r"EMP-\d{6}", "EMP-(", "pattern: "),
            ("[EMP-]", "[]", "keywords: expected at least one"),
        ] {
            let error = Pack::read(&BADGE.replace(from, to), "x").unwrap().check().unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("654321"), "{error}");
        }
        let unknown = Pack::read(&BADGE.replace("prior", "priour"), "acme.yaml").unwrap_err();
        assert!(unknown.contains("acme.yaml") && unknown.contains("priour"), "{unknown}");
    }
}
