//! A gateway at work with two scripted providers behind it.

use std::net::SocketAddr;
use std::sync::{Arc, Once, OnceLock};

use rustls::crypto::ring;
use sluice::config::{self, CachePolicy, CacheStore, QdrantSection, Span};
use sluice::gateway::{Gateway, Parts};
use sluice::mock::{Mock, Script};
use sluice::serve::Server;
use sluice_models::{
    BertEmbedder, DEFAULT_MODEL, EmbedPool, HashedEmbedder, NoProgress, PoolOptions, PullOptions,
};

use sluice_qdrant_stand_in::StandIn;

use crate::client::{Client, Reply, question};
use crate::log;

/// Two providers behind the model `chat`, each asked once. All tests share the workers of the real embedding model, so
/// a prompt may wait long for them.
pub const TWO_TARGETS: &str = "
providers:
  primary: {kind: mock, base_url: '{primary}', api_key: 'env:TEST_PRIMARY'}
  backup: {kind: mock, base_url: '{backup}'}
routes:
  - {model: chat, targets: [primary/model-a, backup/model-b]}
retry: {rounds: 0}
embedding: {deadline: 5m}
";

/// A gateway on free ports. Dropped, it stops without waiting.
pub struct Gate {
    /// The provider at `{primary}`; it answers `You said: …` until it is given another script.
    pub primary: Mock,
    /// The provider at `{backup}`.
    pub backup: Mock,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Where Presidio's clients connect, if the configuration has an address for them.
    pub presidio: Option<SocketAddr>,
    /// A client without a key.
    pub client: Client,
    server: Option<Server>,
    /// Where its cache is, if not in the gateway.
    store: Option<Arc<StandIn>>,
}

/// Whether the running test is one of those that are repeated with the cache in Qdrant: a copy of its module in
/// `on_qdrant`, after which the test's thread is named.
pub fn on_qdrant() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("on_qdrant::"))
}

/// The environment of every gateway here: `TEST_X` holds `sk-test-x`, nothing else is set.
pub fn env(name: &str) -> Option<String> {
    name.strip_prefix("TEST_").map(|rest| format!("sk-test-{}", rest.to_lowercase()))
}

/// A script for a provider, from YAML.
///
/// # Panics
/// If it is none.
pub fn script(yaml: &str) -> Script {
    Script::parse(yaml).expect("the script can be read")
}

impl Gate {
    /// [`TWO_TARGETS`] and these lines; prompts are compared by the words they share.
    pub fn with(more: &str) -> Self {
        Self::start(&format!("{TWO_TARGETS}{more}\n"))
    }

    /// A gateway with this configuration, in which `{primary}` and `{backup}` stand for the providers' base URLs.
    /// Prompts are compared by the words they share.
    pub fn start(yaml: &str) -> Self {
        Self::build(yaml, Some(words()))
    }

    /// The same in another environment.
    pub fn start_in(yaml: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let store = on_qdrant().then(|| Arc::new(StandIn::start()));
        Self::build_on(yaml, Some(words()), store, env)
    }

    /// [`TWO_TARGETS`] and these lines, with the real embedding model.
    pub fn with_weights(more: &str) -> Self {
        Self::build(&format!("{TWO_TARGETS}{more}\n"), Some(weights()))
    }

    /// [`TWO_TARGETS`] and these lines, with the cache in a collection of this server; prompts are compared by the words they
    /// share.
    pub fn sharing(store: &Arc<StandIn>, more: &str) -> Self {
        Self::build_on(&format!("{TWO_TARGETS}{more}\n"), Some(words()), Some(Arc::clone(store)), &env)
    }

    /// [`Gate::sharing`] with the real embedding model.
    pub fn sharing_with_weights(store: &Arc<StandIn>, more: &str) -> Self {
        Self::build_on(&format!("{TWO_TARGETS}{more}\n"), Some(weights()), Some(Arc::clone(store)), &env)
    }

    /// A gateway with this configuration and embedding model.
    ///
    /// # Panics
    /// If the configuration is wrong or the system gives no port.
    pub fn build(yaml: &str, embedder: Option<EmbedPool>) -> Self {
        let store = on_qdrant().then(|| Arc::new(StandIn::start()));
        Self::build_on(yaml, embedder, store, &env)
    }

