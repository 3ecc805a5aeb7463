//! What travels: strict JSON, chat chunks, usage and server-sent events. Plain data, no I/O.

pub mod anthropic;
pub mod chat;
pub mod json;
pub mod responses;
pub mod sse;
pub mod tokens;
pub mod usage;
