//! What operators see: log lines and metrics. Neither ever holds content.

pub mod metrics;
mod targets;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Writes log lines to standard error: for people on a terminal, as JSON otherwise. `SLUICE_LOG` filters them, in the
/// syntax of `tracing`'s `EnvFilter`; without it `default` does.
pub fn init_logging(default: &str) {
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if std::io::stderr().is_terminal() {
        builder.with_target(false).compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // Somebody else, a test's harness for example, may have been first.
    drop(installed);
}

/// Makes panics say where they happened and nothing else: their messages may quote what was being worked on.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(place, thread, "a bug: the code panicked");
    }));
}
