//! The harness of the end-to-end tests: a gateway on a free port, scripted providers behind it, clients in front.
//!
//! Everything here panics with a sentence where a test can't go on. Nothing sleeps: tests wait for what happens.

#![forbid(unsafe_code)]

pub mod among;
pub mod bedrock;
pub mod client;
pub mod faulty;
pub mod gate;
pub mod golden;
pub mod guard;
pub mod leak;
pub mod log;
pub mod peer;
pub mod raw;
pub mod stub;

pub use client::{Client, Reply, question, streamed};
pub use gate::{Gate, TWO_TARGETS, script};
pub use guard::{Guard, Say};
pub use raw::Raw;
pub use stub::{Stub, Then};
