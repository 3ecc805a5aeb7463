//! The SDKs that the tests run: installed once, beside the build's output, in the versions that `sdk/` pins.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NEEDS_VENV: &str = "the tests with the providers' SDKs need Python 3.10 or newer with virtual environments: on Debian and Ubuntu install \
     the package python3-venv (apt-get install python3-venv)";
const NEEDS_NODE: &str = "the test with OpenAI's Node SDK needs Node 18 or newer with npm: on Debian and Ubuntu install \
     the packages nodejs and npm (apt-get install nodejs npm)";

/// Where the scripts stand.
pub(crate) fn sdk_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk")
}

/// The Python of a virtual environment that holds the SDKs, made where there is none yet. Another list of requirements
/// or another Python has an environment of its own.
///
/// # Errors
/// What the machine lacks.
pub(crate) fn python() -> Result<PathBuf, String> {
    let requirements = sdk_folder().join("requirements.txt");
    let folder = made_once("venv", &[read(&requirements)?, python_with_venv()?], |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
            .map_err(|problem| format!("{NEEDS_VENV}\n{problem}"))?;
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements))
        .map_err(|problem| format!("the SDKs can't be installed (is there a network?)\n{problem}"))
    })?;
    Ok(folder.join("bin/python"))
}

/// The folder in which Node finds its SDK; another lock file has a folder of its own.
///
/// # Errors
/// What the machine lacks.
pub(crate) fn node_packages() -> Result<PathBuf, String> {
    let files = ["package.json", "package-lock.json"];
    let needs = |problem| format!("{NEEDS_NODE}\n{problem}");
    let version = run(Command::new("node").arg("--version")).map_err(needs)?;
    made_once("node", &[read(&sdk_folder().join(files[1]))?, version], |folder| {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for file in files {
            let from = sdk_folder().join(file);
            fs::copy(&from, folder.join(file)).map_err(|e| format!("{}: {e}", from.display()))?;
        }
        let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        run(Command::new("npm").args(install).current_dir(folder)).map_err(needs)
    })
}

/// A folder that is made by the first who needs it; the rest wait. What it depends on is in its name.
fn made_once(
    kind: &str,
    depends_on: &[String],
    make: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    depends_on.hash(&mut hasher);
    let name = format!("sdk-{kind}-{:016x}", hasher.finish());
    // Cargo's folder for the files of tests stands in its output folder.
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder has a parent");
    let folder = output.join(&name);
    let complete = folder.join("complete");
    let lock_path = output.join(format!("{name}.lock"));
    let lock = fs::create_dir_all(output).and_then(|()| File::create(&lock_path));
    let lock = lock.map_err(|e| format!("{}: {e}", lock_path.display()))?;
    // Let go when the file is closed: by then the folder is complete, whoever made it.
    lock.lock().map_err(|e| format!("{}: {e}", lock_path.display()))?;
    if !complete.exists() {
        make(&folder)?;
        File::create(&complete).map_err(|e| format!("{}: {e}", complete.display()))?;
    }
    Ok(folder)
}

/// What names the Python that is to make the environment, if it can.
fn python_with_venv() -> Result<String, String> {
    let program =
        "import sys, venv, ensurepip; assert sys.version_info >= (3, 10); print(sys.version, sys.executable)";
    run(Command::new("python3").args(["-c", program])).map_err(|problem| format!("{NEEDS_VENV}\n{problem}"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs a command to its end and gives what it printed, or what it complained about.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|e| format!("{name} does not start: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(format!("{name}: {status}\n{}", text(&stderr))) }
}
