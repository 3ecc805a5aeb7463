//! `sluice audit verify|export`: is the audit log whole, and what is in it.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::audit::export::{self, Format, Selection};
use crate::audit::verify;

/// What can be done with an audit log.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Follows the chain of hashes through the files and names the first line that was changed, removed, moved or put in. Lines
    /// cut off at the end, a changed last line, and a chain computed anew by somebody who can write the file show only against
    /// a hash that was noted before (--head); the gateway's own log notes one when it opens and closes the file.
    Verify(VerifyArgs),
    /// Writes events to standard output.
    Export(ExportArgs),
}

/// Which files.
#[derive(Args)]
pub struct VerifyArgs {
    /// The files of one chain, in any order.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The hash of a line, noted before: it has to be in the chain.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

/// Which events, and how.
#[derive(Args)]
pub struct ExportArgs {
    /// The files, in the order in which they are written out.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Not before this day or time in UTC, such as 2026-03-01 or 2026-03-01T10:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = export::time)]
    from: Option<String>,
    /// Before this day or time in UTC.
    #[arg(long, value_name = "TIME", value_parser = export::time)]
    to: Option<String>,
    /// Of this tenant alone.
    #[arg(long)]
    tenant: Option<String>,
    /// Of this entity alone, such as CREDIT_CARD.
    #[arg(long)]
    entity: Option<String>,
    /// How they are written.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: FormatName,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    /// JSON lines, as in the log.
    Jsonl,
    /// A table with a first line of names.
    Csv,
}

/// Runs it; events go to `out`, the text is for standard output behind them.
///
/// # Errors
/// The first line that does not follow, or what is wrong with a file.
pub fn run(command: &AuditCommand, out: &mut dyn Write) -> Result<String, String> {
    match command {
        AuditCommand::Verify(args) => {
            let verified = verify::verify(&args.files, args.head.as_deref())?;
            let mut text = format!(
                "good: {} lines of chain {}, the last is number {} with hash {}\n",
                verified.lines, verified.chain, verified.last, verified.head
            );
            if verified.first_file > 1 {
                text += &format!("the files before number {} were not looked at\n", verified.first_file);
            }
            if verified.gaps > 0 {
                text += &format!("the gateway itself says that {} events were lost\n", verified.gaps);
            }
            text += &match verified.behind_known {
                Some(behind) => format!("{behind} lines follow the one with the hash that was noted\n"),
                None => "whether lines were cut off at the end, or the last one changed, shows only against a hash that was noted (--head)\n"
                    .to_owned(),
            };
            Ok(text)
        }
        AuditCommand::Export(args) => {
            let wanted = Selection {
                from: args.from.clone(),
                to: args.to.clone(),
                tenant: args.tenant.clone(),
                entity: args.entity.clone(),
            };
            let format = match args.format {
                FormatName::Jsonl => Format::Jsonl,
                FormatName::Csv => Format::Csv,
            };
            export::export(&args.files, &wanted, format, out).map(|_| String::new())
        }
    }
}
