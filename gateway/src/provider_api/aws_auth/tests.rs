//! Signatures beside AWS's own, where credentials are found, and how they are fetched and kept.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::provider_api::office::{Office, upstream};

/// The key of AWS's own examples.
fn example(token: Option<&str>) -> Credentials {
    known("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token).unwrap()
}

fn signature(uri: &str, method: &str, token: Option<&str>, at: &str) -> String {
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let at: jiff::Timestamp = at.parse().unwrap();
    signed(&mut request, b"", example(token), ("us-east-1", "service"), at.into()).unwrap();
    let header = request.headers()["authorization"].to_str().unwrap();
    assert!(request.headers()["authorization"].is_sensitive());
    assert!(header.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/2015"), "{header}");
    header.rsplit('=').next().unwrap().to_owned()
}

/// From AWS's test suite for Signature Version 4 (2015-08-30): get-vanilla, post-vanilla, get-vanilla-with-session-token.
#[test]
fn signatures_are_those_of_awss_own_examples() {
    let at = "2015-08-30T12:36:00Z";
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(signature("https://example.amazonaws.com/", "GET", None, at), vanilla);
    let post = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    assert_eq!(signature("https://example.amazonaws.com/", "POST", None, at), post);
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let with_token = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8";
    assert_eq!(signature("https://example.amazonaws.com/", "GET", Some(token), at), with_token);
}

fn section(yaml: &str) -> AwsSection {
    serde_saphyr::from_str(yaml).unwrap()
}

fn found(yaml: &str, env: &[(&str, &str)]) -> Result<Source, String> {
    let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    source(&section(yaml), Some("eu-west-1"), &lookup)
}

#[test]
fn credentials_are_found_where_the_section_says_else_in_the_environment_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(
        &file,
        "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s1\n\n# more\n[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=s2\naws_session_token=t2\n",
    )
    .unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s3"), ("S", "s4"), file];
    let id = |yaml: &str, env: &[(&str, &str)]| match found(yaml, env) {
        Ok(Source::Known(credentials)) => credentials.access_key_id().to_owned(),
        Ok(Source::At(_)) => "fetched".to_owned(),
        Err(problem) => problem,
    };
    assert_eq!(id("{access_key_id: AKIDOWN, secret_access_key: 'env:S'}", &keys), "AKIDOWN");
    assert_eq!(id("{}", &keys), "AKIDENV");
    assert_eq!(id("{profile: work}", &keys), "AKIDWORK");
    assert_eq!(id("{}", &[file]), "AKIDFILE");
    assert_eq!(id("{}", &[file, ("AWS_PROFILE", "work")]), "AKIDWORK");
    let container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x");
    assert_eq!(id("{}", &[container]), "fetched");
    assert_eq!(id("{instance_role: true}", &keys), "fetched");
}

#[test]
fn what_is_missing_or_wrong_is_told_by_its_field_and_no_secret_is() {
    let file = ("AWS_SHARED_CREDENTIALS_FILE", "no/such/file");
    let cases = [
        ("{}", ": missing: set AWS_BEARER_TOKEN_BEDROCK"),
        ("{access_key_id: A}", ".secret_access_key: missing"),
        ("{secret_access_key: 'env:S'}", ".secret_access_key: wants an 'access_key_id'"),
        ("{access_key_id: A, secret_access_key: hunter2}", ".secret_access_key: does not belong"),
        (
            "{access_key_id: A, secret_access_key: 'env:NONE'}",
            ".secret_access_key: the environment variable NONE",
        ),
        ("{access_key_id: A, profile: p}", ": give a key, a profile, 'instance_role' or"),
        ("{profile: p}", ".profile: the file no/such/file can't be read"),
    ];
    for (yaml, words) in cases {
        let problem = found(yaml, &[file]).err().unwrap();
        assert!(problem.contains(words) && !problem.contains("hunter2"), "{yaml}: {problem}");
    }
}

/// A service on a free port that answers requests by this, given their first line and headers; it counts them.
async fn service(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut head, mut part) = (Vec::new(), [0; 1024]);
            while !head.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut part).await.unwrap();
                head.extend_from_slice(&part[..read]);
            }
            let head = String::from_utf8(head).unwrap();
            let (status, body) = answer(number, &head).map_or((500, String::new()), |body| (200, body));
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

/// Credentials by number that hold for so long.
fn given(number: usize, lasting: Duration) -> String {
    let expires = jiff::Timestamp::try_from(SystemTime::now() + lasting).unwrap();
    let id = format!("ASIA{number}");
    serde_json::json!({ "AccessKeyId": id, "SecretAccessKey": "s", "Token": "t", "Expiration": expires.to_string() }).to_string()
}

