//! What the operator wrote: one YAML file, every field documented, unknown fields refused.

mod audit;
mod aws;
mod bank;
mod cache;
mod connections;
mod decide;
mod entra;
mod external;
mod file;
mod presidio;
mod qdrant;
mod routing;
pub(crate) mod topics;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_engine::{CacheConfig, IndexKind};
use sluice_models::Precision;

pub use audit::{AuditSection, OnError};
pub use aws::AwsSection;
pub use bank::BankSection;
pub use cache::{JudgeSection, RouteCacheSection};
pub use connections::{ConnectionSection, Http, Roots, TlsSection};
pub use decide::{CachePolicy, Shadow};
pub use entra::EntraSection;
pub use external::{
    BreakerSection, ExternalKind, ExternalMode, ExternalSection, GuardrailSection, Phase, Sees,
};
pub use file::{ConfigError, load, parse, parse_as, schema};
pub use presidio::PresidioSection;
pub use qdrant::{CacheStore, QdrantSection, Quantisation};
pub use routing::{
    ApiKeyConfig, Between, Branch, BreakerOfTargets, Conditions, CooldownSection, FallbackSection,
    RetryBudgetSection, Strategy, TargetNode, WeightedNode, Words,
};
pub use topics::{TopicAction, TopicMode, TopicSection};
pub use units::{ByteSize, Portion, Span, TimeSensitive, duration};

use crate::provider_api::Quirks;
use crate::secret::SecretSource;

/// The configuration file of Sluice.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect. An address other than loopback needs at least one key.
    pub listen: SocketAddr,
    /// Where operators connect: `/metrics`, health, and what makes the cache forget, import and export. Keep it internal; on
    /// loopback it asks for no key, elsewhere any will do.
    pub admin: SocketAddr,
    /// Virtual keys that clients must present. Without any, everybody who reaches the address may ask.
    pub keys: Vec<KeyConfig>,
    /// Where models are served, by a name of your choice. Without any: those whose key is in the environment, else the
    /// built-in mock.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Public model names and the targets that answer for them. `NAME/MODEL` always works without a route.
    pub routes: Vec<RouteConfig>,
    /// The semantic cache.
    pub cache: CacheSection,
    /// The local embedding model.
    pub embedding: EmbeddingSection,
    /// What is done about personal data, secrets and prompt injection.
    pub guardrails: GuardrailSection,
    /// Where it is written down what the guardrails decided.
    pub audit: AuditSection,
    /// Presidio's REST API for its clients, on an address of its own.
    pub presidio: PresidioSection,
    /// How long to wait for providers.
    pub timeouts: TimeoutSection,
    /// Connections to providers.
    pub connections: ConnectionSection,
    /// The proxy through which providers are reached: `http://HOST:PORT` or `https://HOST:PORT`, as such, `env:NAME` or
    /// `file:PATH`; `off` for none. By default what the variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say. NO_PROXY lists what is
    /// reached without, and this machine always is.
    pub proxy: Option<SecretSource>,
    /// Whose certificates are believed.
    pub tls: TlsSection,
    /// How often to try again.
    pub retry: RetrySection,
    /// When a target that fails is left alone.
    pub breaker: BreakerOfTargets,
    /// For how long a provider's key is not used after the provider said no to it.
    pub cooldown: CooldownSection,
    /// What one request may cost the gateway itself.
    pub limits: LimitSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: SocketAddr::from(([127, 0, 0, 1], 8081)),
            keys: Vec::new(),
            providers: BTreeMap::new(),
            routes: Vec::new(),
            cache: CacheSection::default(),
            embedding: EmbeddingSection::default(),
            guardrails: GuardrailSection::default(),
            audit: AuditSection::default(),
            presidio: PresidioSection::default(),
            timeouts: TimeoutSection::default(),
            connections: ConnectionSection::default(),
            proxy: None,
            tls: TlsSection::default(),
            retry: RetrySection::default(),
            breaker: BreakerOfTargets::default(),
            cooldown: CooldownSection::default(),
            limits: LimitSection::default(),
        }
    }
}

/// A virtual key: a credential that this gateway issues.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Names the key in logs and metrics.
    pub name: String,
    /// What clients send.
    pub secret: SecretSource,
    /// Who may share cached answers: keys of one tenant do. By default each key is a tenant of its own.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The models that it may use, as clients name them; a `*` at the end stands for any end, so `openai/*` for all of a
    /// provider's. By default all.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

