//! HTTP in, HTTP out: keys, routing, providers, accounting.
//!
//! The way of a request: [`serve`] accepts, [`endpoints`] finds what answers, [`chat`] tells the story from the guards
//! to the answer, [`relay`] is the way out. [`config`] is what the operator wrote, [`gateway`] is what runs.

#![forbid(unsafe_code)]

pub mod admin;
pub mod aliases;
pub mod audit;
pub mod body;
mod breaker;
pub mod chat;
pub mod client_api;
pub mod commands;
pub mod config;
pub mod embeddings;
pub mod endpoints;
pub mod error;
pub mod external;
mod feedback;
pub mod gateway;
pub mod ids;
mod inspect;
mod journal;
pub mod keys;
pub mod known;
pub mod ledger;
pub mod local;
mod meaning;
pub mod mock;
pub mod passthrough;
pub mod policy;
pub mod presidio;
pub mod provider_api;
pub mod raw;
pub mod relay;
pub mod route;
pub mod secret;
pub mod serve;
mod shared;
pub mod telemetry;
mod topics;
pub mod upstream;
pub mod wire;
