//! The protocol's three services, as far as Sluice uses them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::points_server::{Points, PointsServer};
use ::qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use ::qdrant_client::qdrant::*;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::table::Table;
use crate::{Fault, State, lock};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Clone)]
struct Service(Arc<State>);

pub(crate) async fn run(state: Arc<State>, listener: TcpListener) -> Result<(), tonic::transport::Error> {
    let service = Service(state);
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(PointsServer::new(service.clone()))
        .add_service(CollectionsServer::new(service.clone()))
        .add_service(QdrantServer::new(service))
        .serve_with_incoming(incoming)
        .await
}

impl Service {
    /// What goes wrong goes wrong here, before anything is done.
    async fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let given = request.metadata().get("api-key").and_then(|key| key.to_str().ok());
        if self.0.api_key.is_some() && self.0.api_key.as_deref() != given {
            return Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token"));
        }
        let mut fault = self.0.fault.subscribe();
        loop {
            let now = fault.borrow_and_update().clone();
            match now {
                Fault::None => return Ok(request.into_inner()),
                Fault::Error => return Err(Status::internal("Service internal error: as scripted")),
                Fault::Slow(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => return Ok(request.into_inner()),
                    // The script may change while calls wait.
                    _ = fault.changed() => {}
                },
            }
        }
    }

    fn with<T>(
        &self,
        collection: &str,
        act: impl FnOnce(&mut Table) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut tables = lock(&self.0.tables);
        let missing = || Status::not_found(format!("Not found: Collection `{collection}` doesn't exist!"));
        act(tables.get_mut(collection).ok_or_else(missing)?)
    }
}

fn done() -> Answer<PointsOperationResponse> {
    let result = UpdateResult { operation_id: Some(0), status: UpdateStatus::Completed.into() };
    Ok(Response::new(PointsOperationResponse { result: Some(result), ..PointsOperationResponse::default() }))
}

/// Calls that are not used.
macro_rules! unimplemented_calls {
    ($($name:ident: $request:ty => $response:ty),+ $(,)?) => {
        // As the attribute would spell it, which does not look into macros.
        $(fn $name<'s, 'f>(&'s self, _: Request<$request>) -> Pin<Box<dyn Future<Output = Answer<$response>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented(stringify!($name)))))
        })+
    };
}

#[tonic::async_trait]
impl Qdrant for Service {
    async fn health_check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckReply> {
        self.admit(request).await?;
        let (title, version) = ("stand-in".to_owned(), self.0.version.clone());
        Ok(Response::new(HealthCheckReply { title, version, commit: None }))
    }
}

#[tonic::async_trait]
impl Collections for Service {
    async fn get(&self, request: Request<GetCollectionInfoRequest>) -> Answer<GetCollectionInfoResponse> {
        let request = self.admit(request).await?;
        let config = self.with(&request.collection_name, |table| {
            let vectors_config = table.made_by.vectors_config.clone();
            let params = CollectionParams { vectors_config, ..CollectionParams::default() };
            let quantization_config = table.made_by.quantization_config;
            Ok(CollectionConfig { params: Some(params), quantization_config, ..CollectionConfig::default() })
        })?;
        let info = CollectionInfo { config: Some(config), ..CollectionInfo::default() };
        Ok(Response::new(GetCollectionInfoResponse {
            result: Some(info),
            ..GetCollectionInfoResponse::default()
        }))
    }