/// A place where models are served.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// A kind of the catalogue (`openai`, `groq`, `ollama`, …), `openai_compatible` for any other server that speaks the
    /// OpenAI API, or `mock`.
    pub kind: String,
    /// How it speaks, for kinds that speak OpenAI's APIs: `openai` (chat completions), `responses`, or both, of which the first is for
    /// clients of every format and the other for those whose format it is. By default the catalogue's, and with a `base_url` the
    /// first of these alone.
    #[serde(default)]
    pub api: Words,
    /// Where its API is, up to and with the version, such as `https://api.openai.com/v1`. By default the catalogue's.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The provider's key. By default the catalogue's environment variable.
    #[serde(default)]
    pub api_key: Option<SecretSource>,
    /// Several keys instead. One that is refused, has nothing left to spend or asked too much is left alone for a while.
    #[serde(default)]
    pub api_keys: Vec<ApiKeyConfig>,
    /// The account that gets its tokens, for kinds of Google Cloud (`vertex`) without an `api_key`: `file:PATH` or `env:NAME` of a
    /// service account's key, of a user's credentials or of workload identity federation, or `metadata` for the account of the machine. By default
    /// GOOGLE_APPLICATION_CREDENTIALS, or what `gcloud auth application-default login` left.
    #[serde(default)]
    pub credentials: Option<SecretSource>,
    /// Where its models run, for kinds that have regions (`bedrock`, `vertex`).
    #[serde(default)]
    pub region: Option<String>,
    /// The project that pays, for kinds that have projects (`vertex`).
    #[serde(default)]
    pub project: Option<String>,
    /// The resource's name, for kinds that have resources (`azure`).
    #[serde(default)]
    pub resource: Option<String>,
    /// The version of its API, for kinds that want one named (`azure`, `anthropic`).
    #[serde(default)]
    pub api_version: Option<String>,
    /// In what it differs from others that speak its API, instead of what the catalogue says of its kind.
    #[serde(default)]
    pub quirks: Option<Quirks>,
    /// With what requests are signed, for kinds that sign them (`bedrock`), where there is no `api_key`.
    #[serde(default)]
    pub aws: Option<AwsSection>,
    /// The identity of Microsoft Entra ID that gets its tokens, for kinds of Azure (`azure`, `azure_v1`), where there is no `api_key`.
    #[serde(default)]
    pub entra: Option<EntraSection>,
    /// True: it is in the house. Requests with something in them that `guardrails` routes go to such providers alone, and it
    /// stays in them as it is. Such a provider names its `base_url`, unless its kind is served on this machine.
    #[serde(default)]
    pub in_house: bool,
    /// Which version of HTTP is spoken: `auto` (over TLS what the server prefers, else 1.1), `1`, or `2`, which needs no TLS if the
    /// server knows it beforehand, too.
    #[serde(default)]
    pub http: Http,
    /// A file of certificates in PEM whose authorities are trusted for this provider, and no others.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy for this provider alone, also if it is on this machine; `off` for none. Otherwise as `proxy`.
    #[serde(default)]
    pub proxy: Option<SecretSource>,
}

/// A public model name.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// What clients write into `model`.
    pub model: String,
    /// Who is asked, in order, until one answers: `PROVIDER/MODEL`, or a way to choose among several.
    pub targets: Vec<TargetNode>,
    /// Who is asked instead if a target refuses a request that others may take. By default the client is told.
    #[serde(default)]
    pub fallbacks: FallbackSection,
    /// What becomes of fields of a request that a target does not take.
    #[serde(default)]
    pub drop_params: DropParams,
    /// What holds for its requests instead of what the section `cache:` says.
    #[serde(default)]
    pub cache: RouteCacheSection,
}

/// What becomes of fields that a target does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DropParams {
    /// The target is passed over; if there is no other, the request is refused with the field's name.
    Strict,
    /// They are left out, and `x-sluice-dropped-params` names them.
    #[default]
    Drop,
    /// They are sent as they are.
    Pass,
}

