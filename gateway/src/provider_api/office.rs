//! For tests: a local server that gives out tokens and credentials, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::ring;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::upstream::Upstream;

/// The connections with which it is asked.
pub(super) fn upstream() -> Upstream {
    drop(ring::default_provider().install_default());
    Upstream::new(Duration::from_secs(5))
}

/// Who gives out tokens: answers each question with the next of these, the last one again and again.
pub(super) struct Office {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    pub(super) gate: Arc<Notify>,
}

impl Office {
    /// `held`: an answer waits until it is let go.
    pub(super) async fn open(answers: Vec<(u16, Value)>, held: bool) -> Self {
        Self::saying(answers.into_iter().map(|(status, body)| (status, body.to_string())).collect(), held)
            .await
    }

    /// The same with answers that are no JSON.
    pub(super) async fn saying(answers: Vec<(u16, String)>, held: bool) -> Self {
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
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            }
        });
        Self { address, asked, count, gate }
    }

    pub(super) async fn asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }

    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    pub(super) fn question(&self, number: usize) -> String {
        self.asked.lock().unwrap()[number].clone()
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}
