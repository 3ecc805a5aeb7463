//! The collection: made when it is not there, and refused when it holds something else than this instance writes.

use std::time::Duration;

use qdrant_client::qdrant::vectors_config::Config as Vectored;
use qdrant_client::qdrant::{
    BinaryQuantization, CreateCollection, CreateFieldIndexCollection, Distance, FieldType, GetPoints,
    HnswConfigDiff, IntegerIndexParams, KeywordIndexParams, PayloadIndexParams, PointStruct,
    QuantizationConfig, QuantizationType, ScalarQuantization, UpsertPoints, VectorParams, VectorParamsMap,
    VectorsConfig, WithPayloadSelector, payload_index_params, quantization_config, with_payload_selector,
};
use qdrant_client::{Qdrant, QdrantError};

use super::points::{self, field, kind};
use super::{Quantisation, SharedConfig, Space};

/// Changes whenever an older program could not read what a newer one wrote, or the other way round.
const FORM: &str = "1";
/// The first release with conditional updates, without which two instances could undo each other's labels.
const OLDEST: (u64, u64) = (1, 16);

/// Why a collection is not used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server did not answer, or not well. It may later.
    Unreachable(String),
    /// It answers, and this instance must not write there.
    Refused(String),
}

impl From<QdrantError> for Trouble {
    fn from(error: QdrantError) -> Self {
        Self::Unreachable(said(&error))
    }
}

/// What an error says, without what was sent.
pub(super) fn said(error: &QdrantError) -> String {
    match error {
        QdrantError::ResponseError { status } => {
            // Behind the address that could not be reached comes the whole chain of causes, as a program spells it.
            let message = status.message().split(": tonic::").next().unwrap_or_default();
            let message: String = message.chars().take(200).collect();
            format!("{:?}: {message}", status.code())
        }
        other => other.to_string().chars().take(200).collect(),
    }
}

/// Makes the collection if it is not there, and looks whether it is this instance's kind.
pub(super) async fn ensure(client: &Qdrant, config: &SharedConfig, space: &Space) -> Result<(), Trouble> {
    let version = client.health_check().await?.version;
    if parsed(&version).is_some_and(|version| version < OLDEST) {
        let (major, minor) = OLDEST;
        let problem = format!("the server is Qdrant {version}; expected {major}.{minor} or later");
        return Err(Trouble::Refused(problem));
    }
    let name = &config.collection;
    if !client.collection_exists(name).await? {
        // Another instance may be faster, which is as good.
        let created = client.create_collection(wanted(config, space)).await;
        if created.is_err() && !client.collection_exists(name).await? {
            created?;
        }
    }
    index(client, name).await?;
    let mark = mark(config, space);
    // Only the first one is written; then what is there is compared.
    let insert = UpsertPoints {
        collection_name: name.clone(),
        wait: Some(true),
        points: vec![mark],
        update_mode: Some(qdrant_client::qdrant::UpdateMode::InsertOnly.into()),
        // Servers that know no modes have this: no point has such a kind.
        update_filter: Some(points::all([points::is(field::KIND, "none")])),
        ..UpsertPoints::default()
    };
    check_dimension(client, config, space).await?;
    client.upsert_points(insert).await?;
    check_mark(client, config, space).await
}

fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn wanted(config: &SharedConfig, space: &Space) -> CreateCollection {
    let quantization = match config.quantisation {
        Quantisation::None => None,
        Quantisation::Scalar => Some(quantization_config::Quantization::Scalar(ScalarQuantization {
            r#type: QuantizationType::Int8.into(),
            quantile: Some(0.99),
            ..ScalarQuantization::default()
        })),
        Quantisation::Binary => {
            Some(quantization_config::Quantization::Binary(BinaryQuantization::default()))
        }
    };
    let prompt = VectorParams {
        size: space.dimension as u64,
        distance: Distance::Cosine.into(),
        ..VectorParams::default()
    };
    let map = [(points::PROMPT.to_owned(), prompt)].into_iter().collect();
    CreateCollection {
        collection_name: config.collection.clone(),
        vectors_config: Some(VectorsConfig { config: Some(Vectored::ParamsMap(VectorParamsMap { map })) }),
        // One graph a partition and none over all: no search looks beyond its partition.
        hnsw_config: Some(HnswConfigDiff { m: Some(0), payload_m: Some(16), ..HnswConfigDiff::default() }),
        quantization_config: quantization
            .map(|quantization| QuantizationConfig { quantization: Some(quantization) }),
        ..CreateCollection::default()
    }
}

