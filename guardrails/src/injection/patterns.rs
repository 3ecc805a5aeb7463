//! The sentences of attacks: roles that follow each other within a stretch of text.

use super::lexicon::Role::{self, *};

/// A row of the grammar.
pub(super) struct Pattern {
    /// What it speaks for: an index into [`FAMILIES`].
    pub(super) family: usize,
    /// How far it alone convinces, 0 to 1.
    pub(super) weight: f32,
    /// What must follow each other, each step one of several roles.
    pub(super) steps: &'static [&'static [Role]],
    /// How many bytes may lie between two steps.
    pub(super) gap: usize,
    /// Whether the end of a sentence may.
    pub(super) across: bool,
}

/// What patterns speak for; these are names of signals.
pub(super) const FAMILIES: &[&str] = &[
    "override-instructions",
    "new-instructions",
    "persona",
    "no-restrictions",
    "never-refuse",
    "prompt-extraction",
    "privileged-mode",
    "claimed-authority",
    "only-say",
    "boundary",
    "secret-request",
    "chat-template-token",
    "fake-role",
    "addresses-the-assistant",
    "steers-the-answer",
    "conceals",
    "acts-for-the-reader",
    "adds-code",
];

const OVERRIDE: usize = 0;
const NEW: usize = 1;
const PERSONA: usize = 2;
const FREE: usize = 3;
const REFUSE: usize = 4;
const EXTRACT: usize = 5;
const MODE: usize = 6;
const AUTHORITY: usize = 7;
const ONLY: usize = 8;
const BOUNDARY: usize = 9;
const SECRET: usize = 10;
const TEMPLATE: usize = 11;
const SPEAKER: usize = 12;
const ADDRESS: usize = 13;
const STEER: usize = 14;
const CONCEAL: usize = 15;
const SEND: usize = 16;
const CODE: usize = 17;

const fn row(family: usize, weight: f32, gap: usize, steps: &'static [&'static [Role]]) -> Pattern {
    Pattern { family, weight, steps, gap, across: false }
}

const fn far(family: usize, weight: f32, gap: usize, steps: &'static [&'static [Role]]) -> Pattern {
    Pattern { family, weight, steps, gap, across: true }
}