    fn build_on(
        yaml: &str,
        embedder: Option<EmbedPool>,
        store: Option<Arc<StandIn>>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        log::capture();
        install_tls();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mock = || Mock::start(loopback, Script::default()).expect("a port for a provider");
        let (primary, backup) = (mock(), mock());
        let yaml = yaml.replace("{primary}", &primary.base_url()).replace("{backup}", &backup.base_url());
        let mut config = config::parse(&yaml, "test.yaml").expect("the configuration can be read");
        // A threshold answers the same each time; tests of what is learnt say so.
        if !yaml.contains("policy:") {
            config.cache.policy = CachePolicy::Fixed;
        }
        if let Some(store) = &store {
            config.cache.store = CacheStore::Qdrant;
            // Patient, unless a test says how much: a machine that runs all tests at once may be slow.
            let own = |url: String| QdrantSection { timeout: Span::seconds(60), ..QdrantSection::at(url) };
            let section = config.cache.qdrant.get_or_insert_with(|| own(String::new()));
            section.url = store.url();
        }
        let parts = Parts { embedder, mock: None, serving: true };
        let (gateway, _) = Gateway::build(&config, parts, env).expect("the configuration is right");
        let server = Server::start(Arc::new(gateway), loopback, loopback).expect("ports for the gateway");
        let (address, admin, presidio) = (server.address, server.admin, server.presidio);
        let client = Client::new(address);
        Self { primary, backup, address, admin, presidio, client, server: Some(server), store }
    }

    /// Asks the model `chat` one question, whole.
    pub async fn ask(&self, text: &str) -> Reply {
        self.client.chat(&question(text)).await
    }

    /// A client that presents the virtual key whose secret is `env:NAME`.
    ///
    /// # Panics
    /// If the name does not begin with `TEST_`.
    pub fn key(&self, name: &str) -> Client {
        let secret = env(name).expect("a variable of the tests' environment");
        self.client.with("authorization", &format!("Bearer {secret}"))
    }

    /// What a scrape of the admin address gives.
    pub async fn metrics(&self) -> String {
        Client::new(self.admin).plain("/metrics").await
    }

    /// Waits until a scrape holds this line.
    pub async fn until(&self, line: &str) {
        while !self.metrics().await.lines().any(|other| other == line) {
            tokio::task::yield_now().await;
        }
    }

    /// The server that has its cache.
    ///
    /// # Panics
    /// If the gateway has it itself.
    pub fn store(&self) -> &StandIn {
        self.store.as_deref().expect("a cache in Qdrant")
    }

    /// Every byte that the two providers got.
    pub fn received(&self) -> Vec<u8> {
        [&self.primary, &self.backup].iter().flat_map(|mock| mock.seen()).flat_map(|s| s.bytes()).collect()
    }

    /// Tells the server to stop, on a thread of its own; the handle completes when every answer under way is sent.
    ///
    /// # Panics
    /// If it was stopped before.
    pub fn stop(&mut self) -> tokio::task::JoinHandle<()> {
        let server = self.server.take().expect("the gateway is stopped once");
        tokio::task::spawn_blocking(move || server.stop())
    }
}

/// The TLS provider that outbound connections need, once per process.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    // A second installation is the only way to fail.
    ONCE.call_once(|| drop(ring::default_provider().install_default()));
}

/// An embedding model without weights: texts with the same words are near, in whatever order they stand.
///
/// # Panics
/// If the system gives no thread.
pub fn words() -> EmbedPool {
    EmbedPool::start(Arc::new(HashedEmbedder::new(512)), PoolOptions::default()).expect("a thread")
}

/// The real embedding model, loaded once for all tests.
///
/// # Panics
/// If its weights are not to be had.
pub fn weights() -> EmbedPool {
    static POOL: OnceLock<EmbedPool> = OnceLock::new();
    let load = || {
        log::capture();
        install_tls();
        let spec = sluice_models::find(DEFAULT_MODEL).expect("the default model is in the registry");
        let files = sluice_models::pull(spec, &PullOptions::default(), &NoProgress).expect("the weights");
        let embedder = BertEmbedder::load(spec, &files, sluice_models::Precision::Auto)
            .expect("the weights can be loaded");
        EmbedPool::start(Arc::new(embedder), PoolOptions::default()).expect("a thread")
    };
    POOL.get_or_init(load).clone()
}
