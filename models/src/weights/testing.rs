//! For the tests of pulling: tiny models, hubs that answer or hang, and a stand-in for Python.

use crate::pooling::Pooling;
use crate::registry::{FileSpec, ModelSpec, PackageSpec, Source};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder which goes when the test does.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The names in a folder, sorted, without the lock.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

/// A model of these files. Specifications are made for good, so a test's live as long as the test program.
pub(crate) fn model(files: &[(&'static str, &[u8])], package: Option<PackageSpec>) -> &'static ModelSpec {
    let files: Vec<FileSpec> = files
        .iter()
        .map(|(name, content)| {
            let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            FileSpec { name, sha256: Some(hash.into()), bytes: Some(content.len() as u64) }
        })
        .collect();
    Box::leak(Box::new(ModelSpec {
        name: "tiny".into(),
        aliases: &[],
        source: Source::Hub { repository: "someone/tiny", revision: "main", package },
        files: Cow::Owned(files),
        dimensions: 4,
        max_tokens: 8,
        pooling: Pooling::Mean,
        prefix: "".into(),
    }))
}

/// The same model when nobody knows what its files hash to.
pub(crate) fn of_unknown_hashes(known: &ModelSpec) -> ModelSpec {
    let mut spec = known.clone();
    for file in spec.files.to_mut() {
        (file.sha256, file.bytes) = (None, None);
    }
    spec
}

/// What the file is known to hash to.
pub(crate) fn sha256(file: &FileSpec) -> &str {
    file.sha256.as_deref().unwrap()
}

/// A model of one file, `weights.bin`.
pub(crate) fn one_file_model(content: &[u8], package: Option<PackageSpec>) -> &'static ModelSpec {
    model(&[("weights.bin", content)], package)
}

/// A hub on this machine. It serves `files` by path, counts requests, and lives as long as the test program.
pub(crate) struct FakeHub {
    pub(crate) base: String,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl FakeHub {
    pub(crate) fn serve(files: Vec<(String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                answer(stream, &files);
            }
        });
        Self { base, requests }
    }

    /// A hub for a model's files.
    pub(crate) fn of(spec: &ModelSpec, contents: &[(&str, &[u8])]) -> Self {
        let path = |name: &str| format!("/{}/resolve/main/{name}", spec.repository().unwrap());
        Self::serve(contents.iter().map(|(name, content)| (path(name), content.to_vec())).collect())
    }

    /// A hub which sends `beginning` to whoever connects, and then nothing more, for ever.
    pub(crate) fn hanging(beginning: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut kept_open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                stream.write_all(beginning).unwrap();
                kept_open.push(stream);
            }
        });
        Self { base, requests }
    }

    /// A hub which sends `beginning` to whoever asks, and hangs up.
    pub(crate) fn breaking_off(beginning: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                // Closing a socket with unread input would reset it and might take away what was sent.
                let asked =
                    BufReader::new(&stream).lines().take_while(|line| !line.as_ref().unwrap().is_empty());
                assert!(asked.count() > 0);
                stream.write_all(beginning).unwrap();
            }
        });
        Self { base, requests }
    }

    /// An address nobody listens at.
    pub(crate) fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }
}

fn answer(mut stream: TcpStream, files: &[(String, Vec<u8>)]) {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    drop(lines);
    let path = request.split(' ').nth(1).unwrap();
    let (status, body) = match files.iter().find(|(known, _)| known == path) {
        Some((_, content)) => ("200 OK", content.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
        .unwrap();
    stream.write_all(body).unwrap();
}

/// The package the tests' model is in.
pub(crate) const PACKAGE: PackageSpec =
    PackageSpec { name: "tiny-model", version: "1.2.3", prefix: "tiny_model/model/" };

/// A wheel of [`PACKAGE`] with these files.
pub(crate) fn wheel(path: &Path, contents: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, content) in contents {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{}{name}", PACKAGE.prefix), options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

/// A script that stands in for Python. The file is put in place by another process: were it open for writing in
/// this one, a child started by another test at that moment would inherit it, and running it would fail.
#[cfg(unix)]
pub(crate) fn fake_python(dir: &Path, script: &str) -> String {
    let (source, target) = (dir.join("script"), dir.join("python"));
    std::fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mut install = std::process::Command::new("install");
    assert!(install.args(["-m", "755"]).arg(&source).arg(&target).status().unwrap().success());
    target.to_str().unwrap().to_owned()
}
