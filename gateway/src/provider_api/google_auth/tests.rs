//! Token exchange against a local server that counts how often it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use rustls::crypto::ring;
use serde_json::{Value, json};

use super::find;
use crate::provider_api::credential::Credential;
use crate::provider_api::office::{Office, upstream};
use crate::provider_api::tokens::Tokens;
use crate::secret::SecretSource;
use crate::upstream::Upstream;

const PRIVATE: &str = include_str!("../../../../fixtures/google/private_key.txt");
const PUBLIC: &str = include_str!("../../../../fixtures/google/public_key.txt");

fn token(name: &str, seconds: u64) -> (u16, Value) {
    (200, json!({ "access_token": name, "expires_in": seconds, "token_type": "Bearer" }))
}

fn service_account(address: &str) -> Value {
    let key = PRIVATE.split_whitespace().collect::<String>();
    let (begin, end) = ("-----BEGIN PRIVATE ", "-----END PRIVATE ");
    json!({ "type": "service_account", "private_key_id": "k1", "client_email": "sluice@harbour-1.example",
        "private_key": format!("{begin}KEY-----\n{key}\n{end}KEY-----\n"), "token_uri": format!("http://{address}/token") })
}

/// The account of these credentials.
fn account(credentials: &Value) -> Arc<Tokens> {
    let env = BTreeMap::from([("KEY".to_owned(), credentials.to_string())]);
    find(Some(&SecretSource::Env("KEY".to_owned())), &|name| env.get(name).cloned()).unwrap()
}