    async fn create(&self, request: Request<CreateCollection>) -> Answer<CollectionOperationResponse> {
        let request = self.admit(request).await?;
        let (name, table) = (request.collection_name.clone(), Table::new(request)?);
        let mut tables = lock(&self.0.tables);
        if tables.contains_key(&name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        tables.insert(name, table);
        Ok(Response::new(CollectionOperationResponse { result: true, time: 0.0 }))
    }

    async fn delete(&self, request: Request<DeleteCollection>) -> Answer<CollectionOperationResponse> {
        let request = self.admit(request).await?;
        let result = lock(&self.0.tables).remove(&request.collection_name).is_some();
        Ok(Response::new(CollectionOperationResponse { result, time: 0.0 }))
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Answer<CollectionExistsResponse> {
        let request = self.admit(request).await?;
        let exists = lock(&self.0.tables).contains_key(&request.collection_name);
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, time: 0.0 }))
    }

    unimplemented_calls! {
        list: ListCollectionsRequest => ListCollectionsResponse,
        update: UpdateCollection => CollectionOperationResponse,
        update_aliases: ChangeAliases => CollectionOperationResponse,
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse,
        list_aliases: ListAliasesRequest => ListAliasesResponse,
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse,
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse,
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse,
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse,
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse,
    }
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Answer<PointsOperationResponse> {
        let request = self.admit(request).await?;
        self.with(&request.collection_name, |table| table.upsert(&request))?;
        done()
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Answer<PointsOperationResponse> {
        let request = self.admit(request).await?;
        let Some(PointsSelectorOneOf::Filter(filter)) = request.points.and_then(|p| p.points_selector_one_of)
        else {
            return Err(Status::unimplemented("deletes without a filter"));
        };
        self.with(&request.collection_name, |table| {
            let chosen = table.chosen(Some(&filter))?;
            table.remove(&chosen);
            Ok(())
        })?;
        done()
    }

    async fn get(&self, request: Request<GetPoints>) -> Answer<GetResponse> {
        let request = self.admit(request).await?;
        let selector = request.with_payload.as_ref();
        let result = self.with(&request.collection_name, |table| table.get(&request.ids, selector))?;
        Ok(Response::new(GetResponse { result, ..GetResponse::default() }))
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Answer<PointsOperationResponse> {
        let request = self.admit(request).await?;
        self.with(&request.collection_name, |_| Ok(()))?;
        done()
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Answer<ScrollResponse> {
        let request = self.admit(request).await?;
        let (filter, from) = (request.filter.as_ref(), request.offset.as_ref());
        let limit = request.limit.unwrap_or(10) as usize;
        let selector = request.with_payload.as_ref();
        let (result, next_page_offset) = self.with(&request.collection_name, |table| {
            let (ids, next) = table.page(filter, from, limit)?;
            Ok((table.retrieved(&ids, selector), next))
        })?;
        Ok(Response::new(ScrollResponse { result, next_page_offset, ..ScrollResponse::default() }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Answer<CountResponse> {
        let request = self.admit(request).await?;
        let count =
            self.with(&request.collection_name, |table| Ok(table.chosen(request.filter.as_ref())?.len()))?;
        let result = Some(CountResult { count: count as u64 });
        Ok(Response::new(CountResponse { result, ..CountResponse::default() }))
    }

    async fn query_batch(&self, request: Request<QueryBatchPoints>) -> Answer<QueryBatchResponse> {
        let request = self.admit(request).await?;
        let result = self.with(&request.collection_name, |table| {
            let queries = request.query_points.iter();
            queries
                .map(|query| Ok(BatchResult { result: table.query(query)? }))
                .collect::<Result<_, Status>>()
        })?;
        Ok(Response::new(QueryBatchResponse { result, ..QueryBatchResponse::default() }))
    }

    unimplemented_calls! {
        update_vectors: UpdatePointVectors => PointsOperationResponse,
        delete_vectors: DeletePointVectors => PointsOperationResponse,
        set_payload: SetPayloadPoints => PointsOperationResponse,
        overwrite_payload: SetPayloadPoints => PointsOperationResponse,
        delete_payload: DeletePayloadPoints => PointsOperationResponse,
        clear_payload: ClearPayloadPoints => PointsOperationResponse,
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse,
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse,
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse,
        search: SearchPoints => SearchResponse,
        search_batch: SearchBatchPoints => SearchBatchResponse,
        search_groups: SearchPointGroups => SearchGroupsResponse,
        recommend: RecommendPoints => RecommendResponse,
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse,
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse,
        discover: DiscoverPoints => DiscoverResponse,
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse,
        update_batch: UpdateBatchPoints => UpdateBatchResponse,
        query: QueryPoints => QueryResponse,
        query_groups: QueryPointGroups => QueryGroupsResponse,
        facet: FacetCounts => FacetResponse,
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse,
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse,
    }
}
