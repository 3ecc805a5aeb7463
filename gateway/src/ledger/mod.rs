//! What requests cost and what the cache saved. Money is integer nano-dollars.

pub mod prices;

pub use prices::{Nanodollars, Prices};