/// Indices of all that is filtered by. One that is there already stays.
async fn index(client: &Qdrant, collection: &str) -> Result<(), Trouble> {
    // Graphs are built by partition and by nothing else.
    let keyword = |is_tenant| {
        let (is_tenant, enable_hnsw) = (Some(is_tenant), Some(is_tenant));
        let params = KeywordIndexParams { is_tenant, enable_hnsw, ..KeywordIndexParams::default() };
        (FieldType::Keyword, payload_index_params::IndexParams::KeywordIndexParams(params))
    };
    let whole = || {
        let (lookup, range, enable_hnsw) = (Some(false), Some(true), Some(false));
        let params = IntegerIndexParams { lookup, range, enable_hnsw, ..IntegerIndexParams::default() };
        (FieldType::Integer, payload_index_params::IndexParams::IntegerIndexParams(params))
    };
    let fields = [
        (field::PARTITION, keyword(true)),
        (field::KIND, keyword(false)),
        (field::NORMALISED, keyword(false)),
        (field::CLUSTER, keyword(false)),
        (field::TAGS, keyword(false)),
        (field::EXPIRES, whole()),
    ];
    for (name, (field_type, params)) in fields {
        let request = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: name.to_owned(),
            field_type: Some(field_type.into()),
            field_index_params: Some(PayloadIndexParams { index_params: Some(params) }),
            ..CreateFieldIndexCollection::default()
        };
        client.create_field_index(request).await?;
    }
    Ok(())
}

async fn check_dimension(client: &Qdrant, config: &SharedConfig, space: &Space) -> Result<(), Trouble> {
    let info = client.collection_info(&config.collection).await?;
    let params = info.result.and_then(|info| info.config?.params?.vectors_config?.config);
    let found = match params {
        Some(Vectored::ParamsMap(vectors)) => {
            vectors.map.get(points::PROMPT).map(|vector| (vector.size, vector.distance))
        }
        _ => None,
    };
    let collection = &config.collection;
    match found {
        Some((size, distance))
            if size == space.dimension as u64 && distance == i32::from(Distance::Cosine) =>
        {
            Ok(())
        }
        Some((size, distance)) if distance == i32::from(Distance::Cosine) => Err(Trouble::Refused(format!(
            "collection '{collection}' has vectors of {size} numbers; the embedding model {} gives {}: name another collection",
            space.model, space.dimension
        ))),
        _ => Err(Trouble::Refused(format!(
            "collection '{collection}' was not made by this program: expected a vector named '{}' compared by cosine; name another collection",
            points::PROMPT
        ))),
    }
}

/// Says what the collection is for.
fn mark(config: &SharedConfig, space: &Space) -> PointStruct {
    let payload = points::payload([
        (field::KIND, points::text(kind::COLLECTION)),
        ("form", points::text(FORM)),
        ("model", points::text(&space.model)),
        ("keys", points::text(&space.key_id)),
    ]);
    points::point(points::named_id(kind::COLLECTION, &config.collection), payload, None)
}

async fn check_mark(client: &Qdrant, config: &SharedConfig, space: &Space) -> Result<(), Trouble> {
    let name = &config.collection;
    let request = GetPoints {
        collection_name: name.clone(),
        ids: vec![points::named_id(kind::COLLECTION, name)],
        with_payload: Some(everything()),
        ..GetPoints::default()
    };
    let found = client.get_points(request).await?.result;
    let Some(found) = found.first() else {
        return Err(Trouble::Unreachable(format!("collection '{name}' does not give back what was written")));
    };
    let is = |name: &str| points::get_text(&found.payload, name).unwrap_or_default().to_owned();
    let expected = [
        ("form", FORM, "was written by another version of this program, form"),
        ("model", &space.model, "holds vectors of another embedding model,"),
        ("keys", &space.key_id, "was written with another cache.qdrant.key, id"),
    ];
    for (field, own, why) in expected {
        if is(field) != own {
            let problem = format!(
                "collection '{name}' {why} '{}'; expected '{own}': name another collection",
                is(field)
            );
            return Err(Trouble::Refused(problem));
        }
    }
    Ok(())
}

pub(super) fn everything() -> WithPayloadSelector {
    WithPayloadSelector { selector_options: Some(with_payload_selector::SelectorOptions::Enable(true)) }
}

/// How long to wait for the first answer at all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
