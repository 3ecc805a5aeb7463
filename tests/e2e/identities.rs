//! Providers of clouds are asked by identities: with tokens and credentials that somebody gives out for a while.

use serde_json::{Value, json};
use sluice_tests::{Gate, Guard, Say, question};

const XML: &[(&str, &str)] = &[("content-type", "text/xml")];

fn gate(providers: &str, model: &str, env: &[(&str, String)]) -> Gate {
    let yaml = format!(
        "
providers: {{{providers}}}
routes: [{{model: chat, targets: ['{model}']}}]
cache: {{enabled: false}}
retry: {{rounds: 0}}
embedding: {{deadline: 5m}}
"
    );
    Gate::start_in(&yaml, &|name| env.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()))
}

fn completion() -> Value {
    json!({ "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": [{ "index": 0,
        "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 } })
}

/// A gateway that asks Azure as an application, whose tokens this office gives.
fn application(azure: &Guard, office: &Guard) -> Gate {
    let providers = format!(
        "azure: {{kind: azure, base_url: '{}', entra: {{tenant_id: t, client_id: app, client_secret: 'env:S'}}}}",
        azure.url()
    );
    let env = [("S", "hunter2".to_owned()), ("AZURE_AUTHORITY_HOST", office.url())];
    gate(&providers, "azure/gpt-5", &env)
}

#[tokio::test]
async fn azure_is_asked_with_a_token_of_an_application_in_the_place_of_a_key() {
    let office = Guard::saying(Say::Json(
        json!({ "token_type": "Bearer", "access_token": "token-1", "expires_in": 3599 }),
    ))
    .await;
    let azure = Guard::saying(Say::Json(completion())).await;
    let gate = application(&azure, &office);
    for _ in 0..2 {
        let reply = gate.client.chat(&question("Hello")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "Hi"), "{:?}", reply.body);
    }
    let heard = azure.heard().pop().unwrap();
    assert_eq!(heard.headers["authorization"], "Bearer token-1");
    assert!(heard.headers.get("api-key").is_none());
    assert_eq!((office.count(), office.heard()[0].path.as_str()), (1, "/guard/t/oauth2/v2.0/token"));
}

#[tokio::test]
async fn bedrock_is_asked_with_the_credentials_of_a_role_that_trusts_a_token() {
    let credentials = "<R><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>session-1</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>";
    let sts = Guard::saying(Say::Status(200, XML, credentials.to_owned())).await;
    let bedrock = Guard::saying(Say::Json(json!({ "stopReason": "end_turn",
        "output": { "message": { "role": "assistant", "content": [{ "text": "Hi" }] } },
        "usage": { "inputTokens": 1, "outputTokens": 1, "totalTokens": 2 } })))
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "j.1").expect("a token");
    let providers =
        format!("bedrock: {{kind: bedrock, region: eu-west-1, base_url: '{}', aws: {{}}}}", bedrock.url());
    let env = [
        ("AWS_ENDPOINT_URL_STS", sts.url()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod".to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
    ];
    let gate = gate(&providers, "bedrock/amazon.nova-pro-v1:0", &env);
    for _ in 0..2 {
        let reply = gate.client.chat(&question("Hello")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "Hi"), "{:?}", reply.body);
    }
    let heard = bedrock.heard().pop().unwrap();
    assert!(heard.headers["authorization"].to_str().unwrap().contains("Credential=ASIAROLE/"));
    assert_eq!(heard.headers["x-amz-security-token"], "session-1");
    assert_eq!(sts.count(), 1);
    assert!(sts.heard()[0].body.ends_with(b"&WebIdentityToken=j%2E1"));
}

#[tokio::test]
async fn an_identity_that_is_refused_is_an_error_without_its_secret() {
    let office = Guard::saying(Say::Status(
        401,
        &[],
        json!({ "error": "invalid_client", "error_description": "hunter2" }).to_string(),
    ))
    .await;
    let azure = Guard::saying(Say::Json(completion())).await;
    let reply = application(&azure, &office).client.chat(&question("Hello")).await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (502, Some("all_targets_failed")));
    assert_eq!(reply.error()["attempts"], json!(["azure/gpt-5: no_credential"]));
    assert!(!String::from_utf8_lossy(&reply.body).contains("hunter2"));
    assert_eq!(azure.count(), 0);
}
