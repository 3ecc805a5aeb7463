//! Sockets: accept, spread over the I/O threads, drain at the end.
//!
//! One current-thread runtime per core answers requests; a multi-thread runtime on few cores costs milliseconds at the
//! tail (`benches/runs` holds the measurement). One background runtime accepts and serves the admin address and that for Presidio's clients.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::body::Body;
use crate::endpoints;
use crate::gateway::{Core, Gateway};
use crate::policy::Reload;
use crate::presidio;
use crate::upstream::Upstream;

/// About the largest head of a request; hyper's default of 400 KiB is more than any client needs.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Longest that stopping waits for what is done beside requests.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// A gateway at work. Dropping it stops it without waiting for answers under way.
pub struct Server {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Where Presidio's clients connect, unless that is off.
    pub presidio: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    background: Option<Runtime>,
    gateway: Arc<Gateway>,
}

impl Server {
    /// Binds the addresses, also that for Presidio's clients if there is one (port 0 takes a free one) and starts to serve.
    ///
    /// # Errors
    /// What the system says about the addresses or threads; the address is part of the message.
    pub fn start(gateway: Arc<Gateway>, listen: SocketAddr, admin: SocketAddr) -> io::Result<Self> {
        let clients = bind(listen)?;
        let operators = bind(admin)?;
        let others = gateway.presidio.as_ref().map(|presidio| bind(presidio.listen)).transpose()?;
        let (address, admin) = (clients.local_addr()?, operators.local_addr()?);
        let (stop, stopped) = watch::channel(false);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = gateway.limits.threads.unwrap_or(cores).max(1);
        let (mut threads, mut queues) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (queue, connections) = mpsc::unbounded_channel();
            let (gateway, stopped) = (Arc::clone(&gateway), stopped.clone());
            let run = move || runtime.block_on(io_thread(gateway, connections, stopped));
            threads.push(thread::Builder::new().name(format!("sluice-io-{number}")).spawn(run)?);
            queues.push(queue);
        }
        let background = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sluice-background")
            .enable_all()
            .build()?;
        background.spawn(accept(clients, queues, stopped.clone()));
        background.spawn(housekeeping(Arc::clone(&gateway)));
        background.spawn(watch_policy(Arc::clone(&gateway)));
        let presidio = others.as_ref().map(StdListener::local_addr).transpose()?;
        if let (Some(listener), Some(address)) = (others, presidio) {
            let public = !address.ip().is_loopback();
            let answer = move |gateway, request| presidio::handle(gateway, public, request);
            background.spawn(serve_aside(listener, Arc::clone(&gateway), answer, stopped.clone()));
        }
        let public = !admin.ip().is_loopback();
        let answer = move |gateway, request| endpoints::handle_admin(gateway, public, request);
        background.spawn(serve_aside(operators, Arc::clone(&gateway), answer, stopped));
        Ok(Self { address, admin, presidio, stop, threads, background: Some(background), gateway })
    }

    /// Stops accepting and waits until the answers under way are sent, at most for `timeouts.shutdown`, and what the cache
    /// remembers is on disk.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
        // The tasks beside them hold the gateway, too, and so the files it has locked: whoever starts another one next finds
        // these free. What they do takes milliseconds.
        if let Some(background) = self.background.take() {
            background.shutdown_timeout(LAST_TASKS);
        }
        // No task is left now that could still have something to write.
        self.gateway.flush();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)
        .map_err(|e| io::Error::new(e.kind(), format!("can't listen on {address}: {e}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Hands connections to the I/O threads in turn: the kernel's own spreading is uneven for few connections.
async fn accept(
    listener: StdListener,
    queues: Vec<mpsc::UnboundedSender<StdStream>>,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = next_connection(&listener) => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Ok(stream) = accepted.into_std() {
            // A closed queue means that we are stopping.
            drop(queues[turn % queues.len()].send(stream));
            turn = turn.wrapping_add(1);
        }
    }
}

async fn next_connection(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                // Most often too many open files: accepting again at once would only spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn io_thread(
    gateway: Arc<Gateway>,
    mut connections: mpsc::UnboundedReceiver<StdStream>,
    mut stopped: watch::Receiver<bool>,
) {
    let upstream = Upstream::over(&gateway.network);
    let core = Arc::new(Core { gateway, upstream });
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            biased;
            // What was accepted is answered, also when it is time to stop.
            stream = connections.recv() => stream,
            _ = stopped.wait_for(|stop| *stop) => connections.try_recv().ok(),
        };
        let Some(stream) = stream else { break };
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let service = {
            let core = Arc::clone(&core);
            // Boxed, since hyper keeps the room for it as long as the connection stands, also while an answer streams.
            service_fn(move |request: Request<Incoming>| {
                Box::pin(endpoints::handle(Arc::clone(&core), request))
            })
        };
        let connection =
            http_server(core.gateway.timeouts.client.0).serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    let grace = core.gateway.timeouts.shutdown.0;
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("answers were still under way when timeouts.shutdown ran out; they are cut");
    }
}

/// Reads the policy file again when it changes, and when the process is told to.
async fn watch_policy(gateway: Arc<Gateway>) {
    let Some(file) = gateway.policy.file().map(|file| file.display().to_string()) else { return };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut hangup = Hangup::listen();
    loop {
        let anyway = tokio::select! {
            _ = tick.tick() => false,
            () = hangup.next() => true,
        };
        let reader = Arc::clone(&gateway);
        let read = move || reader.policy.reload(anyway, Some(reader.names()), &crate::commands::env);
        match tokio::task::spawn_blocking(read).await {
            Ok(Reload::New(name)) => {
                gateway.metrics.policy_reloaded(Some(&name));
                tracing::info!(file, sha256 = name, "the policy file was read again and is in force");
                gateway.policy.notes().tell();
            }
            Ok(Reload::Wrong(problem)) => {
                gateway.metrics.policy_reloaded(None);
                tracing::error!(problem, "the policy file is wrong: the last right one stays in force");
            }
            // A panic there is logged by the hook; the next tick tries again.
            Ok(Reload::Same) | Err(_) => {}
        }
    }
}

/// SIGHUP, where there is one.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn listen() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// What the cache puts off while it answers, it does here: dropping what expired.
async fn housekeeping(gateway: Arc<Gateway>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        let gateway = Arc::clone(&gateway);
        let run = move || gateway.memory.iter().for_each(|memory| memory.cache().run_pending());
        // A panic there is logged by the hook; the next tick tries again.
        drop(tokio::task::spawn_blocking(run).await);
    }
}

fn http_server(client_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // A client that has sent everything and closed its side still gets its answer. The price: until something is written,
    // one that left looks the same. Its answer is remembered then, for when it asks again.
    builder
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(client_timeout)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
}

/// Serves an address on the background runtime, with `answer` for each request.
async fn serve_aside<F>(
    listener: StdListener,
    gateway: Arc<Gateway>,
    answer: impl Fn(Arc<Gateway>, Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    mut stopped: watch::Receiver<bool>,
) where
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let stream = tokio::select! {
            stream = next_connection(&listener) => stream,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| answer(Arc::clone(&gateway), request));
            let served =
                http_server(gateway.timeouts.client.0).serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

/// Completes when the process is asked to end: Ctrl-C, or SIGTERM where there is one.
///
/// # Errors
/// What the system says about installing the handlers.
pub async fn end_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
