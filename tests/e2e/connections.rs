//! How providers are reached: many streams at once, TLS with an authority of one's own, proxies.

use futures_util::future::join_all;
use http::{Version, header};
use http_body_util::BodyExt;
use sluice_tests::peer::{Authority, Peer, Proxy};
use sluice_tests::{Gate, Reply, log, question, streamed};

/// One provider, asked once.
fn one(url: &str, provider: &str, more: &str) -> String {
    format!(
        "providers: {{p: {{kind: openai_compatible, base_url: '{url}'{provider}}}}}\nroutes: [{{model: chat, targets: [p/m]}}]\nretry: {{rounds: 0}}\ncache: {{enabled: false}}\n{more}\n"
    )
}

#[tokio::test]
async fn hundreds_of_streams_to_a_provider_of_http2_begin_while_none_has_ended() {
    const STREAMS: usize = 240;
    let peer = Peer::plain(100).await;
    let gate = Gate::start(&one(&peer.url("http", "127.0.0.1"), ", http: 2", "limits: {threads: 1}"));
    let ask = |number: usize| {
        let client = gate.client.clone();
        async move {
            let mut response = client.open(&streamed(question(&format!("Story {number}")), true)).await;
            let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(String::from_utf8_lossy(&first).contains("Once upon"));
            response
        }
    };
    let begun = join_all((0..STREAMS).map(ask)).await;
    peer.asked(STREAMS).await;
    assert_eq!(peer.connections(), 3, "a hundred streams each");
    gate.until("sluice_upstream_connections{provider=\"p\",protocol=\"h2\"} 3").await;
    peer.release();
    for reply in join_all(begun.into_iter().map(Reply::read)).await {
        assert_eq!((reply.text().as_str(), reply.is_done()), (" a time", true));
    }
    assert!(peer.versions().iter().all(|version| *version == Version::HTTP_2));
    assert_eq!(gate.ask("One more").await.text(), "All done");
    assert_eq!(peer.connections(), 3, "streams that ended make room");
}

#[tokio::test]
async fn over_tls_both_sides_agree_on_http2_unless_that_is_ruled_out() {
    let authority = Authority::of(&["127.0.0.1"]);
    let peer = Peer::secure(&authority).await;
    let trusted = format!("tls: {{ca_file: '{}'}}", authority.file().display());
    for (http, version, protocol) in
        [("auto", Version::HTTP_2, "h2"), ("1", Version::HTTP_11, "h1"), ("2", Version::HTTP_2, "h2")]
    {
        let gate = Gate::start(&one(&peer.url("https", "127.0.0.1"), &format!(", http: {http}"), &trusted));
        assert_eq!(gate.ask("Are you done?").await.text(), "All done", "http: {http}");
        assert_eq!(peer.versions().last(), Some(&version), "http: {http}");
        gate.until(&format!("sluice_upstream_connects_total{{provider=\"p\",outcome=\"{protocol}\"}} 1"))
            .await;
    }
}

#[tokio::test]
async fn a_provider_is_believed_only_if_somebody_vouches_for_it_whom_we_trust() {
    let (known, unknown) = (Authority::of(&["127.0.0.1"]), Authority::of(&["127.0.0.1"]));
    let peer = Peer::secure(&known).await;
    let url = peer.url("https", "127.0.0.1");
    let own = |authority: &Authority| format!(", ca_file: '{}'", authority.file().display());
    assert_eq!(Gate::start(&one(&url, &own(&known), "")).ask("Who?").await.text(), "All done");
    let only = format!("tls: {{roots: none, ca_file: '{}'}}", known.file().display());
    assert_eq!(Gate::start(&one(&url, "", &only)).ask("Who?").await.text(), "All done");
    // A provider's own authority is the only one for it.
    for (provider, more) in [(String::new(), ""), (own(&unknown), only.as_str())] {
        let gate = Gate::start(&one(&url, &provider, more));
        let reply = gate.ask("Who?").await;
        assert_eq!(
            (reply.status, reply.error()["message"].as_str()),
            (502, Some("no target answered: p/m: no_connection"))
        );
        gate.until("sluice_upstream_connects_total{provider=\"p\",outcome=\"tls\"} 1").await;
    }
    assert!(log::text().contains("invalid peer certificate: UnknownIssuer"));
    assert_eq!(peer.versions().len(), 2);
}

