//! Text in, numbers out: local embedding models.
//!
//! The way of a text: [`EmbedPool::embed`] looks into its memo, queues the text for a worker thread, the worker asks
//! its [`Embedder`], and the caller gets a unit vector. The way of a model onto the machine: [`pull`] finds
//! or fetches the files the [registry](ModelSpec) names, checks their hashes, and [`BertEmbedder::load`] reads them.

mod activation;
mod bert;
mod embedder;
mod hashed;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod memo;
mod pooling;
mod precision;
mod registry;
mod tokens;
mod weights;
mod wordpiece;
mod worker;

pub use bert::{BertEmbedder, Kernel, LoadError, TokenStates};
pub use embedder::{EmbedError, Embedder, Embedding};
pub use hashed::HashedEmbedder;
pub use pooling::Pooling;
pub use precision::{Precision, UnknownPrecision};
pub use registry::{
    DEFAULT_MODEL, FileSpec, FolderError, ModelSpec, PackageSpec, ResolveError, Source, exists, find, known,
    names, resolve,
};
pub use weights::{
    HUB, ModelFiles, NoProgress, Origin, Progress, PullOptions, Record, SourceFailure, WeightsError, locate,
    model_dir, pull,
};
pub use worker::{EmbedPool, Embedded, PoolOptions, Timing};
