//! What travels: strict JSON, chat chunks, usage, server-sent events and frames. Plain data, no I/O.

pub mod anthropic;
pub mod chat;
pub mod frames;
pub mod json;
pub mod responses;
pub mod sse;
pub mod tokens;
pub mod usage;