#[tokio::test]
async fn a_tunnel_through_a_proxy_leads_to_the_provider_and_its_credentials_go_nowhere_else() {
    let authority = Authority::of(&["provider.test"]);
    let peer = Peer::secure(&authority).await;
    let proxy = Proxy::before(peer.address, true).await;
    let more = format!(
        "proxy: 'http://me:tunnel-hunter2@{}'\ntls: {{ca_file: '{}'}}",
        proxy.address,
        authority.file().display()
    );
    let gate = Gate::start(&one(&peer.url("https", "provider.test"), "", &more));
    assert_eq!(gate.ask("Are you done?").await.text(), "All done");
    assert_eq!(peer.versions(), [Version::HTTP_2]);
    let (line, headers) = proxy.heads().remove(0);
    assert_eq!(line, format!("CONNECT provider.test:{} HTTP/1.1", peer.address.port()));
    assert_eq!(headers[header::PROXY_AUTHORIZATION], "Basic bWU6dHVubmVsLWh1bnRlcjI=");
    let closed = Proxy::before(peer.address, false).await;
    let refusing = more.replace(&proxy.address.to_string(), &closed.address.to_string());
    let gate = Gate::start(&one(&peer.url("https", "provider.test"), "", &refusing));
    let reply = gate.ask("Are you done?").await;
    assert_eq!(reply.status, 502);
    gate.until("sluice_upstream_connects_total{provider=\"p\",outcome=\"proxy\"} 1").await;
    assert!(log::text().contains("the proxy asks for other credentials (status 407)"));
    let told =
        [log::text(), String::from_utf8_lossy(&reply.body).into_owned(), gate.metrics().await].concat();
    assert!(!told.contains("tunnel-hunter2") && !told.contains("bWU6dHVubmVsLWh1bnRlcjI="));
}

#[tokio::test]
async fn without_tls_a_proxy_is_told_the_whole_address() {
    let gate = Gate::with("");
    let proxy = Proxy::before(gate.primary.address, true).await;
    let through = one("http://provider.test:81/v1", "", &format!("proxy: 'http://me:pw@{}'", proxy.address));
    let asking = Gate::start(&through);
    assert_eq!(asking.ask("Hello").await.text(), "You said: Hello");
    assert_eq!(asking.ask("Again").await.text(), "You said: Again");
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "one connection for both");
    assert_eq!(heads[0].0, "POST http://provider.test:81/v1/chat/completions HTTP/1.1");
    assert_eq!(heads[0].1[header::HOST], "provider.test:81");
    assert_eq!(heads[0].1[header::PROXY_AUTHORIZATION], "Basic bWU6cHc=");
}

#[tokio::test]
async fn variables_name_a_proxy_but_for_this_machine_and_what_they_except() {
    let peer = Gate::with("");
    let port = peer.primary.address.port();
    let proxy = Proxy::before(peer.primary.address, true).await;
    let through = format!("http://{}", proxy.address);
    let env = |name: &str| match name {
        "http_proxy" => Some(through.clone()),
        "NO_PROXY" => Some("direct.test".to_owned()),
        _ => None,
    };
    let start = |host: &str, provider: &str| {
        Gate::start_in(
            &one(&format!("http://{host}:{port}/v1"), provider, "timeouts: {connect: 500ms}"),
            &env,
        )
    };
    assert_eq!(start("provider.test", "").ask("Hello").await.text(), "You said: Hello");
    assert_eq!(proxy.heads().len(), 1);
    assert_eq!(start("127.0.0.1", "").ask("Here").await.text(), "You said: Here");
    assert_eq!(start("direct.test", "").ask("Nowhere").await.status, 502, "the name does not exist");
    assert_eq!(proxy.heads().len(), 1);
    let named = format!(", proxy: '{through}'");
    assert_eq!(start("127.0.0.1", &named).ask("Around").await.text(), "You said: Around");
    assert_eq!(proxy.heads().len(), 2);
    assert_eq!(start("127.0.0.1", ", proxy: 'off'").ask("Here").await.text(), "You said: Here");
    assert_eq!(proxy.heads().len(), 2);
}
