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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, parse};
    use crate::ledger::Prices;
    use crate::route::catalogue::Catalogue;

    fn explained(model: &str, facts: &Facts) -> String {
        let text = include_str!("../../../fixtures/configs/good/routing.yaml");
        let config: Config = parse(text, "routing.yaml").unwrap();
        let (catalogue, prices) = (Catalogue::shipped().unwrap(), Prices::shipped().unwrap());
        let env = |name: &str| Some(format!("sk-of-{name}"));
        let built = Routes::build(&config, &catalogue, &prices, None, &env);
        built.unwrap_or_else(|p| panic!("{p:?}")).0.explain(model, facts).unwrap()
    }

    #[test]
    fn each_target_stands_with_its_reason_and_fallbacks_stand_below() {
        let told = explained("chat", &Facts::default());
        let expected = "chat (route)\n  \
            1. cloud/large  1 of 2 in order; fastest of 2: nothing measured yet\n  \
            2. spare/large  1 of 2 in order; fastest of 2: nothing measured yet\n  \
            3. house/small  2 of 2 in order; in the house\n\
            if the prompt is too long for one of these\n  \
            1. cloud/long\n\
            if the vendor of one of these does not want it\n  \
            1. house/small  in the house\n";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&told), squeezed(expected));
    }

    #[test]
    fn weights_and_conditions_are_told() {
        let trial = explained("trial", &Facts::default());
        let places = [
            "cloud/large",
            "weight 9 of 10",
            "spare/new",
            "weight 1 of 10; 1 of 2 in order",
            "house/small",
            "weight 0 of 10",
        ];
        let found: Vec<usize> = places.iter().map(|words| trial.find(words).unwrap()).collect();
        assert!(found.is_sorted(), "{trial}");
        let found = Facts { entities: ["US_SSN".into()].into(), redacted: true, ..Facts::default() };
        assert!(explained("assistant", &found).contains("1. house/small  when entities *; in the house"));
        let gold = Facts {
            tenant: "beta-7".to_owned(),
            key: "k".to_owned(),
            metadata: BTreeMap::from([("plan".to_owned(), "gold".to_owned())]),
            headers: BTreeMap::from([("x-tier".to_owned(), "b".to_owned())]),
            characters: 200,
            stream: true,
            ..Facts::default()
        };
        let told = explained("assistant", &gold);
        assert!(told.contains("1. cloud/large") && told.contains("header x-tier a or b"), "{told}");
        assert!(explained("assistant", &Facts::default()).contains("1. cloud/small  else"));
    }

    #[test]
    fn what_has_to_stay_in_the_house_is_shown_there_and_a_target_needs_no_route() {
        let inside = explained("chat", &Facts { in_house: true, ..Facts::default() });
        assert!(inside.contains("1. house/small") && !inside.contains("cloud/"), "{inside}");
        let told = explained("cloud/any", &Facts::default());
        assert_eq!(told, "cloud/any (no route; the target itself)\n   1. cloud/any\n");
    }
}
