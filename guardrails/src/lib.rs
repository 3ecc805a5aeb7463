//! Text in, verdict out: PII, secrets, prompt injection.
//!
//! A [`Guard`] is compiled from a [`Policy`] and reads text; a [`Vault`] belongs to one request, replaces what
//! the guard found by placeholders and puts the originals back into the answer, whole or as a stream.
//!
//! ```
//! use sluice_guardrails::{Form, Guard, Policy, Vault};
//! let guard = Guard::new(&Policy::default());
//! let mut vault = Vault::new();
//! let prompt = "Write to ada@example.org, please.";
//! vault.reserve(prompt);
//! let sent = vault.redact(&guard, prompt).unwrap().unwrap();
//! assert_eq!(sent, "Write to [EMAIL_ADDRESS_1], please.");
//! assert_eq!(vault.rehydrate("Done: [EMAIL_ADDRESS_1].", Form::Text), "Done: ada@example.org.");
//! ```

#![forbid(unsafe_code)]

// What to do, and the thing that does it.
pub mod channel;
pub mod guard;
pub mod policy;

// Find → resolve → decide → operate.
mod canon;
mod pipeline;
pub mod text;

// What is found.
pub mod answers;
pub mod injection;
pub mod pii;
mod score;
pub mod secrets;
pub mod topics;

// How good the findings are.
pub mod measure;

// What happens to a finding, and how it is undone.
mod confine;
mod destination;
mod json;
pub mod mask;
pub mod media;
pub mod placeholder;
pub mod restore;
pub mod stream;
pub mod template;
mod text_file;
mod texts;
mod trail;
pub mod vault;

// That it worked.
pub mod proof;

pub use channel::{Channel, Reading};
pub use guard::{Class, Finding, Guard, InjectionReport, Recogniser};
pub use mask::Masker;
pub use media::{Media, MediaAction, MediaKind, SignedThinking};
pub use placeholder::placeholders;
pub use policy::{
    Action, Allow, ChannelRule, ClassRule, Day, Deny, EntityRule, Exception, Guards, InjectionAction,
    Networks, Operator, OutputRules, Overrides, Policy, PolicyError, Rules, ToolRules,
};
pub use proof::{Leak, Proof};
pub use restore::{Restore, Restores};
pub use score::Band;
pub use stream::Rehydrator;
pub use template::TemplateAction;
pub use texts::{each_text, read_texts};
pub use trail::{Decision, Step};
pub use vault::{Blocked, Form, Vault};
