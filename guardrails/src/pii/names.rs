//! Names of entities and rows, kept for the life of the process: findings carry them by the million.

use std::collections::BTreeSet;
use std::sync::{LazyLock, PoisonError, RwLock};

/// Every name seen so far; policies are few and name the same things again when they are read again.
static NAMES: LazyLock<RwLock<BTreeSet<&'static str>>> = LazyLock::new(RwLock::default);

/// The one copy of `name`.
pub(crate) fn intern(name: &str) -> &'static str {
    if let Some(known) = known(name) {
        return known;
    }
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}

/// The copy of `name` if some pack has used it.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let first = intern("A_NAME_OF_THIS_TEST");
        assert!(std::ptr::eq(first, intern("A_NAME_OF_THIS_TEST")));
        assert_eq!(known("ANOTHER_NAME_OF_THIS_TEST"), None);
    }
}
