//! The same question asked twice at the same time: one asks the provider, the others share its answer.
//!
//! Only what may be remembered is shared, and only where the cache itself would share it: the key is made of the exact
//! key's parts, tenant included, and of the placeholders that the guards issued.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::Call;
use super::flight::{Follow, Role};
use super::live::{End, Live, Reader, Settled};
use super::remember::{FlightLead, Ticket};
use crate::error::ApiError;
use crate::gateway::Gateway;

/// Leaders that a follower may lose before it asks for itself: what fails again and again must not be waited for in line.
const LEADERS: usize = 2;

/// How a request that missed gets its answer.
pub(super) enum Place {
    /// It asks for itself.
    Alone,
    /// It asks, and others may follow.
    Leader(FlightLead),
    /// Somebody asked already.
    Follower(Followed),
}

/// What a follower follows.
pub(super) enum Followed {
    /// A stream, from its beginning.
    Stream(Arc<Live>, Reader),
    /// A whole answer.
    Whole(Arc<Live>, Settled),
}

/// What waiting for a leader came to.
enum Waited {
    Followed(Followed),
    /// The leader failed before anything of its answer was passed on.
    Lost,
    /// It has an answer that is its own, such as one that was cut at a limit.
    Unshared,
}

/// Follows whoever asks the same already, or leads. A stream follows streams alone, or its first word would come with the
/// leader's last one; who wants it whole follows either.
///
/// # Errors
/// [`ApiError::TargetsFailed`] with 504 if leaders take longer than this request may take.
pub(super) async fn join(
    gateway: &Gateway,
    call: &Call,
    ticket: Option<&Ticket>,
    stream: bool,
) -> Result<Place, ApiError> {
    let (Some(memory), Some(key)) = (&gateway.memory, ticket.and_then(Ticket::flight)) else {
        return Ok(Place::Alone);
    };
    let deadline = Instant::from_std(call.started) + gateway.timeouts.total.0;
    for _ in 0..LEADERS {
        let flights = memory.flights();
        let role = flights.follow(&(key, true)).map_or_else(|| flights.join(&(key, stream)), Role::Follower);
        let follow = match role {
            Role::Leader(lead) => return Ok(Place::Leader(lead)),
            Role::Follower(follow) => follow,
        };
        let _waiting = gateway.metrics.waiting();
        match timeout_at(deadline, wait(follow, stream)).await.map_err(|_| too_late())? {
            Waited::Followed(followed) => return Ok(Place::Follower(followed)),
            Waited::Lost => {}
            Waited::Unshared => return Ok(Place::Alone),
        }
    }
    Ok(Place::Alone)
}

async fn wait(follow: Follow<Arc<Live>>, stream: bool) -> Waited {
    let Some(live) = follow.shown().await else { return Waited::Lost };
    if stream {
        return match live.read() {
            Some(reader) => Waited::Followed(Followed::Stream(live, reader)),
            None => Waited::Lost,
        };
    }
    let Some(reader) = live.wait() else { return Waited::Lost };
    match reader.end().await {
        End::Complete(settled) if settled.kept => Waited::Followed(Followed::Whole(live, settled)),
        End::Complete(_) => Waited::Unshared,
        End::Broken(..) => Waited::Lost,
    }
}

fn too_late() -> ApiError {
    ApiError::TargetsFailed {
        status: StatusCode::GATEWAY_TIMEOUT,
        code: "all_targets_failed",
        message: "no target answered: timeout_total, waiting for the same request's answer".to_owned(),
        attempts: Vec::new(),
        retry_after: None,
    }
}
