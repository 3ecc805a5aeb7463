//! What the program itself promises, as a process that is started: its arguments, streams, exit codes and signals.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test, too")]

// SIGHUP puts a policy file into force.
#[cfg(unix)]
mod hangup;
// `sluice scan` reads files and standard input.
mod scan;

use std::process::Command;

/// The program, built from these sources.
fn sluice(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(words).env_remove("SLUICE_LOG");
    command
}
