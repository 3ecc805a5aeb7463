//! A streamed answer on its way to one client.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::account::Account;
use super::live::{End, Reader, Step};
use crate::body::Part;
use crate::client_api::AnswerEncoder;
use crate::relay::Relay;
use crate::route::answer::Broken;
use crate::wire::chat::Chunk;

/// Silence in a stream after which a comment is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// One client of a stream.
pub(super) struct StreamOut {
    /// Puts the client's own values back.
    pub(super) relay: Relay,
    /// Closed on every way out.
    pub(super) account: Account,
    /// Writes the events.
    pub(super) encoder: Box<dyn AnswerEncoder>,
    /// Where they go.
    pub(super) parts: mpsc::Sender<Part>,
    /// How long a client may take nothing.
    pub(super) patience: Duration,
    /// Id and time of the answer, where they are not the provider's.
    pub(super) own: Option<(String, u64)>,
}

impl StreamOut {
    /// Relays the stream. A client that is gone, or takes nothing for as long as `patience`, ends it for itself.
    pub(super) async fn run(mut self, mut reader: Reader) {
        loop {
            let Some(step) = self.next_or_gone(&mut reader).await else {
                return self.left(reader).await;
            };
            let event = match step {
                Step::Chunk(chunk) => self.relayed(chunk),
                Step::End(End::Complete(settled)) => {
                    self.account.settled(&settled);
                    drop(reader);
                    return self.finish().await;
                }
                Step::End(End::Broken(broken, paid)) => {
                    self.account.paid(&paid);
                    return self.fail(broken).await;
                }
            };
            if let Some(event) = event
                && !send(&self.parts, event, self.patience).await
            {
                return self.left(reader).await;
            }
        }
    }

    /// The client left. Who pays for the answer says what came of it, when that is known.
    async fn left(mut self, reader: Reader) {
        self.account.left();
        if self.account.pays() {
            match reader.leave().await {
                End::Complete(settled) => self.account.settled(&settled),
                End::Broken(_, paid) => self.account.paid(&paid),
            }
        }
        self.account.close("client_gone");
    }

    fn relayed(&mut self, mut chunk: Chunk) -> Option<Bytes> {
        if let Some((id, created)) = &self.own {
            chunk.id.clone_from(id);
            chunk.created = *created;
        }
        self.encoder.push(self.relay.push(chunk))
    }

    /// The answer was remembered before the client sees its end, so that its next request finds it.
    async fn finish(mut self) {
        self.account.close("complete");
        let mut end =
            self.relay.finish().and_then(|rest| self.encoder.push(rest)).unwrap_or_default().to_vec();
        end.extend(self.encoder.finish());
        if send(&self.parts, Bytes::from(end), self.patience).await {
            drop(self.parts.send(Part::End).await);
        }
    }

    async fn fail(self, broken: Broken) {
        self.account.close("broken");
        let event = self.encoder.fail(&broken.into());
        if send(&self.parts, event, self.patience).await {
            drop(self.parts.send(Part::End).await);
        }
    }

    /// The next step; none if the client went away meanwhile. Silence is filled with comments, so that nothing on the way
    /// takes the connection for dead, and so that we see when the client left.
    async fn next_or_gone(&self, reader: &mut Reader) -> Option<Step> {
        loop {
            tokio::select! {
                step = reader.next() => return Some(step),
                () = self.parts.closed() => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    // Full means that the client is reading, only slowly.
                    drop(self.parts.try_send(Part::Bytes(Bytes::from_static(self.encoder.keep_alive()))));
                }
            }
        }
    }
}

/// False if the client went away, or takes nothing for too long.
async fn send(parts: &mpsc::Sender<Part>, bytes: Bytes, patience: Duration) -> bool {
    parts.send_timeout(Part::Bytes(bytes), patience).await.is_ok()
}
