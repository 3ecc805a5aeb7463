//! Collections and their points.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    CreateCollection, Filter, PointId, PointStruct, QueryPoints, RetrievedPoint, ScoredPoint, UpdateMode,
    UpsertPoints, Value, VectorParamsMap, Vectors, WithPayloadSelector, query, vector, vector_input, vectors,
};
use tonic::Status;

use crate::filter::passes;

pub(crate) type Tables = HashMap<String, Table>;

/// Ids in their order: numbers before names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    Number(u64),
    Name(String),
}

#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) payload: HashMap<String, Value>,
    vectors: HashMap<String, Vec<f32>>,
}

/// A collection.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) made_by: CreateCollection,
    vectors: VectorParamsMap,
    points: BTreeMap<Id, Point>,
}

fn id_of(id: Option<&PointId>) -> Result<Id, Status> {
    match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Num(number)) => Ok(Id::Number(*number)),
        Some(PointIdOptions::Uuid(name)) if name.len() == 36 => Ok(Id::Name(name.to_lowercase())),
        other => Err(Status::invalid_argument(format!("no point id: {other:?}"))),
    }
}

impl Id {
    fn spelled(&self) -> PointId {
        let options = match self {
            Self::Number(number) => PointIdOptions::Num(*number),
            Self::Name(name) => PointIdOptions::Uuid(name.clone()),
        };
        PointId { point_id_options: Some(options) }
    }
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter().map(|x| x / length).collect()
}

