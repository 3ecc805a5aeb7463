//! Many callers at once: each sees its own values and nobody else's, whoever's answer it shares.

use sluice_tests::leak::holds;
use sluice_tests::{Client, Gate, question, script, streamed};
use tokio::task::JoinSet;

const CALLERS: usize = 100;

/// One caller's values; no two callers have one in common.
struct Caller {
    values: [String; 5],
}

/// What all callers' values have in common, one for each.
const MARKS: [&str; 5] =
    ["@quill.example", "4539 1488 034", "+1 212-555-01", "536-22-8", "5001 0517 5407 32"];

impl Caller {
    fn new(n: usize) -> Self {
        let card = with_luhn(&format!("4539148803400{n:02}"));
        let groups =
            |text: &str| text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        let values = [
            format!("z{n}@quill.example"),
            groups(&card),
            format!("+1 212-555-01{n:02}"),
            format!("536-22-8{:03}", n + 100),
            groups(&iban(&format!("500105175407320{n:03}"))),
        ];
        Self { values }
    }

    fn text(&self, words: &str) -> String {
        let [email, card, phone, ssn, iban] = &self.values;
        format!("{words} I am {email}, SSN {ssn}, phone {phone}, paying {card} or by {iban}.")
    }
}

fn with_luhn(body: &str) -> String {
    let digits = body.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
    let sum: u32 = digits.map(|(at, d)| if at % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn iban(account: &str) -> String {
    // D and E are 13 and 14.
    let rest =
        format!("{account}131400").bytes().fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}

/// Everybody asks at once; the texts of their answers must be those that `expected` says.
async fn all_at_once(client: &Client, words: impl Fn(usize) -> String) {
    let callers: Vec<Caller> = (0..CALLERS).map(Caller::new).collect();
    let mut asked = JoinSet::new();
    for (n, caller) in callers.iter().enumerate() {
        let (client, text) = (client.clone(), caller.text(&words(n)));
        asked.spawn(async move {
            let reply = client.chat(&streamed(question(&text), n % 2 == 0)).await;
            (n, text, reply)
        });
    }
    while let Some(answered) = asked.join_next().await {
        let (n, text, reply) = answered.unwrap();
        assert_eq!((reply.status, reply.is_stream()), (200, n % 2 == 0), "{:?}", reply.body);
        assert_eq!(reply.text(), format!("You said: {text}"));
        let seen = String::from_utf8_lossy(&reply.body).into_owned() + &format!("{:?}", reply.headers);
        for other in callers.iter().enumerate().filter(|(other, _)| *other != n).flat_map(|(_, c)| &c.values)
        {
            assert!(!seen.contains(other.as_str()), "caller {n} sees {other}");
        }
    }
}

fn assert_nothing_left(gate: &Gate) {
    let received = gate.received();
    for mark in MARKS {
        assert!(!holds(&received, mark), "{mark} was sent");
    }
}

const SLOW: &str = "reply: {latency: 30ms, chunk_chars: 5, chunk_delay: 1ms}";

#[tokio::test]
async fn a_hundred_callers_at_once_see_their_own_values_and_nobody_elses() {
    let gate = Gate::with("");
    gate.primary.script(script(SLOW));
    let alone = gate.client.with("x-sluice-cache", "off");
    all_at_once(&alone, |n| format!("Question {n} of many.")).await;
    assert_eq!(gate.primary.count(), CALLERS, "everybody has asked for themselves");
    assert_nothing_left(&gate);
}

#[tokio::test]
async fn a_hundred_callers_who_share_answers_see_their_own_values_in_them() {
    let gate = Gate::with("");
    gate.primary.script(script(SLOW));
    all_at_once(&gate.client, |_| "Is this in order?".to_owned()).await;
    assert!(gate.primary.count() < CALLERS / 2, "{} calls: answers were shared", gate.primary.count());
    assert_nothing_left(&gate);
}
