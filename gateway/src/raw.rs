//! What came from a client and no guard has seen: a type that can be neither printed nor written anywhere by mistake.

use bytes::Bytes;

/// Something of a client's before redaction. Whoever wants to see it has to say so, by [`Raw::expose`]: it has no `Debug`,
/// no `Display`, and can't be serialised.
///
/// ```
/// use sluice::raw::Raw;
/// let raw = Raw::new("I am zoe@example.org");
/// assert_eq!(raw.expose().len(), 20);
/// ```
///
/// It can't be printed:
/// ```compile_fail,E0277
/// use sluice::raw::Raw;
/// let _ = format!("{}", Raw::new("I am zoe@example.org"));
/// ```
/// also not for debugging, nor as a field of a log line:
/// ```compile_fail,E0277
/// use sluice::raw::Raw;
/// let _ = format!("{:?}", Raw::new("I am zoe@example.org"));
/// ```
/// and it can't be serialised:
/// ```compile_fail,E0277
/// use sluice::raw::Raw;
/// let _ = serde_json::to_string(&Raw::new("I am zoe@example.org"));
/// ```
#[derive(Clone)]
pub struct Raw<T>(T);

impl<T> Raw<T> {
    /// Wraps it.
    pub fn new(inner: T) -> Self {
        Self(inner)
    }

    /// The thing itself, to be read by guards and parsers. Not for logs, errors, metrics or files.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Raw<Bytes> {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
