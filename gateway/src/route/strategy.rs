//! How a route chooses among its targets: nodes that hold each other, and the order that comes of them.

use std::sync::Arc;
use std::time::Instant;

use super::Target;
use super::conditions::{Conditions, Facts};
use super::health::TargetState;
use super::plan::Step;
use crate::breaker::Standing;
use crate::config::{Branch, Strategy, TargetNode, WeightedNode};

/// What a target counts as until anything was measured anywhere, in seconds.
const UNMEASURED: f64 = 0.5;
/// Strategies in each other, at most.
const DEEPEST: usize = 16;

/// A target, or a way to choose among several.
pub(super) enum Node {
    Target(Target),
    Ordered(Vec<Node>),
    Weighted(Vec<(u32, Node)>),
    Fastest(Vec<Node>),
    Conditional(Vec<(Conditions, Node)>, Box<Node>),
}

/// For what a route is asked for an order.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) now: Instant,
    /// Says why, and leaves nothing to chance.
    pub(super) explain: bool,
}

/// From what the operator wrote to nodes, by the targets' names.
pub(super) struct Building<'a> {
    pub(super) target: &'a dyn Fn(&str) -> Result<Target, String>,
}

impl Building<'_> {
    /// Nodes in order. `field` names them in problems.
    pub(super) fn ordered(&self, nodes: &[TargetNode], field: &str, depth: usize) -> Result<Node, String> {
        let mut built = self.list(nodes, field, depth)?;
        Ok(if built.len() == 1 { built.swap_remove(0) } else { Node::Ordered(built) })
    }

    fn list(&self, nodes: &[TargetNode], field: &str, depth: usize) -> Result<Vec<Node>, String> {
        if nodes.is_empty() {
            return Err(format!("{field}: name at least one PROVIDER/MODEL"));
        }
        if depth > DEEPEST {
            return Err(format!("{field}: strategies stand in each other more than {DEEPEST} deep"));
        }
        nodes.iter().map(|node| self.node(node, field, depth)).collect()
    }

    fn node(&self, node: &TargetNode, field: &str, depth: usize) -> Result<Node, String> {
        let strategy = match node {
            TargetNode::Target(name) => {
                return (self.target)(name)
                    .map(Node::Target)
                    .map_err(|problem| format!("{field}: {problem}"));
            }
            TargetNode::Strategy(strategy) => strategy,
        };
        match strategy {
            Strategy::Ordered(nodes) => self.ordered(nodes, &format!("{field}.ordered"), depth + 1),
            Strategy::Fastest(nodes) => {
                self.list(nodes, &format!("{field}.fastest"), depth + 1).map(Node::Fastest)
            }
            Strategy::Weighted(nodes) => self.weighted(nodes, &format!("{field}.weighted"), depth + 1),
            Strategy::Conditional(branches) => {
                self.conditional(branches, &format!("{field}.conditional"), depth + 1)
            }
        }
    }

    fn weighted(&self, nodes: &[WeightedNode], field: &str, depth: usize) -> Result<Node, String> {
        if !nodes.iter().any(|node| node.weight > 0) {
            return Err(format!("{field}: at least one target needs a weight above 0"));
        }
        let build = |node: &WeightedNode| {
            let one = std::slice::from_ref(&node.target);
            Ok((node.weight, self.ordered(one, field, depth)?))
        };
        nodes.iter().map(build).collect::<Result<_, String>>().map(Node::Weighted)
    }

    fn conditional(&self, branches: &[Branch], field: &str, depth: usize) -> Result<Node, String> {
        let Some((last, before)) = branches.split_last() else {
            return Err(format!("{field}: name at least one branch"));
        };
        if last.when.is_some() || !last.then.is_empty() || last.otherwise.is_empty() {
            return Err(format!(
                "{field}: the last entry must be 'else' with targets, for whatever no 'when' holds for"
            ));
        }
        let build = |(at, branch): (usize, &Branch)| {
            let field = format!("{field}[{at}]");
            let (Some(when), true) = (&branch.when, branch.otherwise.is_empty()) else {
                return Err(format!("{field}: expected 'when' with conditions and 'use' with targets"));
            };
            let conditions = Conditions::build(when, &format!("{field}.when"))?;
            Ok((conditions, self.ordered(&branch.then, &format!("{field}.use"), depth)?))
        };
        let built = before.iter().enumerate().map(build).collect::<Result<_, String>>()?;
        let otherwise = self.ordered(&last.otherwise, &format!("{field}.else"), depth)?;
        Ok(Node::Conditional(built, Box::new(otherwise)))
    }
}