async fn shown(account: &Arc<Tokens>, upstream: &Upstream) -> Result<String, String> {
    account.ready(upstream).await.map(|headers| headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_service_account_asks_with_a_claim_that_its_key_signed() {
    let office = Office::open(vec![token("t1", 3600)], false).await;
    let (account, upstream) = (account(&service_account(&office.address)), upstream());
    assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    assert_eq!(office.count(), 1, "it is kept");
    let question = office.question(0);
    let claim = question.split_once("&assertion=").unwrap().1;
    assert!(question.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"));
    let parts: Vec<&str> = claim.split('.').collect();
    let decoded = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
    let said = |at: usize| serde_json::from_slice::<Value>(&decoded(at)).unwrap();
    assert_eq!(said(0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let claims = said(1);
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("sluice@harbour-1.example"), &json!(format!("http://{}/token", office.address)))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    let algorithms = ring::default_provider().signature_verification_algorithms.mapping;
    let (_, algorithms) =
        algorithms.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256).unwrap();
    let public = STANDARD.decode(PUBLIC.split_whitespace().collect::<String>()).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    algorithms[0].verify_signature(&public, signed.as_bytes(), &decoded(2)).unwrap();
}

#[tokio::test]
async fn a_user_asks_with_a_refresh_token_and_the_machine_with_a_header() {
    let office = Office::open(vec![token("t1", 3600)], false).await;
    let user = json!({ "type": "authorized_user", "client_id": "c/1", "client_secret": "s&2", "refresh_token": "r=3",
        "token_uri": format!("http://{}/token", office.address) });
    assert_eq!(shown(&account(&user), &upstream()).await.unwrap(), "Bearer t1");
    let form = "grant_type=refresh_token&client_id=c%2F1&client_secret=s%262&refresh_token=r%3D3";
    assert!(office.question(0).ends_with(form), "{}", office.question(0));
    let host = office.address.clone();
    let machine = find(None, &|name| (name == "GCE_METADATA_HOST").then(|| host.clone())).unwrap();
    assert_eq!(shown(&machine, &upstream()).await.unwrap(), "Bearer t1");
    let question = office.question(1).to_ascii_lowercase();
    assert!(
        question.starts_with("get /computemetadata/v1/instance/service-accounts/default/token "),
        "{question}"
    );
    assert!(question.contains("metadata-flavor: google"));
}

#[tokio::test]
async fn whoever_can_t_wait_for_a_token_goes_without_and_the_next_one_has_it() {
    let office = Office::open(vec![token("t1", 3600)], true).await;
    let host = office.address.clone();
    let machine = find(None, &|name| (name == "GCE_METADATA_HOST").then(|| host.clone())).unwrap();
    let (credential, upstream) = (Credential::Tokens(Arc::clone(&machine)), upstream());
    let hurried = credential.ready_by(tokio::time::Instant::now(), &upstream).await;
    assert_eq!(hurried.err().unwrap(), "no credentials came in time");
    office.asked(1).await;
    office.gate.notify_one();
    assert_eq!(shown(&machine, &upstream).await.unwrap(), "Bearer t1");
    assert_eq!(office.count(), 1, "it was fetched all the same");
}

/// The file of a workload whose token is in this one.
fn external(address: &str, token: &std::path::Path) -> Value {
    json!({ "type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("http://{address}/v1/token"),
        "credential_source": { "file": token.to_str().unwrap() } })
}

#[tokio::test]
async fn a_workload_elsewhere_exchanges_its_token_which_is_read_anew_each_time() {
    let office = Office::open(vec![token("t1", 1), token("t2", 3600)], false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (account, upstream) = (account(&external(&office.address, &file)), upstream());
    for (written, expected) in [("j.1\n", "Bearer t1"), ("j.2\n", "Bearer t2")] {
        std::fs::write(&file, written).unwrap();
        assert_eq!(shown(&account, &upstream).await.unwrap(), expected);
    }
    let question = office.question(0);
    assert!(
        question.starts_with("POST /v1/token ") && question.ends_with("&subject_token=j%2E1"),
        "{question}"
    );
    assert!(question.contains(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant%2Dtype%3Atoken%2Dexchange&audience=%2F%2Fiam"
    ));
    assert!(office.question(1).ends_with("&subject_token=j%2E2"));
}

#[tokio::test]
async fn a_workload_may_become_a_service_account_by_a_token_from_an_address() {
    let ends = jiff::Timestamp::now() + Duration::from_secs(3600);
    let answers = vec![
        (200, json!({ "access_token": "of-the-other-cloud" })),
        token("federated", 3600),
        (200, json!({ "accessToken": "t1", "expireTime": ends.to_string() })),
    ];
    let office = Office::open(answers, false).await;
    let mut file = external(&office.address, std::path::Path::new("x"));
    let base = format!("http://{}", office.address);
    file["service_account_impersonation_url"] = json!(format!("{base}/v1/accounts/gate:generateAccessToken"));
    file["credential_source"] = json!({ "url": format!("{base}/identity?resource=x"), "headers": { "Metadata": "True" },
        "format": { "type": "json", "subject_token_field_name": "access_token" } });
    let (account, upstream) = (account(&file), upstream());
    for _ in 0..2 {
        assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    }
    assert_eq!(office.count(), 3);
    assert!(
        office.question(0).starts_with("GET /identity?resource=x ")
            && office.question(0).contains("metadata: True\r\n")
    );
    assert!(
        office.question(1).ends_with("&subject_token=of%2Dthe%2Dother%2Dcloud"),
        "{}",
        office.question(1)
    );
    let question = office.question(2);
    assert!(question.starts_with("POST /v1/accounts/gate:generateAccessToken "), "{question}");
    assert!(
        question.contains("authorization: Bearer federated\r\n")
            && question.contains("\"lifetime\":\"3600s\"")
    );
}

#[test]
fn what_is_wrong_with_a_workloads_file_is_told_by_its_field() {
    let told = |field: &str, value: Value| {
        let mut file = external("127.0.0.1:1", std::path::Path::new("x"));
        file[field] = value;
        let env = move |name: &str| (name == "KEY").then(|| file.to_string());
        find(Some(&SecretSource::Env("KEY".to_owned())), &env).err().unwrap()
    };
    for (field, value, words) in [
        ("audience", Value::Null, "KEY: 'audience' is missing"),
        ("token_url", json!("http://elsewhere.example/"), "KEY: 'token_url' must begin with https://"),
        (
            "service_account_impersonation_url",
            json!("ftp://x/"),
            "KEY: 'service_account_impersonation_url' must begin",
        ),
        ("credential_source", json!({}), "KEY: 'credential_source' must have a 'file' or a 'url'"),
        (
            "credential_source",
            json!({ "environment_id": "aws1", "url": "http://169.254.169.254/x" }),
            "KEY: 'credential_source' must have a 'file'",
        ),
        (
            "credential_source",
            json!({ "url": "http://elsewhere.example/" }),
            "KEY: 'credential_source' 'url' must begin",
        ),
        (
            "credential_source",
            json!({ "file": "x", "format": { "type": "json" } }),
            "KEY: 'credential_source.format' names no",
        ),
        ("workforce_pool_user_project", json!("p"), "KEY: identities of a workforce are not followed"),
    ] {
        let problem = told(field, value);
        assert!(problem.starts_with(words), "{problem}");
    }
}

#[tokio::test]
async fn many_at_once_wait_for_one_token() {
    let office = Office::open(vec![token("t1", 3600)], true).await;
    let (account, upstream) = (account(&service_account(&office.address)), upstream());
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (account, upstream) = (Arc::clone(&account), upstream.clone());
            tokio::spawn(async move { shown(&account, &upstream).await })
        })
        .collect();
    office.asked(1).await;
    office.gate.notify_one();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap(), "Bearer t1");
    }
    assert_eq!(office.count(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_early_while_the_old_one_serves() {
    let office = Office::open(vec![token("t1", 3600), token("t2", 3600)], true).await;
    let (account, upstream) = (account(&service_account(&office.address)), upstream());
    office.gate.notify_one();
    assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    account.state().next = Some(tokio::time::Instant::now());
    for _ in 0..5 {
        assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1", "nobody waits for the new one");
    }
    office.asked(2).await;
    assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1");
    office.gate.notify_one();
    while shown(&account, &upstream).await.unwrap() != "Bearer t2" {
        tokio::task::yield_now().await;
    }
    assert_eq!(office.count(), 2, "one at a time");
    let state = account.state();
    let (next, ends) = (state.next.unwrap(), state.token.as_ref().unwrap().ends);
    assert_eq!(ends - next, Duration::from_secs(300), "five minutes before its end");
}

#[tokio::test]
async fn a_failure_is_told_and_not_tried_again_at_once() {
    let refused = (400, json!({ "error": "invalid_grant", "error_description": "secret words" }));
    let office = Office::open(vec![refused, token("t1", 3600)], false).await;
    let (account, upstream) = (account(&service_account(&office.address)), upstream());
    let problem = shown(&account, &upstream).await.unwrap_err();
    assert!(
        problem.contains("sluice@harbour-1.example: status 400 invalid_grant: is the clock right"),
        "{problem}"
    );
    assert!(!problem.contains("secret words"));
    assert_eq!(shown(&account, &upstream).await.unwrap_err(), problem);
    assert_eq!(office.count(), 1);
    account.state().next = Some(tokio::time::Instant::now());
    assert_eq!(shown(&account, &upstream).await.unwrap(), "Bearer t1", "and later it is");
    // What serves goes on serving while renewing fails.
    let failing = Office::open(vec![token("t1", 3600), (503, json!("no"))], false).await;
    let second = super::tests::account(&service_account(&failing.address));
    assert_eq!(shown(&second, &upstream).await.unwrap(), "Bearer t1");
    second.state().next = Some(tokio::time::Instant::now());
    assert_eq!(shown(&second, &upstream).await.unwrap(), "Bearer t1");
    failing.asked(2).await;
    assert_eq!(shown(&second, &upstream).await.unwrap(), "Bearer t1");
}

#[test]
fn what_is_wrong_with_credentials_is_told_without_them() {
    let told = |credentials: Value| {
        let env = move |name: &str| (name == "KEY").then(|| credentials.to_string());
        find(Some(&SecretSource::Env("KEY".to_owned())), &env).err().unwrap()
    };
    let with = |field: &str, value: Value| {
        let mut account = service_account("127.0.0.1:1");
        account[field] = value;
        told(account)
    };
    assert_eq!(
        with("type", json!("gdch_service_account")),
        "KEY: 'type' must be service_account, authorized_user or external_account"
    );
    assert_eq!(with("private_key", json!("hunter2")), "KEY: 'private_key' must be an RSA key in PEM");
    assert_eq!(with("client_email", Value::Null), "KEY: 'client_email' is missing");
    assert_eq!(
        with("token_uri", json!("http://elsewhere.example/token")),
        "KEY: 'token_uri' must begin with https://"
    );
    assert!(
        with("type", json!(5)).starts_with("KEY holds no credentials of Google"),
        "by place, without a quote"
    );
    let nobody = find(None, &|_| None).err().unwrap();
    assert!(nobody.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{nobody}");
}
