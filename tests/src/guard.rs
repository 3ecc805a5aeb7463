//! A guard of somebody else: records what it is asked, and answers what a test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, watch};

/// What it answers.
#[derive(Clone)]
pub enum Say {
    /// This JSON.
    Json(Value),
    /// This status with these headers and body.
    Status(u16, &'static [(&'static str, &'static str)], String),
    /// Nothing, while the connection stays open.
    Hang,
    /// This JSON as soon as everybody else at the barrier has been asked, too.
    Together(Arc<Barrier>, Value),
}

/// What it was asked.
#[derive(Clone)]
pub struct Heard {
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// The method.
    pub method: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Heard {
    /// The body, if it is JSON.
    fn said(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a guard is asked in JSON")
    }
}

type Answers = Box<dyn Fn(&Heard) -> Say + Send + Sync>;

struct State {
    answers: Mutex<Answers>,
    heard: Mutex<Vec<Heard>>,
    count: watch::Sender<usize>,
}

/// A guard on a free port; it lives as long as the test's runtime.
pub struct Guard {
    address: SocketAddr,
    state: Arc<State>,
}

impl Guard {
    /// Starts one that answers each question by this.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn start(answers: impl Fn(&Value) -> Say + Send + Sync + 'static) -> Self {
        Self::hearing(move |heard| answers(&heard.said())).await
    }

    /// Starts one that answers by all that it hears.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn hearing(answers: impl Fn(&Heard) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a guard");
        let address = listener.local_addr().expect("a bound address");
        let (answers, heard) = (Mutex::new(Box::new(answers) as Answers), Mutex::default());
        let state = Arc::new(State { answers, heard, count: watch::Sender::new(0) });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    // Who asks may leave at any time.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, state }
    }

    /// Starts one that answers always the same.
    pub async fn saying(say: Say) -> Self {
        Self::start(move |_| say.clone()).await
    }

    /// From now on it answers by this.
    pub fn answer_by(&self, answers: impl Fn(&Value) -> Say + Send + Sync + 'static) {
        *self.state.answers.lock().unwrap_or_else(PoisonError::into_inner) =
            Box::new(move |heard: &Heard| answers(&heard.said()));
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/guard", self.address)
    }

    /// What it was asked so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was asked so far.
    pub fn count(&self) -> usize {
        *self.state.count.borrow()
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
    let heard = Heard { path, query, method: head.method, headers: head.headers, body };
    state.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard.clone());
    let say = state.answers.lock().unwrap_or_else(PoisonError::into_inner)(&heard);
    state.count.send_modify(|count| *count += 1);
    let (status, headers, text) = match say {
        Say::Json(value) => (200, &[][..], value.to_string()),
        Say::Status(status, headers, text) => (status, headers, text),
        Say::Hang => std::future::pending().await,
        Say::Together(barrier, value) => {
            barrier.wait().await;
            (200, &[][..], value.to_string())
        }
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(Full::new(Bytes::from(text))).expect("an answer that can be written"))
}
