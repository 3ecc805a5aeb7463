//! The scripted provider: an OpenAI-compatible upstream with any latency, error, stall or cut that a script asks for.
//!
//! It stands in for providers in tests, benches and the demo, and for everybody who tries Sluice without a key.

mod reply;
pub mod script;
mod server;

pub use script::Script;
pub use server::{Mock, Seen};
