//! Attacks that the operator knows, looked for in a request: by their words wherever they stand, by their meaning in what came last.

use std::ops::ControlFlow;

use serde_json::Value;
use sluice_guardrails::{Channel, Guard, InjectionAction, Step, each_text};
use tokio::time::Instant;

use super::attack::{self, Attack, Judged};
use super::guards::{channel, is_structure};
use super::request::ChatRequest;
use super::{Call, audited, meant};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::known::KnownAttacks;
use crate::meaning::{self, Meaning};
use crate::route::Target;

/// Shorter texts hold no instruction.
const SHORTEST: usize = 8;
/// How it is told that a text is a known attack, or means the same.
const SIGNAL: &str = "known-attack";

/// [`attack::judge`], known attacks included.
pub(crate) fn judge(attacks: &KnownAttacks, guard: &Guard, request: &mut Value, doubts: bool) -> Judged {
    let Judged { worst: judged, doubts } = attack::judge(guard, request, doubts);
    if attacks.is_empty() || !guard.looks_for_injection() {
        return Judged { worst: judged, doubts };
    }
    let texts = texts(guard, request, &|_| true);
    let known = texts.into_iter().filter(|text| attacks.stands_in(&text.text));
    let known = known.map(|text| text.attack(guard, 1.0)).max_by_key(|attack| (attack.blocks, attack.shadow));
    let worst = match (judged, known) {
        (Some(judged), Some(mut known)) if (known.blocks, known.shadow) >= (judged.blocks, judged.shadow) => {
            if judged.field == known.field {
                known.signals.extend(judged.signals);
            }
            Some(known)
        }
        (judged, known) => judged.or(known),
    };
    Judged { worst, doubts }
}

/// One text of a request in which attacks are looked for.
struct Text {
    channel: Channel,
    field: String,
    text: String,
}

impl Text {
    /// What is done about it; who knows an attack is as sure of it as can be.
    fn attack(&self, guard: &Guard, score: f32) -> Attack {
        let refused =
            matches!(guard.injection_in(self.channel), InjectionAction::Block | InjectionAction::Strict);
        Attack {
            channel: self.channel,
            field: self.field.clone(),
            score,
            signals: vec![SIGNAL],
            blocks: refused && !guard.is_tried(),
            shadow: refused && guard.is_tried(),
        }
    }
}

/// The texts at the places that are `wanted`, of all channels in which the policy has something looked for.
fn texts(guard: &Guard, request: &mut Value, wanted: &dyn Fn(&[Step]) -> bool) -> Vec<Text> {
    let mut found: Vec<(Vec<Step>, String)> = Vec::new();
    each_text(request, &is_structure, &mut |path, text| {
        if text.len() >= SHORTEST && wanted(path) {
            found.push((path.to_vec(), text.to_owned()));
        }
        None
    });
    let texts = found.into_iter().map(|(path, text)| {
        let channel = channel(request, &path);
        Text { channel, field: audited::field(&path), text }
    });
    texts.filter(|text| guard.injection_in(text.channel) != InjectionAction::Off).collect()
}

/// Compares what came with the last turn, in its redacted form, with the known attacks. Says whether there is nothing to say of it.
///
/// # Errors
/// [`ApiError::InjectionBlocked`], [`ApiError::AuditUnavailable`].
pub(super) async fn input(
    gateway: &Gateway,
    call: &Call,
    request: &ChatRequest,
    targets: &[Target],
) -> Result<bool, ApiError> {
    let guard = call.guard(&request.model);
    let Some((bank, embedder)) = gateway.attacks.by_meaning().filter(|_| guard.looks_for_injection()) else {
        return Ok(true);
    };
    let last = meant::turn(request).first;
    // As chat completions say it: the turn is counted in their messages, whatever the client's format.
    let mut fields = Value::Object(request.fields().clone());
    let mut found = texts(guard, &mut fields, &|path| match path {
        [Step::Key(name), Step::Item(at), ..] if name == "messages" => *at >= last,
        [Step::Key(name), ..] => name == "documents",
        _ => false,
    });
    // By their words they were found before.
    found.retain(|text| !gateway.attacks.stands_in(&text.text));
    let meaning = Meaning { embedder, scope: &call.caller.tenant, end: Instant::now() + meant::PATIENCE };
    let (mut worst, mut whole): (Option<Attack>, bool) = (None, true);
    for text in &found {
        let mut nearest: Option<f32> = None;
        let mut see = |_, vector: &[f32]| match bank.recognise(vector) {
            Some((_, similarity)) => {
                nearest = Some(similarity);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        };
        if let Err(error) = meaning.each(&text.text, true, &mut see).await {
            let why = meaning::reason(&error);
            gateway.metrics.known_attacks_skipped(why);
            tracing::warn!(request_id = call.id, why, "not all of a request was compared with known attacks");
            whole = false;
            break;
        }
        let attack = nearest.map(|similarity| text.attack(guard, similarity));
        worst = worst.into_iter().chain(attack).max_by_key(|attack| (attack.blocks, attack.shadow));
    }
    match worst {
        Some(attack) => meant::told(gateway, call, &attack, (&request.model, targets)).map(|()| false),
        // What could not be compared now is to be compared when it comes again.
        None => Ok(whole),
    }
}
