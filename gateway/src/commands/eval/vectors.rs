//! The vectors of many texts, from the model that a command was told.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::commands::EmbeddingArgs;

/// The model's name and each text's vector; of a text longer than the model's window, that of its beginning.
pub(super) fn of(args: &EmbeddingArgs, texts: &[&str]) -> Result<(String, Vec<Vec<f32>>), String> {
    let embedder = crate::commands::load_embedder(&args.section())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let one = async |text: &&str| embedder.embed_within("", text, None).await;
    let embedded = stream::iter(texts).map(one).buffered(super::AT_ONCE).try_collect();
    let embedded: Vec<_> = runtime.block_on(embedded).map_err(|e| e.to_string())?;
    // Formats of numbers differ in vectors by less than what is learnt from them.
    let model = embedder.id().rsplit_once('/').map_or(embedder.id(), |(model, _)| model).to_owned();
    Ok((model, embedded.iter().map(|e| e.embedding.vector.clone()).collect()))
}
