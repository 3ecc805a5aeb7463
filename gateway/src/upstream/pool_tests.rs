//! The pool against servers that misbehave.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::dns::{Found, Lookup};
use super::server::{self, Got, HEADERS, React, SETTINGS, Server, answer, go_away, reset, settings};
use super::*;
use crate::config::parse;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A pool whose provider is this server.
fn pool(url: &str, http: &str, more: &str) -> Upstream {
    over(network(url, http, more))
}

fn over(network: Network) -> Upstream {
    Upstream::over(&Arc::new(network))
}

fn network(url: &str, http: &str, more: &str) -> Network {
    let yaml = format!("providers: {{p: {{kind: mock, base_url: '{url}', http: {http}}}}}\n{more}\n");
    let config = parse(&yaml, "test").unwrap();
    Network::build(&config, std::iter::once(("p", url)), &|_| None, Meter::default()).unwrap()
}

fn request(url: &str) -> Outgoing {
    Outgoing(Request::post(url).body(Full::new(Bytes::from_static(b"{}"))).unwrap())
}

async fn ask(pool: &Upstream, url: &str) -> Result<u16, UpstreamError> {
    let response = pool.send(request(url)).await?;
    let status = response.status().as_u16();
    let body = BodyExt::collect(response.into_body()).await;
    assert!(body.is_ok());
    Ok(status)
}

fn react(react: impl Fn(Got) -> Vec<u8> + Send + Sync + 'static) -> React {
    Arc::new(move |got| match got.kind {
        SETTINGS => settings(100),
        HEADERS => react(got),
        _ => Vec::new(),
    })
}

async fn http2(act: impl Fn(Got) -> Vec<u8> + Send + Sync + 'static) -> (Server, String) {
    let server = server::http2("127.0.0.1:0", react(act)).await;
    let url = format!("http://{}/v1", server.address);
    (server, url)
}

#[tokio::test]
async fn a_stream_that_was_refused_is_sent_again_and_one_that_failed_is_not() {
    let (server, url) = http2(|got| match got.stream {
        1 => reset(1, 7),
        3 => answer(3),
        stream => reset(stream, 2),
    })
    .await;
    let pool = pool(&url, "2", "");
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert!(matches!(ask(&pool, &url).await, Err(UpstreamError::Broken(_))));
    assert_eq!((*server.asked.borrow(), *server.accepted.borrow()), (3, 1));
}

#[tokio::test]
async fn a_server_that_refuses_every_stream_is_not_asked_for_ever() {
    let (server, url) = http2(|got| reset(got.stream, 7)).await;
    assert!(ask(&pool(&url, "2", ""), &url).await.is_err());
    assert_eq!(*server.asked.borrow(), 4);
}

#[tokio::test]
async fn what_a_leaving_server_did_not_look_at_is_asked_elsewhere() {
    let (server, url) = http2(|got| if got.connection == 0 { go_away(0) } else { answer(got.stream) }).await;
    let pool = pool(&url, "2", "");
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(*server.accepted.borrow(), 2);
}

#[tokio::test]
async fn a_leaving_server_ends_what_it_has_begun_and_gets_nothing_new() {
    // The first answer is complete only with the second request, which comes over another connection.
    let (server, url) = http2(|got| match (got.connection, got.stream) {
        (0, 1) => [server::frame(HEADERS, 0x4, 1, &[0x88]), go_away(1)].concat(),
        (1, stream) => answer(stream),
        _ => Vec::new(),
    })
    .await;
    let pool = pool(&url, "2", "");
    let first = pool.send(request(&url)).await.unwrap();
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!((*server.accepted.borrow(), *server.ended.borrow()), (2, 0), "the first goes on");
    drop(first);
    Server::until(&server.ended, 1).await;
}