/// The grammar.
pub(super) const PATTERNS: &[Pattern] = &[
    row(OVERRIDE, 0.9, 30, &[&[Ignore, Unfollow], &[Prior, Above], &[Rules, Prompt, Said]]),
    row(OVERRIDE, 0.9, 30, &[&[Ignore, Unfollow], &[Rules, Prompt, Said], &[Prior, Above]]),
    row(OVERRIDE, 0.75, 20, &[&[Ignore, Unfollow], &[Which], &[Rules, Prompt]]),
    row(OVERRIDE, 0.75, 20, &[&[Ignore], &[Which], &[Prior, Above, Said]]),
    row(OVERRIDE, 0.7, 12, &[&[Ignore, Unfollow], &[Your], &[Rules, Prompt, Limits]]),
    row(OVERRIDE, 0.35, 12, &[&[Ignore, Unfollow], &[Rules, Prompt]]),
    row(NEW, 0.4, 0, &[&[NewTask]]),
    far(NEW, 0.8, 160, &[&[Boundary, Ignore, Unfollow], &[NewTask]]),
    far(PERSONA, 0.85, 90, &[&[YouAre, Act], &[Jailbreak, Amoral, Free]]),
    row(PERSONA, 0.55, 40, &[&[YouAre], &[Machine]]),
    row(PERSONA, 0.35, 40, &[&[Act], &[Machine]]),
    row(PERSONA, 0.5, 60, &[&[NowOn], &[YouAre, Act, Obey, Ignore]]),
    row(PERSONA, 0.85, 0, &[&[Jailbreak]]),
    row(PERSONA, 0.2, 0, &[&[YouAre]]),
    row(PERSONA, 0.1, 0, &[&[Act]]),
    row(FREE, 0.4, 0, &[&[Free]]),
    far(FREE, 0.75, 80, &[&[Machine, Jailbreak], &[Free, Amoral]]),
    row(FREE, 0.75, 30, &[&[Amoral, Free], &[Machine]]),
    row(FREE, 0.45, 25, &[&[Without], &[Limits]]),
    row(FREE, 0.5, 25, &[&[Ignore, Unfollow], &[Limits]]),
    far(FREE, 0.7, 120, &[&[Without], &[Limits], &[Limits]]),
    row(REFUSE, 0.3, 0, &[&[Obey]]),
    far(REFUSE, 0.55, 400, &[&[Obey], &[Obey]]),
    far(REFUSE, 0.8, 400, &[&[Obey], &[Obey], &[Obey]]),
    row(EXTRACT, 0.85, 45, &[&[Show, Ask], &[Prompt]]),
    row(EXTRACT, 0.7, 25, &[&[Show, Ask], &[Your], &[Rules]]),
    row(EXTRACT, 0.75, 25, &[&[Show], &[Words], &[Above]]),
    row(EXTRACT, 0.65, 20, &[&[Show], &[Above], &[Words]]),
    row(EXTRACT, 0.6, 30, &[&[Show], &[Rules], &[Prior, Above, Verbatim]]),
    row(EXTRACT, 0.6, 25, &[&[Show], &[Prior], &[Rules]]),
    row(EXTRACT, 0.5, 30, &[&[Prompt], &[Verbatim, Above]]),
    row(EXTRACT, 0.25, 0, &[&[Prompt]]),
    row(MODE, 0.35, 0, &[&[Mode]]),
    row(MODE, 0.7, 30, &[&[Enter, YouAre], &[Mode]]),
    far(MODE, 0.7, 60, &[&[Mode], &[Show, Ask]]),
    row(AUTHORITY, 0.3, 0, &[&[Authority]]),
    far(AUTHORITY, 0.7, 100, &[&[Authority], &[Show, Ask], &[Prompt, Secret, Rules]]),
    row(ONLY, 0.25, 0, &[&[OnlySay]]),
    far(ONLY, 0.85, 120, &[&[Ignore, Unfollow], &[OnlySay]]),
    far(ONLY, 0.7, 120, &[&[Boundary], &[OnlySay]]),
    row(BOUNDARY, 0.3, 0, &[&[Boundary]]),
    far(BOUNDARY, 0.6, 60, &[&[Boundary], &[Boundary]]),
    row(SECRET, 0.35, 30, &[&[Show, Ask], &[Secret]]),
    row(TEMPLATE, 0.8, 0, &[&[Template]]),
    row(SPEAKER, 0.4, 0, &[&[Speaker]]),
    far(SPEAKER, 0.7, 300, &[&[Speaker], &[Ignore, OnlySay, NewTask, YouAre]]),
    row(ADDRESS, 0.4, 0, &[&[ToMachine]]),
    row(ADDRESS, 0.7, 60, &[&[ToMachine], &[Ignore, Include, Show, Send, OnlySay]]),
    row(ADDRESS, 0.5, 60, &[&[IfAsked], &[Include, Show, OnlySay, Send]]),
    row(STEER, 0.3, 0, &[&[YourAnswer]]),
    row(STEER, 0.7, 90, &[&[Include], &[YourAnswer]]),
    row(STEER, 0.6, 40, &[&[YourAnswer], &[Include, Send]]),
    row(CONCEAL, 0.35, 0, &[&[Conceal]]),
    row(CONCEAL, 0.65, 30, &[&[Conceal], &[TheUser, Machine]]),
    row(SEND, 0.35, 40, &[&[Send], &[TheUser, Secret]]),
    far(SEND, 0.6, 80, &[&[ToMachine, Ignore], &[Send]]),
    row(CODE, 0.5, 0, &[&[FollowingCode]]),
    row(CODE, 0.8, 60, &[&[FollowingCode], &[YourAnswer]]),
];
