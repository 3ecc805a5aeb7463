//! What the golden conversations do not say.
