//! Who is asked about a request, in which order, and who instead if these refuse it.

use std::sync::Arc;
use std::time::Instant;

use super::budget::Budget;
use super::conditions::Facts;
use super::cooldown::Rest;
use super::health::{Attempt, Shown, TargetState};
use super::strategy::{Asked, Building, Node};
use super::{Routes, Target};
use crate::breaker::Standing;
use crate::config::{RetryBudgetSection, RouteConfig};

/// A public model name: its targets, and how to choose among them.
pub(super) struct Route {
    node: Node,
    /// If the prompt is too long.
    context_window: Option<Node>,
    /// If the vendor does not want it.
    content_policy: Option<Node>,
    targets: Vec<Target>,
    headers: Vec<String>,
    conditional: bool,
    budget: Arc<Budget>,
}

/// Why a target refuses a request that others may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The prompt is too long for it.
    ContextWindow,
    /// Its vendor does not want to answer it.
    ContentPolicy,
}

/// Targets in the order in which they are asked.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Who is asked after a refusal.
    pub(super) instead: Vec<(Refusal, Vec<Step>)>,
    pub(super) budget: Arc<Budget>,
}

/// A target of a plan.
pub(super) struct Step {
    pub(super) target: Target,
    pub(super) state: Arc<TargetState>,
    /// Why it stands here, outermost first; only in an explanation.
    pub(super) why: Vec<String>,
}

impl Step {
    pub(super) fn new(target: &Target) -> Self {
        let state = target.provider.states.of(&target.model);
        Self { target: target.clone(), state, why: Vec::new() }
    }

    /// How the target stands, breaker and credentials taken together.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.target.provider.credentials.are_cooling(&self.state, now) {
            return Standing::Open;
        }
        self.state.standing(now)
    }

    /// Until when and why it is left alone with every credential, if it is.
    pub(super) fn rest(&self, now: Instant) -> Option<Rest> {
        self.target.provider.credentials.rests(&self.state, now)
    }

    /// How its breaker stands.
    pub(super) fn breaker(&self, now: Instant) -> Standing {
        self.state.standing(now)
    }

    /// The right to ask it.
    pub(super) fn attempt(&self, stream: bool, force: bool, now: Instant) -> Option<Attempt> {
        Attempt::begin(&self.state, stream, force, now)
    }
}

impl Route {
    /// Reads what the operator wrote.
    pub(super) fn build(
        config: &RouteConfig,
        field: &str,
        building: &Building<'_>,
        budget: &RetryBudgetSection,
    ) -> Result<Self, String> {
        let node = building.ordered(&config.targets, &format!("{field}.targets"), 0)?;
        let fallback = |nodes: &[_], name: &str| {
            let field = format!("{field}.fallbacks.{name}");
            (!nodes.is_empty()).then(|| building.ordered(nodes, &field, 0)).transpose()
        };
        let context_window = fallback(&config.fallbacks.context_window, "context_window")?;
        let content_policy = fallback(&config.fallbacks.content_policy, "content_policy")?;
        let (mut targets, mut headers) = (Vec::new(), Vec::new());
        let all = [Some(&node), context_window.as_ref(), content_policy.as_ref()];
        for node in all.into_iter().flatten() {
            node.targets(&mut targets);
            node.headers(&mut headers);
        }
        headers.sort_unstable();
        headers.dedup();
        let conditional = node.is_conditional();
        let budget = Arc::new(Budget::new(budget.ratio, budget.per_second));
        Ok(Self { node, context_window, content_policy, targets, headers, conditional, budget })
    }

    /// Every target that may be asked.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }
}

impl Routes {
    /// Whether who is asked about this model depends on more than its name.
    pub fn is_conditional(&self, model: &str) -> bool {
        self.routes.get(model).is_some_and(|route| route.conditional)
    }

    /// The headers that decide who is asked about this model.
    pub fn headers(&self, model: &str) -> &[String] {
        self.routes.get(model).map_or(&[], |route| &route.headers)
    }

    /// Which branches of the model's route these facts lead to; empty if it has none.
    pub fn branch(&self, model: &str, facts: &Facts) -> String {
        let mut branch = String::new();
        if let Some(route) = self.routes.get(model).filter(|route| route.conditional) {
            route.node.branch(model, facts, &mut branch);
        }
        branch
    }

    /// How the targets of routes fare, by name.
    pub fn shown(&self) -> Vec<(String, Shown)> {
        let (mut targets, now) = (Vec::new(), Instant::now());
        for target in self.routes.values().flat_map(Route::targets) {
            if !targets.iter().any(|(name, _)| *name == target.name()) {
                targets.push((target.name(), target.provider.states.of(&target.model).shown(now)));
            }
        }
        targets
    }

    /// Who is asked about a request for this model, in which order. `targets`: those that answer for it.
    pub(super) fn plan(&self, model: &str, facts: &Facts, targets: &[Target], explain: bool) -> Plan {
        let now = Instant::now();
        let asked = Asked { model, facts, now, explain };
        let Some(route) = self.routes.get(model) else {
            let steps = targets.iter().map(Step::new).collect();
            return Plan { steps, instead: Vec::new(), budget: Arc::clone(&self.budget) };
        };
        let allowed = |step: &Step| !facts.in_house || step.target.provider.in_house;
        let order = |node: &Node| {
            let mut steps = node.order(&asked);
            steps.retain(allowed);
            dedup(steps)
        };
        let mut steps = order(&route.node);
        if steps.is_empty() {
            // The branch has nobody in the house, but the route has.
            let why = || explain.then(|| "in the house, where this has to stay".to_owned());
            steps = route.targets.iter().map(Step::new).filter(allowed).collect();
            steps.iter_mut().for_each(|step| step.why.extend(why()));
        }
        let refusals = [
            (Refusal::ContextWindow, &route.context_window),
            (Refusal::ContentPolicy, &route.content_policy),
        ];
        let instead =
            refusals.into_iter().filter_map(|(refusal, node)| Some((refusal, order(node.as_ref()?))));
        Plan { steps, instead: instead.collect(), budget: Arc::clone(&route.budget) }
    }
}

/// Each target once, where it stands first.
fn dedup(steps: Vec<Step>) -> Vec<Step> {
    let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        if !kept.iter().any(|other| other.target.is(&step.target)) {
            kept.push(step);
        }
    }
    kept
}
