//! The cache that several gateways share: how the configuration becomes a store, and the key that all of them have.

use std::sync::Arc;

use sluice_engine::{CacheConfig, Quantisation, SemanticCache, SharedConfig, Space, SystemClock};

use crate::config::{self, QdrantSection};

/// A cache that is connected, or will be, and the key to what is in it.
pub(crate) struct Shared {
    pub(crate) cache: SemanticCache,
    pub(crate) key: [u8; 32],
}

/// Connects to the collection. A server that is not there is waited for in the background.
///
/// # Errors
/// A sentence with the field's name: a secret that is not there, or a collection that must not be used.
pub(crate) fn connect(
    section: &QdrantSection,
    cache: CacheConfig,
    (model, dimension): (String, usize),
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Shared, String> {
    let secret = |name: &str, source: &Option<crate::secret::SecretSource>| {
        let read = source.as_ref().map(|source| source.read(env)).transpose();
        read.map_err(|problem| format!("cache.qdrant.{name}: {problem}"))
    };
    let api_key = secret("api_key", &section.api_key)?;
    // It goes into a header, and what can't stand there would be spelled out in an error.
    if api_key.as_ref().is_some_and(|key| !key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err("cache.qdrant.api_key: expected letters, digits and signs without spaces".to_owned());
    }
    let key = secret("key", &section.key)?;
    let material = key.as_ref().map_or(section.collection.as_str(), |key| key.expose());
    let key = blake3::derive_key("sluice cache.qdrant.key v1", material.as_bytes());
    let key_id = blake3::keyed_hash(&key, b"id").to_hex()[..16].to_owned();
    let config = SharedConfig {
        url: section.url.clone(),
        api_key: api_key.map(|key| key.expose().to_owned()),
        collection: section.collection.clone(),
        timeout: section.timeout.0,
        write_batch: section.write_batch,
        quantisation: match section.quantisation {
            config::Quantisation::None => Quantisation::None,
            config::Quantisation::Scalar => Quantisation::Scalar,
            config::Quantisation::Binary => Quantisation::Binary,
        },
    };
    let space = Space { model, dimension, key_id };
    let cache = SemanticCache::sharing(cache, config, space, Arc::new(SystemClock));
    Ok(Shared { cache: cache.map_err(|refused| format!("cache.qdrant: {refused}"))?, key })
}