fn of_container(base: &str, token: Option<&std::path::Path>) -> Aws {
    let (base, token) = (format!("{base}/creds"), token.map(|path| path.to_str().unwrap().to_owned()));
    let env = move |name: &str| match name {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some(base.clone()),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => token.clone(),
        _ => None,
    };
    match find("providers.a", &AwsSection::default(), Some("eu-west-1"), &env) {
        Ok(Credential::Aws(aws)) => Arc::into_inner(aws).unwrap(),
        Ok(_) => panic!("no signature"),
        Err(problem) => panic!("{problem}"),
    }
}

#[tokio::test]
async fn a_containers_credentials_are_fetched_once_and_anew_before_they_expire() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "let-me-in\n").unwrap();
    let lasting = |number: usize| if number == 1 { EARLY / 2 } else { EARLY * 2 };
    let base = service(move |number, head| {
        let shown = head.starts_with("GET /creds ") && head.contains("authorization: let-me-in\r\n");
        shown.then(|| given(number, lasting(number)))
    })
    .await;
    let (aws, upstream) = (of_container(&base, Some(&token)), upstream());
    for expected in ["ASIA1", "ASIA2", "ASIA2"] {
        assert_eq!(aws.ready(&upstream).await.ok().unwrap().credentials.access_key_id(), expected);
    }
}

#[tokio::test]
async fn credentials_that_still_hold_are_used_while_no_others_are_to_be_had() {
    let base = service(|number, _| (number == 1).then(|| given(number, EARLY / 2))).await;
    let (aws, upstream) = (of_container(&base, None), upstream());
    for _ in 0..2 {
        assert_eq!(aws.ready(&upstream).await.ok().unwrap().credentials.access_key_id(), "ASIA1");
    }
    let gone = of_container(&service(|_, _| None).await, None);
    assert_eq!(gone.ready(&upstream).await.err().unwrap(), "no AWS credentials: the service answers 500");
}

#[tokio::test]
async fn a_machines_role_is_asked_for_with_a_token() {
    let base = service(|number, head| {
        let has_token = head.contains("x-aws-ec2-metadata-token: TOKEN\r\n");
        let line = head.lines().next().unwrap();
        match (number, line) {
            (1, "PUT /latest/api/token HTTP/1.1") => Some("TOKEN".to_owned()),
            (2, "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1") if has_token => {
                Some("gate\n".to_owned())
            }
            (3, "GET /latest/meta-data/iam/security-credentials/gate HTTP/1.1") if has_token => {
                Some(given(number, EARLY * 2))
            }
            _ => None,
        }
    })
    .await;
    let answer = fetched::of_instance(&upstream(), &format!("{base}/latest")).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("ASIA3"));
}

/// What the token service says for a role, that holds for so long.
fn role_given(id: &str, lasting: Duration) -> (u16, String) {
    let expires = jiff::Timestamp::try_from(SystemTime::now() + lasting).unwrap();
    let credentials = format!(
        "<Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials>"
    );
    (200, format!("<?xml version=\"1.0\"?><R xmlns=\"urn:x\"><Result>{credentials}</Result></R>"))
}

fn aws(yaml: &str, env: &[(&str, &str)]) -> Aws {
    let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    match find("providers.a", &section(yaml), Some("eu-west-1"), &lookup) {
        Ok(Credential::Aws(aws)) => Arc::into_inner(aws).unwrap(),
        Ok(_) => panic!("no signature"),
        Err(problem) => panic!("{problem}"),
    }
}

async fn used(aws: &Aws, upstream: &Upstream) -> Result<String, String> {
    aws.ready(upstream).await.map(|signing| signing.credentials.access_key_id().to_owned())
}

const ROLE: &str = "arn:aws:iam::123456789012:role/gate";

