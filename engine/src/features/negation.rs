//! Negation: how often a prompt negates, and which word each negation falls on.
//!
//! Counting alone would take "my transfer hasn't arrived" and "my transfer is pending" for opposites. What tells opposites
//! apart is a word that both prompts have and only one negates. Two negations of one word cancel out.

/// Follows negation through a prompt.
#[derive(Default)]
pub(super) struct Negation {
    /// How many negations there were.
    pub(super) count: u32,
    /// An odd number of them waits for the word it falls on.
    open: bool,
}

impl Negation {
    /// A negating word was read.
    pub(super) fn negate(&mut self) {
        self.count += 1;
        self.open = !self.open;
    }

    /// A content word is read, `negated` if it carries a negating prefix. True if it stands negated.
    pub(super) fn falls_on(&mut self, negated: bool) -> bool {
        self.count += u32::from(negated);
        std::mem::take(&mut self.open) != negated
    }

    /// A clause ended: no word takes the negation any more.
    pub(super) fn end_clause(&mut self) {
        self.open = false;
    }
}
