//! Where the vectors of every partition live. One place so far: this process.

mod cluster;
mod local;

pub(crate) use cluster::Cluster;
pub(crate) use local::{LocalStore, Near, Neighbourhood};
