//! The `sluice` command.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sluice::commands::{audit, bench, cache, config, demo, eval, mock, model, routes, scan, serve, tune};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sluice: the one door in front of all model providers. It redacts what must not leave, answers from a semantic cache
/// what was answered before, and only then asks a provider, with fallback.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the gateway.
    Serve(serve::ServeArgs),
    /// Show the main job on a thousand customer questions, without key or network.
    Demo(demo::DemoArgs),
    /// Run the scripted provider by itself.
    Mock(mock::MockArgs),
    /// Check a configuration, or print its schema.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Say who would be asked about a request, and why.
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Local embedding models: fetch, list and measure them.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Measure what this machine does.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Warm a running gateway's cache up, or move its answers to another one.
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Look at the log of what the guards decided.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Try out policies on labelled traffic.
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Find personal data and secrets in files or standard input.
    Scan(scan::ScanArgs),
    /// Sweep policies over labelled traffic or a shadow log and write a report.
    Tune(tune::TuneArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    sluice::telemetry::init_logging(match cli.command {
        // Its table is the log; only what concerns the weights is said beside it.
        Command::Demo(_)
        | Command::Bench(_)
        | Command::Eval(_)
        | Command::Tune(_)
        | Command::Cache(_)
        | Command::Audit(_)
        | Command::Routes(_)
        | Command::Scan(_) => "error,sluice_models=warn",
        _ => "info",
    });
    sluice::telemetry::hide_panic_messages();
    // The one TLS provider of the process. A second installation is the only way to fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    let done = match &cli.command {
        Command::Serve(args) => serve::run(args).map(|()| String::new()),
        Command::Demo(args) => demo::run(args),
        Command::Mock(args) => mock::run(args).map(|()| String::new()),
        Command::Config(command) => config::run(command),
        Command::Routes(command) => routes::run(command),
        Command::Model(command) => model::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Cache(command) => cache::run(command, &mut std::io::stderr()),
        Command::Audit(command) => audit::run(command, &mut std::io::BufWriter::new(std::io::stdout())),
        Command::Eval(command) => eval::run(command),
        Command::Scan(args) => {
            let mut out = std::io::BufWriter::new(std::io::stdout());
            let done = scan::run(args, &mut out);
            drop(out.flush());
            done.map(|summary| {
                drop(std::io::stderr().write_all(summary.as_bytes()));
                String::new()
            })
        }
        Command::Tune(args) => tune::run(args),
    };
    match done {
        Ok(text) => {
            // Nobody reading is no reason to fail.
            drop(std::io::stdout().write_all(text.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            drop(writeln!(std::io::stderr(), "error: {problem}"));
            ExitCode::FAILURE
        }
    }
}
