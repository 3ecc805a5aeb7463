//! A Bedrock of the tests' own: checks each request's signature by computing it anew, and answers what a test says, in JSON or in
//! frames. Nothing here uses the crates that the gateway signs and reads frames with.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it answers.
pub enum Answer {
    /// This status and JSON.
    Json(u16, Value),
    /// This status and message, named as AWS names errors.
    Error(u16, &'static str, &'static str),
    /// These bytes as a stream, and then the end of the body.
    Stream(Vec<u8>),
}

/// A request that was signed as it should be.
#[derive(Clone)]
pub struct Asked {
    /// The path as it was sent.
    pub path: String,
    /// The body.
    pub body: Value,
    /// `Authorization`.
    pub authorization: String,
}

/// By what a request shows that it may ask.
#[derive(Clone)]
pub enum Shown {
    /// A signature by this key for this region.
    Signature {
        /// The id of the key.
        id: String,
        /// Its secret.
        secret: String,
        /// What is sent beside a temporary key.
        token: Option<String>,
        /// For which region.
        region: &'static str,
    },
    /// This bearer key.
    Bearer(String),
}

type Answers = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// A Bedrock on a free port; it lives as long as the test's runtime.
pub struct Bedrock {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Bedrock {
    /// Starts one that answers requests which show this.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn start(shown: Shown, answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a Bedrock");
        let address = listener.local_addr().expect("a bound address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answers) = (Arc::clone(&asked), Arc::new(Box::new(answers) as Answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shown, kept, answers) = (shown.clone(), Arc::clone(&kept), Arc::clone(&answers));
                // An error here is the gateway's to notice.
                tokio::spawn(async move { drop(serve(stream, &shown, &kept, &answers).await) });
            }
        });
        Self { address, asked }
    }

    /// Its base URL for a provider's configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far that were signed as they should be.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> std::io::Result<Self> {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            match stream.read(&mut part).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => bytes.extend_from_slice(&part[..read]),
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut request = Self { method, path, headers, body: bytes.split_off(head + 4) };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while request.body.len() < length {
            let read = stream.read(&mut part).await?;
            request.body.extend_from_slice(&part[..read]);
        }
        Ok(request)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// Why it may not ask; none if it may.
    fn refusal(&self, shown: &Shown) -> Option<&'static str> {
        match shown {
            Shown::Bearer(key) => (self.header("authorization") != format!("Bearer {key}")).then_some("key"),
            Shown::Signature { id, secret, token, region } => {
                if self.header("x-amz-security-token") != token.as_deref().unwrap_or_default() {
                    return Some("token");
                }
                let date = self.header("x-amz-date");
                let scope = format!("{}/{region}/bedrock/aws4_request", date.get(..8)?);
                let signed = if token.is_some() {
                    "accept;content-type;host;x-amz-date;x-amz-security-token"
                } else {
                    "accept;content-type;host;x-amz-date"
                };
                let signature = self.signature(secret, date, &scope, signed);
                let expected = format!(
                    "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
                );
                (self.header("authorization") != expected).then_some("signature")
            }
        }
    }

    fn signature(&self, secret: &str, date: &str, scope: &str, signed: &str) -> String {
        let segments = self.path.split('/').map(again);
        let path = segments.collect::<Vec<_>>().join("/");
        let headers: String =
            signed.split(';').map(|name| format!("{name}:{}\n", self.header(name))).collect();
        let canonical =
            format!("{}\n{path}\n\n{headers}\n{signed}\n{}", self.method, hex(&Sha256::digest(&self.body)));
        let hashed = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        let first = format!("AWS4{secret}").into_bytes();
        let key = scope.split('/').fold(first, |key, word| keyed(&key, word));
        hex(&keyed(&key, &to_sign))
    }
}

/// A segment of a path, encoded once more.
fn again(segment: &str) -> String {
    let mut encoded = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("memory");
        }
    }
    encoded
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(
    mut stream: TcpStream,
    shown: &Shown,
    kept: &Mutex<Vec<Asked>>,
    answers: &Answers,
) -> std::io::Result<()> {
    let request = Request::read(&mut stream).await?;
    let answer = match request.refusal(shown) {
        Some("key") => Answer::Error(403, "AccessDeniedException", "The key is wrong."),
        Some(_) => Answer::Error(403, "InvalidSignatureException", "The signature is wrong."),
        None => {
            let body = serde_json::from_slice(&request.body).unwrap_or_default();
            let authorization = request.header("authorization").to_owned();
            let asked = Asked { path: request.path.clone(), body, authorization };
            let answer = answers(&asked);
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            answer
        }
    };
    let (status, more, body) = match answer {
        Answer::Json(status, body) => {
            (status, "content-type: application/json".to_owned(), body.to_string().into_bytes())
        }
        Answer::Error(status, name, message) => {
            let more = format!(
                "content-type: application/json\r\nx-amzn-ErrorType: {name}:http://internal.example/"
            );
            (status, more, serde_json::json!({ "message": message }).to_string().into_bytes())
        }
        Answer::Stream(body) => (200, "content-type: application/vnd.amazon.eventstream".to_owned(), body),
    };
    stream
        .write_all(format!("HTTP/1.1 {status} x\r\n{more}\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

/// An event as a frame.
pub fn event(kind: &str, payload: &Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.to_string().as_bytes())
}

/// An exception as a frame.
pub fn exception(kind: &str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":message-type", "exception")];
    frame(&headers, serde_json::json!({ "message": message }).to_string().as_bytes())
}

/// A frame with text headers.
pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).expect("a short name"));
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&u16::try_from(value.len()).expect("a short value").to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).expect("a short frame").to_be_bytes();
    let mut out = [length(16 + head.len() + payload.len()), length(head.len())].concat();
    out.extend_from_slice(&checksum(&out).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    let whole = checksum(&out);
    out.extend_from_slice(&whole.to_be_bytes());
    out
}

/// The frames of an answer: what each is, and what it says.
///
/// # Panics
/// If a checksum is wrong, or something is missing.
pub fn read_frames(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (total, headers) = (number(bytes) as usize, number(&bytes[4..]) as usize);
        let (frame, rest) = bytes.split_at(total);
        assert_eq!(number(&frame[8..]), checksum(&frame[..8]), "the checksum of the lengths");
        assert_eq!(number(&frame[total - 4..]), checksum(&frame[..total - 4]), "the checksum of the frame");
        let mut head = &frame[12..12 + headers];
        let mut kind = String::new();
        while let [length, tail @ ..] = head {
            let (name, tail) = tail.split_at(usize::from(*length));
            let length = usize::from(u16::from_be_bytes([tail[1], tail[2]]));
            let value = String::from_utf8_lossy(&tail[3..3 + length]);
            if name == b":event-type" || name == b":exception-type" {
                kind = value.into_owned();
            }
            head = &tail[3 + length..];
        }
        let payload = &frame[12 + headers..total - 4];
        frames.push((kind, serde_json::from_slice(payload).expect("a payload of JSON")));
        bytes = rest;
    }
    frames
}

/// CRC-32 as zip has it, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
