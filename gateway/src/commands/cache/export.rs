//! `sluice cache export`: a gateway's answers to a file, which is there when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::admin::{Admin, Refused};
use crate::admin::LEFT_OUT;

const PATH: &str = "/admin/v1/cache/export";

/// A file under way. Dropped before it is done, it is removed.
struct Partial {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

/// Exports into the file; the text says how it went.
pub(super) async fn export(file: &Path, admin: &Admin) -> Result<String, String> {
    let response = admin.open(Method::GET, PATH, Bytes::new()).await.map_err(|refused| match refused {
        Refused::TooLarge => "the gateway refused an empty body".to_owned(),
        Refused::Otherwise(problem) => problem,
    })?;
    let left_out = response.headers().get(LEFT_OUT).and_then(|value| value.to_str().ok()?.parse().ok());
    let left_out: u64 = left_out.unwrap_or(0);
    let lines = write(file, response.into_body()).await.map_err(|e| format!("{}: {e}", file.display()))?;
    let mut text = format!("{}: {lines} exported, {left_out} left out\n", file.display());
    if left_out > 0 {
        text.push_str(
            "Of those left out the requests were not kept: cache.keep_prompts was off, or they were long or had several choices.\n",
        );
    }
    Ok(text)
}

/// Writes the body, and says how many lines it has.
async fn write(path: &Path, mut body: Incoming) -> Result<usize, String> {
    let mut partial = Partial::create(path).map_err(|e| e.to_string())?;
    let mut lines = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the export broke off; nothing was written".to_owned())?;
        let Ok(bytes) = frame.into_data() else { continue };
        lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        partial.write(&bytes).map_err(|e| e.to_string())?;
    }
    partial.finish(path).map_err(|e| e.to_string())?;
    Ok(lines)
}

impl Partial {
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // It holds what people asked.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = Some(BufWriter::new(options.open(&path)?));
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn finish(mut self, path: &Path) -> std::io::Result<()> {
        if let Some(file) = self.file.take() {
            file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        }
        fs::rename(&self.path, path)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename there is none.
        drop(fs::remove_file(&self.path));
    }
}
