//! Token exchange against a local server that counts how often it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use rustls::crypto::ring;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::{Google, find};
use crate::secret::SecretSource;
use crate::upstream::Upstream;

const PRIVATE: &str = include_str!("../../../../fixtures/google/private_key.txt");
const PUBLIC: &str = include_str!("../../../../fixtures/google/public_key.txt");

/// Who gives out tokens: answers each question with the next of these, the last one again and again.
struct Office {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    gate: Arc<Notify>,
}

impl Office {
    /// `held`: an answer waits until it is let go.
    async fn open(answers: Vec<(u16, Value)>, held: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (counted, count) = watch::channel(0);
        let (log, let_go) = (Arc::clone(&asked), Arc::clone(&gate));
        tokio::spawn(async move {
            let mut served = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
                while !is_whole(&bytes) {
                    match stream.read(&mut part).await {
                        Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
                        _ => break,
                    }
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
                counted.send_modify(|count| *count += 1);
                if held {
                    let_go.notified().await;
                }
                let (status, body) = &answers[served.min(answers.len() - 1)];
                served += 1;
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            }
        });
        Self { address, asked, count, gate }
    }

    async fn asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }

    fn count(&self) -> usize {
        *self.count.borrow()
    }

    fn question(&self, number: usize) -> String {
        self.asked.lock().unwrap()[number].clone()
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

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
fn account(credentials: &Value) -> Arc<Google> {
    let env = BTreeMap::from([("KEY".to_owned(), credentials.to_string())]);
    find(Some(&SecretSource::Env("KEY".to_owned())), &|name| env.get(name).cloned()).unwrap()
}

fn upstream() -> Upstream {
    drop(ring::default_provider().install_default());
    Upstream::new(Duration::from_secs(5))
}

async fn shown(account: &Arc<Google>, upstream: &Upstream) -> Result<String, String> {
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
        with("type", json!("external_account")),
        "KEY: 'type' must be service_account or authorized_user"
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