impl ProviderConfig {
    /// A provider of this kind of which nothing else is said.
    pub fn of_kind(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            api: Words::Any,
            base_url: None,
            api_key: None,
            api_keys: Vec::new(),
            credentials: None,
            region: None,
            project: None,
            resource: None,
            api_version: None,
            quirks: None,
            aws: None,
            entra: None,
            in_house: false,
            http: Http::default(),
            ca_file: None,
            proxy: None,
        }
    }

    /// What is said of it beside its address, by the catalogue's names.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let named = [
            ("region", &self.region),
            ("project", &self.project),
            ("resource", &self.resource),
            ("api_version", &self.api_version),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// `cache:`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSection {
    /// False: every request goes to a provider.
    pub enabled: bool,
    /// Which rule decides whether a similar prompt's answer may be served: `fixed`, `calibrated` or `verified`; `exact`: none,
    /// only the same prompt's is.
    pub policy: CachePolicy,
    /// `calibrated`: most of the hits that may be wrong, from 0 to 1. `verified`: most of the requests.
    pub max_false_hit_rate: f64,
    /// `calibrated`: a prompt that differs in a number, a name, a negation and the like is never answered from the other.
    pub strict: bool,
    /// How many candidates are only learnt from before the first semantic hit of a partition; `always`: nothing is served by
    /// similarity, and counted what would have been.
    pub shadow: Shadow,
    /// `fixed` alone looks at it: least cosine similarity of two prompts that may share an answer, from 0 to 1. It belongs to
    /// the embedding model.
    pub similarity: f32,
    /// How near prompts are found: `flat` (exact scan), `hnsw` (graph), or `auto` (by the size of a partition).
    pub index: IndexKind,
    /// How long an answer may be served, give or take a tenth, so that not all of them go at once. Absolute: being served
    /// does not prolong it.
    pub ttl: Span,
    /// How long after that the very same request still gets it at once, while a fresh answer is fetched behind it.
    pub stale_while_revalidate: Span,
    /// How long after that the very same request still gets it if every target failed.
    pub stale_if_error: Span,
    /// Memory for answers and vectors.
    pub max_bytes: ByteSize,
    /// How much of it one tenant may take, as a size or a percentage, so that none pushes out what the others have stored. By
    /// default an equal part of it, but at least 25%; a tenant that is alone has all of it.
    pub tenant_max_bytes: Option<Portion>,
    /// True: the redacted request is kept in memory beside its answer, for `sluice cache export`. Otherwise nothing is kept that
    /// a prompt could be read from.
    pub keep_prompts: bool,
    /// A file in which the cache is kept over restarts, in a folder that exists. Its key is kept beside it, in `PATH.key`.
    /// Without one the cache is in memory alone. Two gateways can't share it.
    pub journal: Option<PathBuf>,
    /// Where the cache is: `local` (in this process) or `qdrant` (in a collection that several gateways share).
    pub store: CacheStore,
    /// `store: qdrant`: where the collection is.
    pub qdrant: Option<QdrantSection>,
    /// Requests with a higher temperature share answers only letter by letter. One that names none counts as no higher.
    pub max_temperature: f64,
    /// Answers to prompts that speak of the moment ("today", "current price", "latest"): how long they are kept, `bypass`
    /// to keep none, or `as_any` to make no difference.
    pub time_sensitive: TimeSensitive,
    /// `calibrated`, `verified`: a model that is asked whether a remembered answer and a fresh one say the same, where comparing
    /// words and vectors leaves it open. By default nothing is learnt from these.
    pub judge: Option<JudgeSection>,
    /// `calibrated`, `verified`: a file to which a line is appended for each remembered answer that was held against a request, with
    /// what became of it, for `sluice tune`. It grows until you move it away.
    pub shadow_log: Option<PathBuf>,
    /// Whether these lines hold the prompts, in their redacted form.
    pub shadow_log_prompts: bool,
}

impl CacheSection {
    /// The bytes that each of so many tenants may take; none if one has all of them.
    pub fn share_of(&self, tenants: usize) -> Option<u64> {
        const LEAST: usize = 25;
        let standard = Portion::Percent((100 / tenants.max(1)).max(LEAST) as u64);
        let share = self.tenant_max_bytes.unwrap_or(standard).of(self.max_bytes.0);
        (share < self.max_bytes.0).then_some(share)
    }
}

impl Default for CacheSection {
    fn default() -> Self {
        let engine = CacheConfig::default();
        Self {
            enabled: true,
            policy: CachePolicy::default(),
            max_false_hit_rate: 0.01,
            strict: false,
            shadow: Shadow::default(),
            similarity: engine.similarity,
            index: engine.index,
            ttl: Span(engine.ttl),
            // Whoever states a time means it, unless something else is said.
            stale_while_revalidate: Span::seconds(0),
            stale_if_error: Span::seconds(0),
            max_bytes: ByteSize(engine.max_bytes),
            tenant_max_bytes: None,
            keep_prompts: false,
            journal: None,
            store: CacheStore::default(),
            qdrant: None,
            // What most APIs take where nothing is said: more than that is asked for its variety.
            max_temperature: 1.0,
            time_sensitive: TimeSensitive::Ttl(Span::seconds(60)),
            judge: None,
            shadow_log: None,
            shadow_log_prompts: false,
        }
    }
}

