//! Parts of a request about which the policy decides as a whole: what is no text, and text that must not change.

use sluice_guardrails::{Channel, Step};

/// A part, and what becomes of it.
pub(crate) struct Part {
    /// The way to it.
    pub(crate) path: Vec<Step>,
    /// Who speaks there.
    pub(crate) channel: Channel,
    /// What of the policy decides: `media` or `signed_thinking`.
    pub(crate) setting: Setting,
    /// What it is, or what was found in it.
    pub(crate) entity: &'static str,
    /// What becomes of it.
    pub(crate) fate: Fate,
    /// The policy is only tried: that is what would become of it.
    pub(crate) shadow: bool,
}

/// What of the policy decides about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `guardrails.media`
    Media,
    /// `guardrails.signed_thinking`
    SignedThinking,
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It goes out as it is.
    Kept,
    /// It goes out as it is, to in-house targets alone.
    Routed,
    /// The request is refused.
    Blocked,
}

impl Setting {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::SignedThinking => "signed_thinking",
        }
    }
}

impl Fate {
    /// As it is written in the audit log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kept => "keep",
            Self::Routed => "route",
            Self::Blocked => "block",
        }
    }
}