#[tokio::test]
async fn a_clusters_token_buys_a_role_and_is_read_anew_before_its_credentials_expire() {
    let answers = vec![role_given("ASIA1", EARLY / 2), role_given("ASIA2", EARLY * 2)];
    let office = Office::saying(answers, false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let at = format!("http://{}/", office.address);
    let env = [
        ("AWS_ENDPOINT_URL_STS", at.as_str()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_SESSION_NAME", "pod-1"),
    ];
    let (aws, upstream) = (aws("{}", &env), upstream());
    for (written, id) in [("j.1\n", "ASIA1"), ("j.2\n", "ASIA2"), ("j.3\n", "ASIA2")] {
        std::fs::write(&file, written).unwrap();
        assert_eq!(used(&aws, &upstream).await.unwrap(), id);
    }
    assert_eq!(office.count(), 2);
    let question = office.question(0);
    assert!(question.starts_with("POST / HTTP/1.1\r\n") && !question.contains("authorization"), "{question}");
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fgate&RoleSessionName=pod%2D1&WebIdentityToken=j%2E1";
    assert!(question.ends_with(&format!("\r\n\r\n{form}")), "{question}");
    assert!(office.question(1).ends_with("&WebIdentityToken=j%2E2"));
}

#[tokio::test]
async fn a_role_is_assumed_by_a_request_that_other_credentials_sign() {
    let office = Office::saying(vec![role_given("ASIA1", EARLY * 2)], false).await;
    let at = format!("http://{}/", office.address);
    let env = [("AWS_ENDPOINT_URL_STS", at.as_str()), ("S", "s4")];
    let yaml = format!(
        "{{access_key_id: AKIDOWN, secret_access_key: 'env:S', role_arn: '{ROLE}', external_id: 'x/1'}}"
    );
    let (aws, upstream) = (aws(&yaml, &env), upstream());
    assert_eq!(used(&aws, &upstream).await.unwrap(), "ASIA1");
    let question = office.question(0);
    assert!(
        question.contains("Credential=AKIDOWN/") && question.contains("/eu-west-1/sts/aws4_request"),
        "{question}"
    );
    assert!(
        question.contains("Action=AssumeRole&")
            && question.ends_with("&RoleSessionName=sluice&ExternalId=x%2F1"),
        "{question}"
    );
}

#[tokio::test]
async fn a_clusters_role_may_assume_another_one() {
    let answers = vec![role_given("ASIAPOD", EARLY * 2), role_given("ASIA1", EARLY * 2)];
    let office = Office::saying(answers, false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "j.1").unwrap();
    let at = format!("http://{}/", office.address);
    let env = [
        ("AWS_ENDPOINT_URL_STS", at.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let aws = aws(&format!("{{role_arn: '{ROLE}'}}"), &env);
    assert_eq!(used(&aws, &upstream()).await.unwrap(), "ASIA1");
    assert!(office.question(0).contains("role%2Fpod") && office.question(1).contains("role%2Fgate"));
    assert!(office.question(1).contains("Credential=ASIAPOD/"), "{}", office.question(1));
}

#[tokio::test]
async fn a_role_that_is_refused_is_told_by_its_word_and_not_asked_for_again_at_once() {
    let refused =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>hunter2</Message></Error></ErrorResponse>";
    let office = Office::saying(vec![(403, refused.to_owned())], false).await;
    let at = format!("http://{}/", office.address);
    let env = [("AWS_ENDPOINT_URL_STS", at.as_str()), ("S", "s4")];
    let yaml = format!("{{access_key_id: AKIDOWN, secret_access_key: 'env:S', role_arn: '{ROLE}'}}");
    let (aws, upstream) = (aws(&yaml, &env), upstream());
    let problem = used(&aws, &upstream).await.unwrap_err();
    assert_eq!(
        problem,
        format!("no AWS credentials: the role {ROLE}: the token service answers 403 AccessDenied")
    );
    // Within a second; on a machine that is slower than that somebody asks again, and is told the same.
    assert_eq!(used(&aws, &upstream).await.unwrap_err(), problem);
}

#[test]
fn a_role_that_can_t_be_meant_is_told_by_its_field() {
    let safe = ("AWS_SHARED_CREDENTIALS_FILE", "no/such/file");
    for (yaml, env, words) in [
        ("{web_identity_token_file: x}", vec![], ".role_arn: missing: a web identity is shown for a role"),
        ("{}", vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "x")], ": AWS_ROLE_ARN: missing"),
        ("{web_identity_token_file: x, role_arn: gate}", vec![], ".role_arn: expected arn:aws:iam::"),
        (
            "{web_identity_token_file: x, role_arn: 'arn:aws:iam::1:role/g', role_session_name: a b}",
            vec![],
            ".role_session_name: expected",
        ),
        ("{web_identity_token_file: x, profile: p}", vec![], ": give a key, a profile"),
        ("{external_id: x}", vec![], ".external_id: wants a 'role_arn'"),
        ("{role_arn: 'arn:aws:iam::1:role/g'}", vec![], ": missing: set AWS_BEARER_TOKEN_BEDROCK"),
    ] {
        let env: Vec<_> = env.into_iter().chain([safe]).collect();
        let problem = found(yaml, &env).err().unwrap();
        assert!(problem.starts_with(words), "{yaml}: {problem}");
    }
}