/// `embedding:`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingSection {
    /// A model that `sluice model list` names, or a folder with a model of the BERT family (a path from the working
    /// directory): `config.json`, `tokenizer.json`, `model.safetensors` and what sentence-transformers keeps beside them.
    pub model: String,
    /// Threads that compute embeddings.
    pub workers: usize,
    /// Prompts that may wait. When full, the semantic tier is skipped and `/v1/embeddings` answers 503.
    pub queue: usize,
    /// Longest that a chat request waits for a free thread. Where the queue would take longer, the semantic tier is
    /// skipped at once. `/v1/embeddings` waits as long as the queue takes.
    pub deadline: Span,
    /// What the model computes in. `auto`: `bf16` where the processor has it, else `f32`; both give the same vectors but
    /// for the last digits. `int8`: faster, with vectors of its own, which `cache.similarity` has to be chosen for.
    #[serde(with = "PrecisionName")]
    pub precision: Precision,
}

/// What the embedding model computes in.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    Auto,
    F32,
    Bf16,
    Int8,
}

impl Default for EmbeddingSection {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            model: sluice_models::DEFAULT_MODEL.to_owned(),
            workers: (cores / 2).max(1),
            queue: 64,
            // What a lookup is worth: were one in ten a hit, it would spare a tenth of the half second and more until a
            // provider's first word.
            deadline: Span::millis(50),
            precision: Precision::Auto,
        }
    }
}

/// `timeouts:`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSection {
    /// Until a connection to the provider stands.
    pub connect: Span,
    /// Until the first content of a stream, or the head of a whole answer. By default 60s for a stream, and 5m for a
    /// whole answer, whose head comes only when all of it is there.
    pub first_byte: Option<Span>,
    /// Between two parts of an answer.
    pub idle: Span,
    /// For the whole request, with every retry and fallback.
    pub total: Span,
    /// For a client to send its request.
    pub client: Span,
    /// After the signal to stop: for answers under way to end.
    pub shutdown: Span,
    /// When everybody left who read a streamed answer: how long it is read on, so that the provider's own count of its tokens
    /// comes and the cache gets it. `0s`: it is given up at once, and its tokens are estimated.
    pub drain: Span,
}

impl Default for TimeoutSection {
    fn default() -> Self {
        Self {
            connect: Span::seconds(5),
            first_byte: None,
            idle: Span::seconds(60),
            total: Span::seconds(600),
            client: Span::seconds(30),
            shutdown: Span::seconds(30),
            drain: Span::seconds(0),
        }
    }
}

impl TimeoutSection {
    /// How long to wait for a provider to begin.
    pub fn until_first_byte(&self, stream: bool) -> Duration {
        let standard = if stream { Span::seconds(60) } else { Span::seconds(300) };
        self.first_byte.unwrap_or(standard).0
    }
}

/// `retry:` After every target of a route failed once, all are tried again after a pause.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySection {
    /// Further rounds through the targets. 0: each target is asked once.
    pub rounds: u32,
    /// Pause before the first further round; it doubles each time, and a random half of it is taken off.
    pub backoff: Span,
    /// Longest pause, also for a provider's `Retry-After`: beyond it the client is told to wait itself.
    pub max_backoff: Span,
    /// How many attempts there may be beyond the first at each target.
    pub budget: RetryBudgetSection,
}

impl Default for RetrySection {
    fn default() -> Self {
        Self {
            rounds: 2,
            backoff: Span::millis(250),
            max_backoff: Span::seconds(8),
            budget: RetryBudgetSection::default(),
        }
    }
}

/// `limits:`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSection {
    /// Largest request body.
    pub max_body: ByteSize,
    /// Largest whole answer taken from a provider.
    pub max_answer: ByteSize,
    /// Threads that serve connections. By default one per core.
    pub threads: Option<usize>,
}

impl Default for LimitSection {
    fn default() -> Self {
        Self { max_body: ByteSize::mebibytes(16), max_answer: ByteSize::mebibytes(32), threads: None }
    }
}
