//! The functions a feed-forward layer may have in its middle.

/// The function between the two halves of a layer's feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x · Φ(x) by the error function (Hendrycks & Gimpel 2016).
    Gelu,
    /// The same paper's approximation by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
}
