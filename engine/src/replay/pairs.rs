//! Pairs of prompts that differ in one thing, or in nothing but their wording, made from templates.
//!
//! The notation, line by line: `# …` is a remark; `[axis]` begins an axis, and `[values]` lists a slot's values
//! (`city: Paris | Rome`). Every other line is a template. In it, `{slot}` is a value that both prompts share, `{slot!}` one
//! in which they differ, `{slot>1}` and `{slot>2}` two that change places, and `{x/y}` is x in the one and y in the other.
//! `one wording == another` is a pair that means the same.

use std::collections::HashMap;

/// Two prompts, and whether one answer is right for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinimalPair {
    /// What they differ in: "number", "negation", …; "same" for other wordings of one question.
    pub axis: String,
    /// The position of its template within the axis, so that some templates can be held out.
    pub template: usize,
    /// One prompt.
    pub a: String,
    /// The other.
    pub b: String,
    /// One answer is right for both.
    pub same: bool,
}

/// So many pairs are made of each template.
const PER_TEMPLATE: usize = 8;

/// The pairs that `templates` describe, always the same ones: eight of each template that has slots, one of each other.
///
/// # Errors
/// Names the line that can't be read and what was expected.
pub fn minimal_pairs(templates: &str) -> Result<Vec<MinimalPair>, String> {
    let mut values: HashMap<&str, Vec<&str>> = HashMap::new();
    let (mut pairs, mut axis, mut template) = (Vec::new(), "", 0);
    for (number, line) in templates.lines().enumerate() {
        let line = line.trim();
        let fault = |what: &str| format!("line {}: {what}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            (axis, template) = (name, 0);
            continue;
        }
        match axis {
            "" => return Err(fault("expected [axis] before the first template")),
            "values" => {
                let (slot, list) =
                    line.split_once(": ").ok_or_else(|| fault("expected `slot: value | value`"))?;
                let list: Vec<&str> = list.split('|').map(str::trim).collect();
                if list.len() < 2 || list.contains(&"") {
                    return Err(fault("expected at least two values, none of them empty"));
                }
                values.insert(slot, list);
            }
            _ => {
                expand(axis, template, line, &values, &mut pairs).map_err(|what| fault(&what))?;
                template += 1;
            }
        }
    }
    Ok(pairs)
}

fn expand(
    axis: &str,
    template: usize,
    line: &str,
    values: &HashMap<&str, Vec<&str>>,
    pairs: &mut Vec<MinimalPair>,
) -> Result<(), String> {
    let (left, right) = line.split_once(" == ").unwrap_or((line, line));
    let same = left != right;
    let rounds = if left.contains('{') { PER_TEMPLATE } else { 1 };
    for round in 0..rounds {
        // Another start per template, so that not all templates pair the same values.
        let draw = Draw { values, round: round + template };
        let pair = MinimalPair {
            axis: axis.to_owned(),
            template,
            a: draw.fill(left, false)?,
            b: draw.fill(right, true)?,
            same,
        };
        if pair.a == pair.b {
            return Err("the two prompts are equal: expected a slot in which they differ, or ==".to_owned());
        }
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    Ok(())
}

/// Which values a pair takes.
struct Draw<'v> {
    values: &'v HashMap<&'v str, Vec<&'v str>>,
    round: usize,
}

impl Draw<'_> {
    /// One side of a pair.
    fn fill(&self, mut text: &str, second: bool) -> Result<String, String> {
        let mut out = String::new();
        while let Some((before, rest)) = text.split_once('{') {
            let (slot, after) = rest.split_once('}').ok_or("expected } after {")?;
            out.push_str(before);
            let chosen = self.slot(slot, second)?;
            out.push_str(chosen);
            // An empty alternative leaves no double space.
            text = if chosen.is_empty() { after.trim_start() } else { after };
        }
        out.push_str(text);
        Ok(out)
    }

    fn slot<'t>(&'t self, slot: &'t str, second: bool) -> Result<&'t str, String> {
        if let Some((first, other)) = slot.split_once('/') {
            return Ok(if second { other } else { first });
        }
        let (name, place) = match slot.split_once(['!', '>']) {
            Some((name, "")) => (name, usize::from(second)),
            Some((name, "1")) => (name, usize::from(second)),
            Some((name, "2")) => (name, usize::from(!second)),
            Some((_, other)) => return Err(format!("expected {{slot>1}} or {{slot>2}}, not >{other}")),
            None => (slot, 0),
        };
        let list = self.values.get(name).ok_or_else(|| format!("slot {name} has no values"))?;
        // Steps of three reach distant values, not only the next one.
        Ok(list[(self.round + place * 3) % list.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATES: &str = include_str!("../../../fixtures/cache/minimal_pairs.txt");

    #[test]
    fn every_axis_has_forty_templates_and_three_hundred_pairs() {
        let pairs = minimal_pairs(TEMPLATES).unwrap();
        for axis in ["number", "negation", "entity", "direction", "antonym", "same"] {
            let of_axis: Vec<_> = pairs.iter().filter(|p| p.axis == axis).collect();
            assert!(of_axis.len() >= 300, "{axis}: {}", of_axis.len());
            assert!(of_axis.iter().map(|p| p.template).max() >= Some(39), "{axis}");
            assert!(of_axis.iter().all(|p| p.same == (axis == "same") && !p.a.contains('{')), "{axis}");
        }
    }

    #[test]
    fn the_notation_does_what_it_says() {
        let text = "[values]\nc: X | Y | Z | W\n[t]\n{c!} now\nfrom {c>1} to {c>2}\n{up/down} with {c}\n{c} == the {c}";
        let pairs = minimal_pairs(text).unwrap();
        let first = |template| pairs.iter().find(|p| p.template == template).unwrap();
        assert_ne!(first(0).a, first(0).b);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (a, b) = (words(&first(1).a), words(&first(1).b));
        assert_eq!((&a[1], &a[3]), (&b[3], &b[1]));
        assert!(first(2).a.starts_with("up") && first(2).b.starts_with("down"));
        assert!(first(3).same && first(3).b == format!("the {}", first(3).a));
    }

    #[test]
    fn a_fault_names_its_line() {
        assert!(minimal_pairs("[t]\n{nobody} knows").unwrap_err().starts_with("line 2: slot nobody"));
        assert!(minimal_pairs("[t]\nno slot at all").unwrap_err().contains("equal"));
        assert!(minimal_pairs("stray").unwrap_err().starts_with("line 1"));
    }
}
