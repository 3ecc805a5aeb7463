//! Two requests that differ in one thing share nothing, whatever the thing: through the code that makes keys, through every
//! tier, and in what is learnt.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use sluice_engine::{IndexKind, Tier};
use sluice_guardrails::{Allow, Rules};
use sluice_models::{EmbedError, Embedder, Embedding, PoolOptions};

use super::*;
use crate::config::{CachePolicy, CacheSection, Span};

/// The last turn: as it is, but for its spelling, and another one.
const TEXT: &str = "When do you open the shop on Mondays?";
const SAME: &str = "when do you  open the shop on mondays";
const OTHER: &str = "Which colours does the blue bicycle come in?";

/// Fields that a provider may know, and one that nobody knows. None says who asks or how the answer travels.
const FIELDS: [&str; 14] = [
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "n",
    "stop",
    "tools",
    "tool_choice",
    "functions",
    "response_format",
    "logit_bias",
    "reasoning_effort",
    "modalities",
    "x_new_knob",
];
const SPACES: [&str; 2] = ["space-a", "space-b"];

/// An embedding model by which all texts are alike: nothing but the partition keeps them apart.
struct Alike(&'static str);

impl Embedder for Alike {
    fn id(&self) -> &str {
        self.0
    }

    fn dimensions(&self) -> usize {
        2
    }

    fn max_tokens(&self) -> usize {
        usize::MAX
    }

    fn embed(&self, _: &str) -> Result<Embedding, EmbedError> {
        Ok(Embedding { vector: vec![1.0, 0.0], tokens: 1, truncated: false })
    }
}

static POOLS: LazyLock<[EmbedPool; 2]> =
    LazyLock::new(|| SPACES.map(|id| EmbedPool::start(Arc::new(Alike(id)), PoolOptions::default()).unwrap()));

/// A request but for the words of its last turn, and what it meets.
#[derive(Clone, Debug, PartialEq)]
struct Circumstances {
    tenant: String,
    namespace: Option<String>,
    model: String,
    space: usize,
    policy: String,
    secret: u8,
    fields: Map<String, Value>,
    /// Role and text of what was said before.
    earlier: Vec<(String, String)>,
    /// Who speaks last, and a picture beside the words.
    speaker: Option<String>,
    picture: Option<String>,
}

/// One of them, and what it becomes.
#[derive(Clone, Debug)]
enum Change {
    Tenant(String),
    Namespace(Option<String>),
    Model(String),
    Space(usize),
    Policy(String),
    Secret(u8),
    Field(&'static str, Option<Value>),
    Role(Index, String),
    Text(Index, String),
    Insert(Index, (String, String)),
    Remove(Index),
    Swap(Index),
    Speaker(Option<String>),
    Picture(Option<String>),
}

impl Change {
    fn of(self, before: &Circumstances) -> Circumstances {
        let mut after = before.clone();
        let turns = after.earlier.len();
        match self {
            Self::Tenant(tenant) => after.tenant = tenant,
            Self::Namespace(namespace) => after.namespace = namespace,
            Self::Model(model) => after.model = model,
            Self::Space(space) => after.space = space,
            Self::Policy(policy) => after.policy = policy,
            Self::Secret(secret) => after.secret = secret,
            Self::Field(name, Some(value)) => drop(after.fields.insert(name.to_owned(), value)),
            Self::Field(name, None) => drop(after.fields.remove(name)),
            Self::Role(at, role) if turns > 0 => after.earlier[at.index(turns)].0 = role,
            Self::Text(at, text) if turns > 0 => after.earlier[at.index(turns)].1 = text,
            Self::Insert(at, turn) => after.earlier.insert(at.index(turns + 1), turn),
            Self::Remove(at) if turns > 0 => drop(after.earlier.remove(at.index(turns))),
            Self::Swap(at) if turns > 1 => {
                let at = at.index(turns - 1);
                after.earlier.swap(at, at + 1);
            }
            Self::Speaker(name) => after.speaker = name,
            Self::Picture(picture) => after.picture = picture,
            Self::Role(..) | Self::Text(..) | Self::Remove(_) | Self::Swap(_) => {}
        }
        after
    }
}

/// Few letters, so that what is equal but for its boundaries does occur.
fn word() -> impl Strategy<Value = String> {
    "[ab]{1,3}"
}

/// A JSON value without null, which is as good as absent, and without fractions, of which `1.0` is the same as `1`.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        word().prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(word(), inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

fn field() -> impl Strategy<Value = (&'static str, Value)> {
    (select(&FIELDS[..]), value(), 1..5)
        .prop_map(|(name, value, n)| if name == "n" { (name, json!(n)) } else { (name, value) })
}

fn turn() -> impl Strategy<Value = (String, String)> {
    (role(), word())
}

fn role() -> impl Strategy<Value = String> {
    select(vec!["system", "developer", "user", "assistant"]).prop_map(str::to_owned)
}

fn circumstances() -> impl Strategy<Value = Circumstances> {
    let fields = proptest::collection::vec(field(), 0..4);
    let who = (word(), proptest::option::of(word()), word(), 0..2_usize, word(), 0..2_u8);
    let beside = (proptest::option::weighted(0.2, word()), proptest::option::weighted(0.2, word()));
    (who, fields, proptest::collection::vec(turn(), 0..4), beside).prop_map(
        |(who, fields, earlier, beside)| {
            let (tenant, namespace, model, space, policy, secret) = who;
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let (speaker, picture) = beside;
            Circumstances {
                tenant,
                namespace,
                model,
                space,
                policy,
                secret,
                fields,
                earlier,
                speaker,
                picture,
            }
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let maybe = || proptest::option::of(word());
    prop_oneof![
        word().prop_map(Change::Tenant),
        maybe().prop_map(Change::Namespace),
        word().prop_map(Change::Model),
        (0..2_usize).prop_map(Change::Space),
        word().prop_map(Change::Policy),
        (0..2_u8).prop_map(Change::Secret),
        (field(), any::<bool>())
            .prop_map(|((name, value), there)| Change::Field(name, there.then_some(value))),
        (at(), role()).prop_map(|(at, role)| Change::Role(at, role)),
        (at(), word()).prop_map(|(at, text)| Change::Text(at, text)),
        (at(), turn()).prop_map(|(at, turn)| Change::Insert(at, turn)),
        at().prop_map(Change::Remove),
        at().prop_map(Change::Swap),
        maybe().prop_map(Change::Speaker),
        maybe().prop_map(Change::Picture),
    ]
}

impl Circumstances {
    fn body(&self, text: &str) -> Bytes {
        let mut messages: Vec<Value> =
            self.earlier.iter().map(|(role, text)| json!({ "role": role, "content": text })).collect();
        let content = match &self.picture {
            Some(url) => {
                json!([{ "type": "text", "text": text }, { "type": "image_url", "image_url": { "url": url } }])
            }
            None => json!(text),
        };
        messages.push(json!({ "role": "user", "content": content }));
        if let (Some(name), Some(last)) = (&self.speaker, messages.last_mut()) {
            last["name"] = json!(name);
        }
        let mut body = json!({ "model": self.model, "messages": messages });
        for (name, value) in &self.fields {
            body[name] = value.clone();
        }
        Bytes::from(body.to_string())
    }

    /// Whether likeness may be asked at all.
    fn is_plain(&self) -> bool {
        let not_plain = ["n", "tools", "functions", "temperature"];
        self.picture.is_none() && not_plain.iter().all(|name| !self.fields.contains_key(*name))
    }
}

/// What a lookup came to, for a request with these words: the tier of a hit, or the ticket.
async fn look_up(memory: &mut Memory, met: &Circumstances, text: &str) -> Result<(Tier, String), Ticket> {
    memory.hash_key = [met.secret; 32];
    memory.embedder = Some(POOLS[met.space].clone());
    let (mut call, vault) = (call(&met.tenant), Vault::new());
    let allow = Allow { values: vec![met.policy.clone()], ..Allow::default() };
    let (pii, secrets, injection) = (Action::Off, Action::Off, InjectionAction::Off);
    call.policy = Arc::new(InForce::of_rules(&Rules { pii, secrets, injection, allow, ..Rules::default() }));
    let wishes = Wishes { namespace: met.namespace.clone(), ..Wishes::default() };
    let request = openai_chat::parse(&met.body(text)).unwrap();
    let asked = Asked { call: &call, request: &request, vault: &vault, wishes: &wishes };
    match memory.look_up(&asked, None, &Metrics::default()).await {
        Found::Hit(found) => Ok((found.tier, found.provider.clone())),
        Found::Nothing(nothing) => {
            assert!(nothing.stale.is_none());
            Err(nothing.ticket.expect("what missed may be remembered"))
        }
    }
}

fn remember(memory: &Memory, ticket: Ticket, provider: &str) {
    let answer = r#"{"choices":[{"finish_reason":"stop","message":{"content":"At nine."}}]}"#;
    let kept = memory.remember(ticket, &serde_json::from_str(answer).unwrap(), provider, "m", 3);
    assert!(matches!(kept, Kept::Yes), "there is nothing to compare it with");
}

async fn share_nothing(policy: CachePolicy, one: &Circumstances, other: &Circumstances) {
    // A flat index needs no thread of its own.
    let cache = SemanticCache::new(CacheConfig { index: IndexKind::Flat, ..CacheConfig::default() });
    // As easily as a policy can be had.
    let section =
        CacheSection { policy, similarity: 0.0, max_false_hit_rate: 1.0, ..CacheSection::default() };
    let mut config = crate::config::Config { cache: section, ..Default::default() };
    config.embedding.deadline = Span(Duration::from_secs(600));
    let mut memory = Memory::new(cache, [0; 32], &config, None);
    let Err(ticket) = look_up(&mut memory, one, TEXT).await else { panic!("nothing was stored") };
    let flight = ticket.flight();
    remember(&memory, ticket, "one");

    // The other one finds nothing in any tier, has no candidate, and follows no call of the first.
    for text in [OTHER, SAME, TEXT] {
        let Err(ticket) = look_up(&mut memory, other, text).await else {
            panic!("{text}: {one:?} {other:?}")
        };
        assert!(
            ticket.similar.as_ref().is_none_or(|similar| similar.candidate.is_none()),
            "{one:?} {other:?}"
        );
        assert!(flight.is_none() || ticket.flight() != flight, "{one:?} {other:?}");
        if text == TEXT {
            remember(&memory, ticket, "other");
        }
    }
    // Nothing else was in the way; and each keeps its own.
    for (met, name) in [(one, "one"), (other, "other")] {
        let found = |tier| (tier, name.to_owned());
        assert_eq!(look_up(&mut memory, met, TEXT).await.ok(), Some(found(Tier::Exact)), "{met:?}");
        if !met.is_plain() {
            continue;
        }
        assert_eq!(look_up(&mut memory, met, SAME).await.ok(), Some(found(Tier::Normalised)), "{met:?}");
        match look_up(&mut memory, met, OTHER).await {
            Ok(hit) => assert_eq!(hit, found(Tier::Semantic), "{met:?}"),
            Err(ticket) => {
                assert!(policy != CachePolicy::Fixed, "{met:?}");
                assert!(ticket.similar.is_some_and(|similar| similar.candidate.is_some()), "{met:?}");
            }
        }
    }
}

#[test]
fn no_change_of_anything_an_answer_may_depend_on_leads_to_an_answer_or_a_candidate_across() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let policies = select(vec![CachePolicy::Fixed, CachePolicy::Calibrated, CachePolicy::Verified]);
    let config = Config { failure_persistence: None, ..Config::with_cases(500) };
    let pairs = (policies, circumstances(), change());
    TestRunner::new(config)
        .run(&pairs, |(policy, one, change)| {
            let other = change.of(&one);
            prop_assume!(one != other);
            runtime.block_on(share_nothing(policy, &one, &other));
            Ok(())
        })
        .unwrap();
}