impl Node {
    /// Every target, in the order of the configuration.
    pub(super) fn targets(&self, all: &mut Vec<Target>) {
        match self {
            Self::Target(target) => {
                if !all.iter().any(|other| other.is(target)) {
                    all.push(target.clone());
                }
            }
            Self::Ordered(nodes) | Self::Fastest(nodes) => nodes.iter().for_each(|node| node.targets(all)),
            Self::Weighted(nodes) => nodes.iter().for_each(|(_, node)| node.targets(all)),
            Self::Conditional(branches, otherwise) => {
                branches.iter().for_each(|(_, node)| node.targets(all));
                otherwise.targets(all);
            }
        }
    }

    /// The headers that conditions look at.
    pub(super) fn headers(&self, all: &mut Vec<String>) {
        match self {
            Self::Target(_) => {}
            Self::Ordered(nodes) | Self::Fastest(nodes) => nodes.iter().for_each(|node| node.headers(all)),
            Self::Weighted(nodes) => nodes.iter().for_each(|(_, node)| node.headers(all)),
            Self::Conditional(branches, otherwise) => {
                for (conditions, node) in branches {
                    all.extend(conditions.headers().map(str::to_owned));
                    node.headers(all);
                }
                otherwise.headers(all);
            }
        }
    }

    /// Whether the answer may depend on facts about the request.
    pub(super) fn is_conditional(&self) -> bool {
        match self {
            Self::Target(_) => false,
            Self::Ordered(nodes) | Self::Fastest(nodes) => nodes.iter().any(Self::is_conditional),
            Self::Weighted(nodes) => nodes.iter().any(|(_, node)| node.is_conditional()),
            Self::Conditional(..) => true,
        }
    }

    /// Which branches these facts lead to: what is answered there must not be answered elsewhere.
    pub(super) fn branch(&self, model: &str, facts: &Facts, out: &mut String) {
        match self {
            Self::Target(_) => {}
            Self::Ordered(nodes) | Self::Fastest(nodes) => {
                nodes.iter().for_each(|node| node.branch(model, facts, out));
            }
            Self::Weighted(nodes) => nodes.iter().for_each(|(_, node)| node.branch(model, facts, out)),
            Self::Conditional(branches, otherwise) => {
                let (at, node) = chosen(branches, otherwise, model, facts);
                out.push_str(&format!("{}.", at.map_or("else".to_owned(), |at| at.to_string())));
                node.branch(model, facts, out);
            }
        }
    }

    /// The targets in the order in which they are asked.
    pub(super) fn order(&self, asked: &Asked<'_>) -> Vec<Step> {
        match self {
            Self::Target(target) => vec![Step::new(target)],
            Self::Ordered(nodes) => {
                let steps = nodes.iter().enumerate().map(|(at, node)| {
                    let mut steps = node.order(asked);
                    asked.say(&mut steps, || format!("{} of {} in order", at + 1, nodes.len()));
                    steps
                });
                steps.flatten().collect()
            }
            Self::Weighted(nodes) => weighted(nodes, asked),
            Self::Fastest(nodes) => fastest(nodes, asked),
            Self::Conditional(branches, otherwise) => {
                let (at, node) = chosen(branches, otherwise, asked.model, asked.facts);
                let mut steps = node.order(asked);
                asked.say(&mut steps, || match at {
                    Some(at) => format!("when {}", branches[at].0.words()),
                    None => "else".to_owned(),
                });
                steps
            }
        }
    }
}

impl Asked<'_> {
    /// Writes down why these steps stand where they do.
    fn say(&self, steps: &mut [Step], why: impl Fn() -> String) {
        if self.explain {
            steps.iter_mut().for_each(|step| step.why.insert(0, why()));
        }
    }
}

fn chosen<'n>(
    branches: &'n [(Conditions, Node)],
    otherwise: &'n Node,
    model: &str,
    facts: &Facts,
) -> (Option<usize>, &'n Node) {
    let found = branches.iter().enumerate().find(|(_, (conditions, _))| conditions.hold(model, facts));
    found.map_or((None, otherwise), |(at, (_, node))| (Some(at), node))
}

