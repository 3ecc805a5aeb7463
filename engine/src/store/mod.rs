//! Where the vectors of every partition live. One place so far: this process.

mod local;

pub(crate) use local::LocalStore;
