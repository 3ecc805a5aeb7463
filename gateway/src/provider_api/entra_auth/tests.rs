//! Tokens of Entra ID from a local server, and what is wrong with an identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Value, json};

use super::exchange::read;
use super::find;
use crate::config::EntraSection;
use crate::provider_api::office::{Office, upstream};
use crate::provider_api::tokens::Tokens;
use crate::upstream::Upstream;

fn found(yaml: &str, env: &[(&str, &str)]) -> Result<Arc<Tokens>, String> {
    let section: EntraSection = serde_saphyr::from_str(yaml).unwrap();
    find(&section, &|name| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

fn token(name: &str) -> (u16, Value) {
    (200, json!({ "token_type": "Bearer", "access_token": name, "expires_in": 3599 }))
}

async fn shown(account: &Arc<Tokens>, upstream: &Upstream) -> Result<String, String> {
    account.ready(upstream).await.map(|headers| headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_application_shows_its_secret_and_keeps_the_token() {
    let office = Office::open(vec![token("t1")], false).await;
    let authority = format!("http://{}/", office.address);
    let env = [("AZURE_AUTHORITY_HOST", authority.as_str()), ("S", "s&1")];
    let yaml = "{tenant_id: contoso.example, client_id: app-1, client_secret: 'env:S'}";
    let (account, upstream) = (found(yaml, &env).unwrap(), upstream());
    for _ in 0..2 {
        assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    }
    assert_eq!(office.count(), 1);
    let question = office.question(0);
    assert!(question.starts_with("POST /contoso.example/oauth2/v2.0/token "), "{question}");
    let form = "grant_type=client_credentials&client_id=app%2D1&scope=https%3A%2F%2Fcognitiveservices%2Eazure%2Ecom%2F%2Edefault&client_secret=s%261";
    assert!(question.ends_with(form), "{question}");
}

#[tokio::test]
async fn a_clusters_token_is_read_anew_each_time() {
    let office =
        Office::open(vec![(200, json!({ "access_token": "t1", "expires_in": 1 })), token("t2")], false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let authority = format!("http://{}", office.address);
    let env = [
        ("AZURE_AUTHORITY_HOST", authority.as_str()),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let (account, upstream) = (found("{}", &env).unwrap(), upstream());
    for (written, expected) in [("j1\n", "Bearer t1"), ("j2\n", "Bearer t2")] {
        std::fs::write(&file, written).unwrap();
        assert_eq!(shown(&account, &upstream).await.unwrap(), expected);
    }
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient%2Dassertion%2Dtype%3Ajwt%2Dbearer";
    assert!(office.question(0).contains(kind), "{}", office.question(0));
    assert!(office.question(0).ends_with("&client_assertion=j1"), "{}", office.question(0));
    assert!(office.question(1).ends_with("&client_assertion=j2"), "{}", office.question(1));
}

#[tokio::test]
async fn an_app_service_is_asked_with_its_header_and_tells_when_a_token_ends() {
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let office =
        Office::open(vec![(200, json!({ "access_token": "t1", "expires_on": ends.to_string() }))], false)
            .await;
    let endpoint = format!("http://{}/msi/token", office.address);
    let env = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "let-me-in")];
    for yaml in ["{managed_identity: true, client_id: c-1}", "{client_id: c-1}"] {
        let (account, upstream) = (found(yaml, &env).unwrap(), upstream());
        assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1", "{yaml}");
        assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1", "{yaml}");
    }
    assert_eq!(office.count(), 2, "once for each");
    let question = office.question(0);
    let resource = "resource=https%3A%2F%2Fcognitiveservices%2Eazure%2Ecom";
    let line = format!("GET /msi/token?api-version=2019-08-01&{resource}&client_id=c%2D1 ");
    assert!(question.starts_with(&line), "{question}");
    assert!(question.to_ascii_lowercase().contains("x-identity-header: let-me-in\r\n"), "{question}");
}

#[tokio::test]
async fn a_refusal_is_told_by_its_word_alone() {
    let refused = (401, json!({ "error": "invalid_client", "error_description": "AADSTS7000215: hunter2" }));
    let office = Office::open(vec![refused], false).await;
    let authority = format!("http://{}", office.address);
    let env = [("AZURE_AUTHORITY_HOST", authority.as_str()), ("S", "hunter2")];
    let account = found("{tenant_id: t, client_id: app-1, client_secret: 'env:S'}", &env).unwrap();
    let problem = shown(&account, &upstream()).await.unwrap_err();
    assert!(problem.contains("the application app-1: status 401 invalid_client: is the secret"), "{problem}");
    assert!(!problem.contains("hunter2") && !problem.contains("AADSTS"));
}

#[test]
fn lifetimes_are_read_as_numbers_texts_or_ends() {
    let (now, then) = (UNIX_EPOCH + Duration::from_secs(1000), StatusCode::OK);
    let read =
        |body: Value| read(then, body.to_string().as_bytes(), now).map(|(_, lifetime)| lifetime.as_secs());
    assert_eq!(read(json!({ "access_token": "t", "expires_in": 5 })), Ok(5));
    assert_eq!(read(json!({ "access_token": "t", "expires_in": "3599", "expires_on": "4599" })), Ok(3599));
    assert_eq!(read(json!({ "access_token": "t", "expires_on": 1060 })), Ok(60));
    assert_eq!(read(json!({ "access_token": "t", "expires_on": "10" })), Ok(0));
    for wrong in [
        json!({}),
        json!([]),
        json!({ "access_token": "t" }),
        json!({ "access_token": "hunter2\n", "expires_in": 9 }),
    ] {
        assert!(!read(wrong).unwrap_err().contains("hunter2"));
    }
}

#[test]
fn what_is_missing_or_wrong_is_told_by_its_field_and_no_secret_is() {
    let env = [("S", "hunter2"), ("EMPTY", "")];
    for (yaml, words) in [
        ("{}", ": missing: give a 'client_secret'"),
        ("{client_secret: 'env:S'}", ".tenant_id: missing, or set AZURE_TENANT_ID"),
        ("{tenant_id: t, client_secret: 'env:S'}", ".client_id: missing, or set AZURE_CLIENT_ID"),
        ("{tenant_id: 't/../x', client_id: c, client_secret: 'env:S'}", ".tenant_id: expected letters"),
        ("{tenant_id: t, client_id: c, client_secret: hunter2}", ".client_secret: does not belong"),
        (
            "{tenant_id: t, client_id: c, client_secret: 'env:NONE'}",
            ".client_secret: the environment variable NONE",
        ),
        ("{client_secret: 'env:S', federated_token_file: x}", ": give a 'client_secret' or a"),
        ("{managed_identity: true, client_secret: 'env:S'}", ": 'managed_identity' needs neither"),
        ("{managed_identity: true, scope: 'a b'}", ".scope: expected"),
    ] {
        let problem = found(yaml, &env).err().unwrap();
        assert!(problem.starts_with(words) && !problem.contains("hunter2"), "{yaml}: {problem}");
    }
    let open = [("AZURE_AUTHORITY_HOST", "http://login.example/"), ("S", "hunter2")];
    let problem = found("{tenant_id: t, client_id: c, client_secret: 'env:S'}", &open).err().unwrap();
    assert!(problem.contains("AZURE_AUTHORITY_HOST: expected an address that begins with https://"));
}
