//! A Qdrant server for tests and benches, in this process: it speaks the real protocol over a real socket, keeps points in a
//! map and searches by comparing all of them. What of the protocol Sluice does not use, it answers with "unimplemented".
//!
//! It can be told to be slow, to answer with errors and to go away, and comes back with what it had.

#![forbid(unsafe_code)]

mod filter;
mod service;
mod table;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use table::Tables;

/// What goes wrong with every call.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It takes this long.
    Slow(Duration),
    /// It fails.
    Error,
}

/// What a server knows, running or not.
struct State {
    tables: Mutex<Tables>,
    fault: watch::Sender<Fault>,
    /// The key that callers have to have.
    api_key: Option<String>,
    version: String,
    calls: AtomicU64,
}

/// A server on a port of its own of the loopback interface. It ends with this.
pub struct StandIn {
    state: Arc<State>,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl StandIn {
    /// A server without a collection.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn start() -> Self {
        Self::with(None, "1.18.0")
    }

    /// The same that wants a key of its callers, and says that it is of this version.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn with(api_key: Option<&str>, version: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            tables: Mutex::default(),
            fault: watch::Sender::new(Fault::None),
            api_key: api_key.map(str::to_owned),
            version: version.to_owned(),
            calls: AtomicU64::new(0),
        });
        let running = Some(serve(Arc::clone(&state), listener));
        Self { state, address, running }
    }

    /// Its address, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this goes wrong, also with calls that wait already.
    pub fn script(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
    }

    /// Goes away: connections break, new ones are refused.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Comes back, with what it had.
    ///
    /// # Panics
    /// If its port was taken meanwhile.
    pub fn resume(&mut self) {
        if self.running.is_none() {
            let listener = TcpListener::bind(self.address).expect("the port is free again");
            self.running = Some(serve(Arc::clone(&self.state), listener));
        }
    }

    /// How many points a collection has whose payload has this text in this field.
    pub fn count(&self, collection: &str, field: &str, value: &str) -> usize {
        lock(&self.state.tables).get(collection).map_or(0, |table| table.count(field, value))
    }

    /// Everything that is stored, in letters: to look for what must not be there.
    pub fn dump(&self) -> String {
        format!("{:?}", lock(&self.state.tables))
    }

    /// Calls that came so far.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(state: Arc<State>, listener: TcpListener) -> Running {
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            listener.set_nonblocking(true).expect("a listener that does not block");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of the runtime");
            tokio::select! {
                _ = service::run(state, listener) => {}
                _ = stopped => {}
            }
        });
        // With the runtime all connections go.
    });
    Running { stop: Some(stop), thread: Some(thread) }
}
