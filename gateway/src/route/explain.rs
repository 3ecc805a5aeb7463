//! A plan in words: who is asked about a request, in which order, and why.

use std::fmt::Write as _;

use super::plan::{Refusal, Step};
use super::{Facts, Routes};
use crate::error::ApiError;

impl Routes {
    /// Who would be asked about a request for this model, as a table for people. Chance and measurements are left out: of equal
    /// ones the order is the configuration's.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`].
    pub fn explain(&self, model: &str, facts: &Facts) -> Result<String, ApiError> {
        let targets = self.resolve(model)?;
        let plan = self.plan(model, facts, &targets, true);
        let mut out = String::new();
        let kind = if self.routes.contains_key(model) { "route" } else { "no route; the target itself" };
        writes(&mut out, format_args!("{model} ({kind})\n"));
        if plan.steps.is_empty() {
            writes(
                &mut out,
                format_args!("  nobody: the request is for in-house targets alone, and there is none\n"),
            );
        }
        table(&mut out, &plan.steps);
        for (refusal, steps) in &plan.instead {
            let what = match refusal {
                Refusal::ContextWindow => "if the prompt is too long for one of these",
                Refusal::ContentPolicy => "if the vendor of one of these does not want it",
            };
            writes(&mut out, format_args!("{what}\n"));
            table(&mut out, steps);
        }
        Ok(out)
    }
}

fn table(out: &mut String, steps: &[Step]) {
    let width = steps.iter().map(|step| step.target.name().chars().count()).max().unwrap_or_default();
    for (at, step) in steps.iter().enumerate() {
        let house = if step.target.provider.in_house { "in the house" } else { "" };
        let why = step.why.iter().map(String::as_str).chain(Some(house).filter(|words| !words.is_empty()));
        let why = why.collect::<Vec<_>>().join("; ");
        let line = format!("  {:>2}. {:width$}  {why}", at + 1, step.target.name());
        writes(out, format_args!("{}\n", line.trim_end()));
    }
}

fn writes(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String has no way to fail.
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}
