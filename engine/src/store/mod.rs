//! Where prompts with their vectors live: in this process, or in a Qdrant collection that several processes share.

mod change;
mod cluster;
mod local;
pub(crate) mod qdrant;

pub(crate) use change::Change;
pub(crate) use cluster::Cluster;
pub(crate) use local::{Known, LocalStore, Near, Neighbourhood};