/// A member of `weighted` or `fastest`, with the target that it would ask first.
struct Member {
    steps: Vec<Step>,
    state: Arc<TargetState>,
    weight: f64,
    standing: Standing,
    score: f64,
}

impl Member {
    /// `None`: it has no target.
    fn of(node: &Node, weight: u32, asked: &Asked<'_>) -> Option<Self> {
        let steps = node.order(asked);
        // A chain is as good as the first of it that can be asked.
        let ready = |step: &&Step| step.standing(asked.now) != Standing::Open;
        let first = steps.iter().find(ready).or_else(|| steps.first())?;
        let (state, standing) = (Arc::clone(&first.state), first.standing(asked.now));
        let weight = f64::from(weight) * state.part(asked.now);
        Some(Self { state, standing, weight, score: 0.0, steps })
    }
}

/// Who may be tried again goes first, so that somebody tries; who is left alone goes last.
fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::HalfOpen => 0,
        Standing::Closed => 1,
        Standing::Open => 2,
    }
}

fn weighted(nodes: &[(u32, Node)], asked: &Asked<'_>) -> Vec<Step> {
    let all: u32 = nodes.iter().fold(0, |sum, (weight, _)| sum.saturating_add(*weight));
    let mut members: Vec<Member> = nodes
        .iter()
        .filter_map(|(weight, node)| {
            let mut member = Member::of(node, *weight, asked)?;
            asked.say(&mut member.steps, || format!("weight {weight} of {all}"));
            Some(member)
        })
        .collect();
    let mut steps = Vec::new();
    while !members.is_empty() {
        let best = members.iter().map(|member| rank(member.standing)).min().unwrap_or_default();
        let fits: Vec<usize> = (0..members.len()).filter(|at| rank(members[*at].standing) == best).collect();
        let weights: Vec<f64> = fits.iter().map(|at| members[*at].weight).collect();
        let drawn = if asked.explain { heaviest(&weights) } else { draw(&weights, fastrand::f64()) };
        steps.append(&mut members.remove(fits[drawn]).steps);
    }
    steps
}

/// The place of the greatest weight, the first of equal ones.
fn heaviest(weights: &[f64]) -> usize {
    let of = |at: &usize| weights[*at];
    (0..weights.len()).max_by(|at, other| of(at).total_cmp(&of(other)).then(other.cmp(at))).unwrap_or(0)
}

/// The place at which a number from 0 to 1 falls if the weights stand side by side.
pub(super) fn draw(weights: &[f64], chance: f64) -> usize {
    let mut left = chance * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // All weights are 0, or the last one was missed by rounding.
    found.unwrap_or_else(|| heaviest(weights))
}

fn fastest(nodes: &[Node], asked: &Asked<'_>) -> Vec<Step> {
    let mut members: Vec<Member> = nodes.iter().filter_map(|node| Member::of(node, 1, asked)).collect();
    let stream = asked.facts.stream;
    let mut known: Vec<f64> =
        members.iter().filter_map(|member| member.state.latency(stream, asked.now)).collect();
    known.sort_by(f64::total_cmp);
    let median = known.get(known.len() / 2).copied();
    for member in &mut members {
        let measured = member.state.latency(stream, asked.now);
        member.score = member.state.score(stream, median.unwrap_or(UNMEASURED), asked.now);
        let count = nodes.len();
        asked.say(&mut member.steps, || match measured {
            Some(seconds) => format!("fastest of {count}: {:.0} ms to the first content", seconds * 1000.0),
            None => format!("fastest of {count}: nothing measured yet"),
        });
    }
    members.sort_by(|one, other| {
        rank(one.standing).cmp(&rank(other.standing)).then(one.score.total_cmp(&other.score))
    });
    // The better of two drawn at random goes first: if everybody took the very best one, it would soon be the worst.
    let drawn_from = members.iter().filter(|member| member.standing == Standing::Closed).count();
    let begin = members.iter().take_while(|member| member.standing == Standing::HalfOpen).count();
    if drawn_from > 2 && !asked.explain {
        let one = fastrand::usize(..drawn_from);
        let other = (one + fastrand::usize(1..drawn_from)) % drawn_from;
        let better = begin + one.min(other);
        members[begin..=better].rotate_right(1);
    }
    members.into_iter().flat_map(|member| member.steps).collect()
}

#[cfg(test)]
mod tests;
