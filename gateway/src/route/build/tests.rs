//! Configurations that are built, and what is wrong with others.

use super::*;
use crate::client_api::Format;
use crate::config::parse;
use crate::error::ApiError;

fn build(yaml: &str, env: &[(&str, &str)]) -> Result<(Routes, RouteNotes), String> {
    let config = parse(yaml, "test").map_err(|e| e.to_string())?;
    let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let (catalogue, prices) = (Catalogue::shipped().unwrap(), Prices::shipped().unwrap());
    Routes::build(&config, &catalogue, &prices, Some("http://127.0.0.1:1/v1"), &lookup)
        .map_err(|p| p.join("\n"))
}

#[test]
fn keys_in_the_environment_enable_their_providers() {
    let (routes, notes) = build("", &[("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "g")]).unwrap();
    assert!(!notes.mock_alone && notes.from_environment.len() == 2);
    let targets = routes.resolve("openai/gpt-4o").unwrap();
    assert_eq!(
        targets[0].provider.uri("/chat/completions").unwrap(),
        "https://api.openai.com/v1/chat/completions"
    );
    assert_eq!(routes.resolve("gpt-4o").unwrap()[0].name(), "openai/gpt-4o");
}

#[test]
fn a_model_that_nobody_lists_is_its_vendor_s_by_its_name() {
    let yaml = "providers:\n  a: {kind: anthropic, api_key: k}\n  b: {kind: anthropic, api_key: k}\n  c: {kind: ollama}\nroutes: [{model: claude-work, targets: [c/m]}]\n";
    let (routes, _) = build(yaml, &[]).unwrap();
    let of = |model: &str| routes.resolve(model).map(|targets| targets[0].name()).ok();
    assert_eq!(of("claude-later-9").as_deref(), Some("a/claude-later-9"));
    assert_eq!(of("claude-work").as_deref(), Some("c/m"), "a route has the first word");
    assert_eq!((of("gpt-9"), of("llama")), (None, None), "nobody of that kind is there");
}

#[test]
fn without_any_provider_the_mock_stands_in_and_it_is_said() {
    let (routes, notes) = build("", &[]).unwrap();
    assert!(notes.mock_alone);
    assert_eq!(routes.resolve("mock").unwrap()[0].name(), "mock/mock");
    assert_eq!(routes.resolve("mock/any/thing").unwrap()[0].model, "any/thing");
}

#[test]
fn a_route_lists_its_targets_in_order() {
    let yaml = "providers:\n  a: {kind: ollama}\n  b: {kind: openai_compatible, base_url: 'http://h:1/v1/', api_key: x}\nroutes:\n  - {model: chat, targets: [a/one, b/org/two]}\n";
    let (routes, notes) = build(yaml, &[]).unwrap();
    let names: Vec<String> = routes.resolve("chat").unwrap().iter().map(Target::name).collect();
    assert_eq!(names, ["a/one", "b/org/two"]);
    assert_eq!(notes.literal_keys, ["b"]);
    assert_eq!(routes.resolve("b/m").unwrap()[0].provider.base_url, "http://h:1/v1");
    assert!(matches!(routes.resolve("nope"), Err(ApiError::ModelNotFound { .. })));
}

#[test]
fn a_provider_is_in_the_house_only_if_its_operator_says_so() {
    let yaml = "providers:\n  a: {kind: ollama}\n  b: {kind: ollama, in_house: true}\n  c: {kind: openai, base_url: 'https://llm.corp.example/v1', in_house: true}\nroutes:\n  - {model: chat, targets: [a/x, b/x, c/x]}\n";
    let (routes, _) = build(yaml, &[]).unwrap();
    let inside = |model: &str| -> Vec<bool> {
        routes.resolve(model).unwrap().iter().map(|target| target.provider.in_house).collect()
    };
    assert_eq!(inside("chat"), [false, true, true]);
    assert_eq!(inside("b/y"), [true], "a target without a route is its provider's");
    let (found, _) = build("", &[("OPENAI_API_KEY", "sk-1")]).unwrap();
    assert!(!found.resolve("gpt-4o").unwrap()[0].provider.in_house);
}

#[test]
fn settings_stand_in_addresses_and_paths() {
    let yaml = "providers:\n  a: {kind: azure, resource: contoso, api_key: k}\n  b: {kind: azure, resource: other, api_version: 2025-01-01-preview, api_key: k}\n";
    let (routes, _) = build(yaml, &[]).unwrap();
    let address = |name: &str| {
        let target = routes.resolve(name).unwrap().swap_remove(0);
        let how = target.provider.encoding(&target.model, false, DropParams::Drop);
        target.api(Format::OpenAiChat).path(&how).map(|path| format!("{}{path}", target.provider.base_url))
    };
    assert_eq!(
        address("a/gpt-5").unwrap(),
        "https://contoso.openai.azure.com/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21"
    );
    assert!(address("b/gpt-5").unwrap().ends_with("?api-version=2025-01-01-preview"));
    for elsewhere in ["a/../x", "a/x/y", "a/x?y=z", "a/x%2Fy", "a/x#y"] {
        assert!(address(elsewhere).is_err(), "{elsewhere}");
    }
    let (found, _) = build("", &[("AZURE_OPENAI_API_KEY", "k"), ("AZURE_OPENAI_RESOURCE", "r")]).unwrap();
    assert!(found.resolve("azure/gpt-5").is_ok());
    let (none, notes) = build("", &[("AZURE_OPENAI_API_KEY", "k")]).unwrap();
    assert!(notes.mock_alone && none.resolve("azure/gpt-5").is_err(), "nobody knows where it is");
}

#[test]
fn each_region_of_google_has_its_host_and_each_model_its_publisher() {
    let address = |region: &str, model: &str| {
        let yaml = format!(
            "providers: {{v: {{kind: vertex, project: harbour-1, region: {region}, credentials: metadata}}}}"
        );
        let target = build(&yaml, &[]).unwrap().0.resolve(&format!("v/{model}")).unwrap().swap_remove(0);
        let how = target.provider.encoding(&target.model, true, DropParams::Drop);
        format!("{}{}", target.provider.base_url, target.api(Format::OpenAiChat).path(&how).unwrap())
    };
    let claude = "publishers/anthropic/models/claude-opus-4-8:streamRawPredict";
    let gemini = "publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    for (region, host) in [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-east5", "us-east5-aiplatform.googleapis.com"),
    ] {
        let base = format!("https://{host}/v1/projects/harbour-1/locations/{region}");
        assert_eq!(address(region, "claude-opus-4-8"), format!("{base}/{claude}"));
        assert_eq!(address(region, "gemini-2.5-flash"), format!("{base}/{gemini}"));
    }
    let own = "providers: {v: {kind: vertex, base_url: 'http://127.0.0.1:1/v1/projects/p/locations/r/publishers/google', api_key: x}}";
    let (routes, _) = build(own, &[]).unwrap();
    let provider = &routes.resolve("v/m").unwrap()[0].provider;
    assert_eq!(provider.base_url, "http://127.0.0.1:1/v1/projects/p/locations/r");
}

#[test]
fn the_client_s_format_chooses_among_the_apis_and_some_models_have_but_one() {
    let yaml = "providers:\n  openai: {kind: openai, api_key: k}\n  chat: {kind: openai, api: openai, api_key: k}\n  items: {kind: openai, api: responses, api_key: k}\n  own: {kind: openai, base_url: 'http://h:1/v1', api_key: k}\n  vllm: {kind: vllm, api: [openai, responses], base_url: 'http://h:1/v1'}\n  path: {kind: vllm, api: [openai, responses], quirks: {path: /x}}\n  claude: {kind: anthropic, api_key: k}\n  first: {kind: vllm, api: [responses, openai], base_url: 'http://h:1/v1', quirks: {responses_models: [o3-pro]}}\n";
    let (routes, _) = build(yaml, &[]).unwrap();
    let asked = |model: &str| {
        let target = routes.resolve(model).unwrap().swap_remove(0);
        Format::ALL.iter().map(|f| target.api(*f).name()).collect::<Vec<_>>()
    };
    let (chat, items) = (vec!["openai"; 3], vec!["responses"; 3]);
    let both = vec!["openai", "responses", "openai"];
    for (model, apis) in [
        ("openai/gpt-5", &both),
        ("openai/o3-pro-2025-06-10", &items),
        ("chat/o3-pro", &chat),
        ("items/gpt-5", &items),
        ("own/gpt-5", &chat),
        ("vllm/m", &both),
        ("path/m", &chat),
        ("first/o3-pro", &items),
        ("claude/m", &vec!["anthropic"; 3]),
    ] {
        assert_eq!(asked(model), *apis, "{model}");
    }
}

#[test]
fn every_mistake_is_told_with_its_field() {
    let cases = [
        ("providers: {a: {kind: opnai}}", "providers.a.kind: unknown kind 'opnai': did you mean 'openai'?"),
        (
            "providers: {a: {kind: openai}}",
            "providers.a.api_key: missing: give env:NAME or file:PATH, or set OPENAI_API_KEY",
        ),
        ("providers: {a: {kind: openai_compatible}}", "providers.a.base_url: missing"),
        (
            "providers: {a: {kind: azure, api_key: x}}",
            "providers.a.resource: missing, or set AZURE_OPENAI_RESOURCE",
        ),
        (
            "providers: {a: {kind: azure, api_key: x, resource: 'evil.example/'}}",
            "providers.a.resource: expected letters",
        ),
        ("providers: {a: {kind: ollama, region: x}}", "providers.a.region: the kind 'ollama' has none"),
        ("providers: {a: {kind: ollama, base_url: 'ftp://x'}}", "providers.a.base_url: expected"),
        ("providers: {a: {kind: ollama, base_url: 'http://me:pw@x/v1'}}", "without user name"),
        (
            "providers: {a: {kind: ollama, api_key: 'env:NONE'}}",
            "providers.a.api_key: the environment variable NONE",
        ),
        ("providers: {a/b: {kind: ollama}}", "must not be empty or hold a '/'"),
        (
            "providers: {a: {kind: azure, resource: x, api_key: x, api: responses}}",
            "providers.a.api: the kind 'azure' has a path of its own",
        ),
        (
            "providers: {a: {kind: openai, api_key: x, in_house: true}}",
            "providers.a.in_house: https://api.openai.com/v1 is its vendor's: name the 'base_url'",
        ),
        (
            "providers: {a: {kind: ollama}}\nroutes: [{model: m, targets: [b/x]}]",
            "routes[0] ('m').targets: 'b/x'",
        ),
        (
            "providers: {a: {kind: ollama}}\nroutes: [{model: m, targets: []}]",
            "routes[0] ('m').targets: name at least",
        ),
    ];
    for (yaml, words) in cases {
        let error = build(yaml, &[]).err().unwrap();
        assert!(error.contains(words) && !error.contains("pw@"), "{yaml} gave {error}");
    }
}