fn selected(
    payload: &HashMap<String, Value>,
    selector: Option<&WithPayloadSelector>,
) -> HashMap<String, Value> {
    let named = |names: &[String], wanted: bool| {
        let keep = |(name, _): &(&String, &Value)| names.contains(name) == wanted;
        payload.iter().filter(keep).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    match selector.and_then(|selector| selector.selector_options.as_ref()) {
        Some(SelectorOptions::Enable(true)) => payload.clone(),
        Some(SelectorOptions::Include(include)) => named(&include.fields, true),
        Some(SelectorOptions::Exclude(exclude)) => named(&exclude.fields, false),
        Some(SelectorOptions::Enable(false)) | None => HashMap::new(),
    }
}

impl Table {
    pub(crate) fn new(made_by: CreateCollection) -> Result<Self, Status> {
        let vectors = match made_by.vectors_config.as_ref().and_then(|config| config.config.as_ref()) {
            Some(Config::ParamsMap(map)) => map.clone(),
            Some(Config::Params(params)) => {
                VectorParamsMap { map: [(String::new(), *params)].into_iter().collect() }
            }
            None => VectorParamsMap::default(),
        };
        if vectors.map.values().any(|vector| vector.size == 0) {
            return Err(Status::invalid_argument("vector size must be at least 1"));
        }
        Ok(Self { made_by, vectors, points: BTreeMap::new() })
    }

    pub(crate) fn count(&self, field: &str, value: &str) -> usize {
        let is = |point: &&Point| matches!(point.payload.get(field).and_then(|v| v.kind.as_ref()), Some(Kind::StringValue(own)) if own == value);
        self.points.values().filter(is).count()
    }

    fn read_vectors(&self, vectors: Option<&Vectors>) -> Result<HashMap<String, Vec<f32>>, Status> {
        let options = vectors.and_then(|vectors| vectors.vectors_options.as_ref());
        let named = match options {
            Some(vectors::VectorsOptions::Vectors(named)) => named.vectors.clone(),
            Some(vectors::VectorsOptions::Vector(single)) => {
                [(String::new(), single.clone())].into_iter().collect()
            }
            None => return Err(Status::invalid_argument("Expected some vectors")),
        };
        let mut read = HashMap::new();
        for (name, given) in named {
            let Some(params) = self.vectors.map.get(&name) else {
                return Err(Status::invalid_argument(format!("Not existing vector name error: {name}")));
            };
            let Some(vector::Vector::Dense(dense)) = given.vector else {
                return Err(Status::unimplemented("vectors that are not dense"));
            };
            if dense.data.len() as u64 != params.size {
                let (expected, got) = (params.size, dense.data.len());
                let problem = format!("Vector dimension error: expected dim: {expected}, got {got}");
                return Err(Status::invalid_argument(problem));
            }
            read.insert(name, unit(&dense.data));
        }
        Ok(read)
    }

    pub(crate) fn upsert(&mut self, request: &UpsertPoints) -> Result<(), Status> {
        let mode = UpdateMode::try_from(request.update_mode.unwrap_or_default())
            .map_err(|_| Status::invalid_argument("update_mode"))?;
        for given in &request.points {
            let id = id_of(given.id.as_ref())?;
            let point = self.read(given)?;
            let may = match (self.points.get(&id), mode) {
                (None, UpdateMode::UpdateOnly) | (Some(_), UpdateMode::InsertOnly) => false,
                (None, _) => true,
                (Some(there), _) => match &request.update_filter {
                    Some(filter) => passes(filter, &id.spelled(), there)?,
                    None => true,
                },
            };
            if may {
                self.points.insert(id, point);
            }
        }
        Ok(())
    }

    fn read(&self, given: &PointStruct) -> Result<Point, Status> {
        Ok(Point { payload: given.payload.clone(), vectors: self.read_vectors(given.vectors.as_ref())? })
    }

    pub(crate) fn chosen(&self, filter: Option<&Filter>) -> Result<Vec<Id>, Status> {
        let mut chosen = Vec::new();
        for (id, point) in &self.points {
            let passed = match filter {
                Some(filter) => passes(filter, &id.spelled(), point)?,
                None => true,
            };
            if passed {
                chosen.push(id.clone());
            }
        }
        Ok(chosen)
    }

    pub(crate) fn remove(&mut self, ids: &[Id]) {
        ids.iter().for_each(|id| drop(self.points.remove(id)));
    }

    pub(crate) fn get(
        &self,
        ids: &[PointId],
        selector: Option<&WithPayloadSelector>,
    ) -> Result<Vec<RetrievedPoint>, Status> {
        let ids = ids.iter().map(|id| id_of(Some(id))).collect::<Result<Vec<_>, _>>()?;
        Ok(self.retrieved(&ids, selector))
    }

    pub(crate) fn retrieved(
        &self,
        ids: &[Id],
        selector: Option<&WithPayloadSelector>,
    ) -> Vec<RetrievedPoint> {
        let retrieve = |id: &Id| {
            let payload = selected(&self.points.get(id)?.payload, selector);
            Some(RetrievedPoint { id: Some(id.spelled()), payload, ..RetrievedPoint::default() })
        };
        ids.iter().filter_map(retrieve).collect()
    }

    /// A page of the points that pass, and the id at which the next one begins.
    pub(crate) fn page(
        &self,
        filter: Option<&Filter>,
        from: Option<&PointId>,
        limit: usize,
    ) -> Result<(Vec<Id>, Option<PointId>), Status> {
        let from = from.map(|id| id_of(Some(id))).transpose()?;
        let mut ids = self.chosen(filter)?;
        ids.retain(|id| from.as_ref().is_none_or(|from| id >= from));
        let next = ids.get(limit).map(Id::spelled);
        ids.truncate(limit);
        Ok((ids, next))
    }

    pub(crate) fn query(&self, request: &QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
        let limit = usize::try_from(request.limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let ids = self.chosen(request.filter.as_ref())?;
        let mut scored: Vec<(f32, Id)> = match request.query.as_ref().and_then(|query| query.variant.as_ref())
        {
            None => ids.into_iter().map(|id| (0.0, id)).collect(),
            Some(query::Variant::Nearest(nearest)) => {
                let Some(vector_input::Variant::Dense(wanted)) = &nearest.variant else {
                    return Err(Status::unimplemented("queries that are not dense"));
                };
                let name = request.using.clone().unwrap_or_default();
                let Some(params) = self.vectors.map.get(&name) else {
                    return Err(Status::invalid_argument(format!("Not existing vector name error: {name}")));
                };
                if wanted.data.len() as u64 != params.size {
                    return Err(Status::invalid_argument("Vector dimension error"));
                }
                let wanted = unit(&wanted.data);
                let score = |id: Id| {
                    let own = self.points.get(&id)?.vectors.get(&name)?;
                    Some((own.iter().zip(&wanted).map(|(x, y)| x * y).sum(), id))
                };
                ids.into_iter().filter_map(score).collect()
            }
            Some(other) => return Err(Status::unimplemented(format!("query {other:?}"))),
        };
        scored.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
        scored.retain(|(score, _)| request.score_threshold.is_none_or(|least| *score >= least));
        scored.truncate(limit);
        let spell = |(score, id): (f32, Id)| {
            let payload = selected(&self.points.get(&id)?.payload, request.with_payload.as_ref());
            Some(ScoredPoint { id: Some(id.spelled()), payload, score, ..ScoredPoint::default() })
        };
        Ok(scored.into_iter().filter_map(spell).collect())
    }
}