#[tokio::test]
async fn no_connection_gets_more_streams_than_its_server_takes_and_none_waits_for_another() {
    let server = server::http2(
        "127.0.0.1:0",
        Arc::new(|got| match got.kind {
            SETTINGS => settings(2),
            // The head alone: the stream stays open.
            HEADERS => server::frame(HEADERS, 0x4, got.stream, &[0x88]),
            _ => Vec::new(),
        }),
    )
    .await;
    let url = format!("http://{}/v1", server.address);
    let pool = pool(&url, "2", "");
    let all = futures_util::future::join_all((0..7).map(|_| pool.send(request(&url)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((*server.accepted.borrow(), *server.asked.borrow()), (4, 7));
}

#[tokio::test]
async fn our_own_cap_holds_where_it_is_lower() {
    let (server, url) = http2(|got| server::frame(HEADERS, 0x4, got.stream, &[0x88])).await;
    let pool = pool(&url, "2", "connections: {max_streams: 3}");
    let all = futures_util::future::join_all((0..6).map(|_| pool.send(request(&url)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(*server.accepted.borrow(), 2);
    drop(all);
    let again = futures_util::future::join_all((0..6).map(|_| pool.send(request(&url)))).await;
    assert!(again.iter().all(Result::is_ok));
    assert_eq!(*server.accepted.borrow(), 2, "streams that ended make room");
}

#[tokio::test]
async fn when_every_connection_is_in_use_the_error_says_by_which_field() {
    let (_server, url) = http2(|got| server::frame(HEADERS, 0x4, got.stream, &[0x88])).await;
    let more = "connections: {max_streams: 1, max_connections: 2}\ntimeouts: {connect: 300ms}";
    let pool = pool(&url, "2", more);
    let (one, other) = tokio::join!(pool.send(request(&url)), pool.send(request(&url)));
    let one = one.unwrap();
    assert!(other.is_ok());
    let told = pool.send(request(&url)).await.err().unwrap().to_string();
    assert!(told.contains("connections.max_connections"), "{told}");
    let waits = pool.send(request(&url));
    let frees = async move { drop(one) };
    assert!(tokio::join!(waits, frees).0.is_ok(), "the first that is free is taken");
}

#[tokio::test]
async fn a_server_without_settings_speaks_no_http2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/v1", listener.local_addr().unwrap());
    let pool = pool(&silent, "2", "timeouts: {connect: 200ms}");
    let told = pool.send(request(&silent)).await.err().unwrap();
    assert!(matches!(told, UpstreamError::Broken(_)), "{told}");
}

#[tokio::test]
async fn a_connection_that_closes_instead_of_a_second_answer_is_replaced_and_one_that_closes_instead_of_the_first_is_told()
 {
    let server = server::http1("127.0.0.1:0", |connection, request| match (connection, request) {
        (0 | 2, 0) => (OK, false),
        (1, 0) => (OK, true),
        (2, 1) => (b"HTTP/1.1 2", true),
        (0, _) | (3, 0) => (b"", true),
        _ => (OK, false),
    })
    .await;
    let url = format!("http://{}/v1", server.address);
    let pool = pool(&url, "auto", "");
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(ask(&pool, &url).await.unwrap(), 200, "the first connection is closed, the second answers");
    assert_eq!((*server.accepted.borrow(), *server.asked.borrow()), (2, 3));
    // The second was closed after its answer; whether we know that already makes no difference.
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(*server.accepted.borrow(), 3);
    assert!(ask(&pool, &url).await.is_err(), "a byte came: it was processed");
    assert!(ask(&pool, &url).await.is_err(), "nothing is known of a connection that never answered");
    assert_eq!(*server.accepted.borrow(), 4);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_and_is_closed_when_nobody_needs_it() {
    let server = server::http1("127.0.0.1:0", |_, _| (OK, false)).await;
    let url = format!("http://{}/v1", server.address);
    let pool = pool(&url, "auto", "connections: {idle: 300ms}");
    for _ in 0..5 {
        assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    }
    assert_eq!((*server.accepted.borrow(), *server.asked.borrow()), (1, 5));
    Server::until(&server.ended, 1).await;
}

#[tokio::test]
async fn a_connection_of_http2_is_closed_when_nobody_needs_it() {
    let (server, url) = http2(|got| answer(got.stream)).await;
    let pool = pool(&url, "2", "connections: {idle: 100ms}");
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    Server::until(&server.ended, 1).await;
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(*server.accepted.borrow(), 2);
}

/// The first address for one lookup, the other ever after.
struct Moves(AtomicUsize);

impl Lookup for Moves {
    fn addresses(&self, host: &str) -> Found {
        assert_eq!(host, "models.example");
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { Ok(vec![IpAddr::from([127, 0, 0, if first { 1 } else { 2 }])]) })
    }
}

#[tokio::test]
async fn a_name_that_moves_takes_new_requests_along_and_leaves_old_answers_in_peace() {
    let held = |got: Got| server::frame(HEADERS, 0x4, got.stream, &[0x88]);
    let old = server::http2("127.0.0.1:0", react(held)).await;
    let port = old.address.port();
    let new = server::http2(&format!("127.0.0.2:{port}"), react(held)).await;
    let url = format!("http://models.example:{port}/v1");
    let names = Box::new(Moves(AtomicUsize::new(0)));
    let pool = over(network(&url, "2", "").with_names(names, Duration::from_nanos(1)));
    let first = pool.send(request(&url)).await.unwrap();
    let mut later = Vec::new();
    while *new.accepted.borrow() == 0 {
        later.push(pool.send(request(&url)).await.unwrap());
    }
    assert!(*old.asked.borrow() < 100 && *old.ended.borrow() == 0, "what was begun goes on");
    let before = *old.asked.borrow();
    assert!(pool.send(request(&url)).await.is_ok());
    assert_eq!((*old.asked.borrow(), *old.accepted.borrow()), (before, 1));
    drop((first, later));
    Server::until(&old.ended, 1).await;
}

#[tokio::test]
async fn a_name_that_is_unknown_and_a_port_where_nobody_listens_are_told() {
    struct Nobody;
    impl Lookup for Nobody {
        fn addresses(&self, _: &str) -> Found {
            Box::pin(async { Err(io::Error::other("no such name")) })
        }
    }
    let url = "https://models.example/v1";
    let pool = over(network(url, "auto", "").with_names(Box::new(Nobody), Duration::from_secs(9)));
    let told = pool.send(request(url)).await.err().unwrap().to_string();
    assert_eq!(told, "no connection: the name models.example could not be looked up: no such name");
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}/v1");
    let pool = Upstream::new(Duration::from_secs(5));
    let all = futures_util::future::join_all((0..9).map(|_| pool.send(request(&url)))).await;
    assert!(all.iter().all(|sent| matches!(sent, Err(UpstreamError::Connect(_)))));
}
