//! What Sluice promises, kept over real sockets. One binary, one promise per module.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test, too")]

// What a model says is read before anybody has it.
mod answers;
// Anthropic's format, with clients and with providers.
mod anthropic;
mod anthropic_guards;
// What Claude Code asks, before Claude and before others.
mod claude_code;
// Attacks that an operator knows.
mod attack_bank;
// What the guards decided is written down, and changes of it show.
mod audit;
// AWS Bedrock is signed, said and read as Converse wants it.
mod bedrock;
// What the cache remembers survives the process, however it ends.
mod cache_durable;
// The same question asked many times at once is asked upstream once.
mod cache_flights;
// The same question twice, in other words, as a stream: answered from memory.
mod cache_hits;
// Operators bring answers along, and take them to another gateway.
mod cache_import;
// Operators make the cache forget.
mod cache_invalidation;
// A model judges what can't be told otherwise.
mod cache_judge;
mod cache_learning;
// Prompts that look alike and mean different things.
mod cache_look_alikes;
// What must be equal before two requests share an answer.
mod cache_partitions;
// What goes wrong with semantic caches elsewhere.
mod cache_pitfalls;
// The same bytes again and again: answered without being read anew.
mod cache_repeats;
// A route may have terms of its own for the cache.
mod cache_routes;
// No tenant pushes out what the others have stored.
mod cache_shares;
// Which answers are worth remembering.
mod cache_storing;
// Which requests are answered by likeness, and which only by themselves or not for long.
mod cache_tiers;
// Answers whose time is over: served only where that is configured.
mod cache_stale;
// What a request may ask of the cache: less than is allowed, never more.
mod cache_wishes;
// How providers are reached: HTTP/2, TLS, proxies.
mod connections;
// A canary in every field reaches nobody.
mod canaries;
// The configurations in fixtures/: good ones are read, bad ones are refused with place and reason.
mod configs;
// A chat request waits for the embedding model no longer than it may.
mod deadline;
// `sluice demo` does what it shows.
mod demo;
// Vectors of the local model.
mod embeddings;
// Other systems judge requests, and fail as configured.
mod external;
// A target that fails before its first content is never noticed by the client.
mod fallback;
// Every way in which a provider fails, before every client.
mod faults;
// Google's own API behind a client of OpenAI's.
mod gemini;
// Every client format against every provider format.
mod goldens;
// What comes over the wire and is no clean request.
mod hardening;
// Providers of clouds are asked by identities in the place of keys.
mod identities;
// What is for in-house targets alone goes to no other.
mod in_house;
// What tries to turn the model is told or refused by where it stands.
mod injection;
// A dry run of the guards.
mod inspect;
// Many callers at once never see each other's values.
mod isolation;
// Who may ask, and which credentials go where.
mod keys;
// Images, sound and files, which no guard looks into.
mod media;
// The real OpenAI Python SDK.
mod openai_sdk;
// The policy may stand in a file and change while requests come.
mod policy;
// A policy may tell apart who speaks.
mod policy_channels;
// A policy may tell tenants and routes apart.
mod policy_scopes;
// Rules may only be tried, and have exceptions.
mod policy_trial;
// What redaction misses is not sent.
mod postcondition;
// A provider's own API behind our keys and guards.
mod passthrough;
// It is asked with one of its keys after the other.
mod passthrough_keys;
// Programs that speak Presidio's REST API switch by URL.
mod presidio;
// What the README shows of a request is what happens.
mod readme;
// OpenAI's Responses between a client and a provider that both speak it, and where one of them does not.
mod responses;
// Whom a route asks, by strategy and by what is known of a request.
mod routing;
// Targets that fail are left alone, and their failures go unnoticed.
mod routing_health;
// What is said, and who is asked, when targets rest, have no such model or are silent.
mod routing_rests;
// Personal data never reaches a provider, and comes back to its owner.
mod redaction;
// Acceptance scenarios by their numbers.
mod scenarios;
// Secrets leave in no form and come back in none.
mod secrets;
// Threads, draining, metrics, the list of models.
mod serving;
// Reasoning that a provider signed, and wants back as it was.
mod signed_thinking;
// What a watching cache writes down, `sluice tune` reads.
mod shadow_log;
// Raw bytes: half-closed, slow, pipelined, cut.
mod sockets;
// Streams that break after their first content.
mod streams;
// The same tests of the cache once more, with the cache in Qdrant.
mod on_qdrant;
// Several gateways with one cache between them, and what happens when it fails.
mod shared_cache;
// The SDKs that the tests run, and what they need.
mod sdk_packages;
// The real SDKs before every provider.
mod sdks;
// What keeps the repository in order.
mod tidy;
// What may be talked about, and what not.
mod topics;
