//! The phrases: verbs × quantifiers × objects per language, personas, extraction, chat-template tokens.
//!
//! Families after OWASP LLM01 and LLM07 and the attack taxonomies of the red-teaming literature; words are ours.

/// One line of the grammar.
pub(super) struct Phrase {
    /// The signal it stands for.
    pub(super) signal: &'static str,
    /// How far it alone convinces, 0 to 1.
    pub(super) weight: f32,
    /// Its expression, read without regard to case.
    pub(super) pattern: String,
}

/// Stems of which every line holds at least one; with the languages' verbs, the prefilter looks for these.
#[rustfmt::skip]
const STEMS: &[&str] = &[
    "disregard", "forget", "ignore", "instruction", "directive", "new task", "updated task", "real task", "actual task", "rules",
    "you are now", "you're now", "you will be now", "pretend", "act ", "acting", "behave", "respond", "answer", "roleplay",
    "role-play", "do anything now", "developer mode", "dev mode", "jailbr", "god mode", "opposite day", "dan mode",
    "from now on", "restriction", "filter", "limit", "censor", "ethic", "moral", "guideline", "guardrail", "safety",
    "unrestricted", "prompt", "system message", "above", "<|", "[inst", "[/inst", "<<sys", "<</sys", "_of_turn>",
    "system:", "system :", "instruction:", "human:", "assistant:", "important message",
];

/// What the prefilter looks for: every phrase holds at least one of these.
pub(super) fn anchors() -> Vec<&'static str> {
    LANGUAGES.iter().flat_map(|language| language.verbs.split('|')).chain(STEMS.iter().copied()).collect()
}

struct Language {
    verbs: &'static str,
    which: &'static str,
    objects: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        verbs: "ignore|ignoring|disregard|disregarding|forget|override|bypass|skip|neglect|discard|abandon|do not follow|don't follow|stop following",
        which: "all|any|every|everything|previous|prior|above|earlier|preceding|foregoing|former|past|original|initial|existing|your|the|these|those|my",
        objects: "instructions?|directions?|directives?|guidelines?|rules?|commands?|orders?|prompts?|programming|constraints?|restrictions?|training|policies|safeguards|context|messages|you (?:were|have been|are) told",
    },
    Language {
        verbs: "ignoriere|ignorieren sie|ignorier|vergiss|vergessen sie|missachte|missachten sie|überschreibe|umgehe",
        which: "alle|alles|sämtliche|vorherigen?|vorangegangenen?|bisherigen?|obigen?|früheren?|deine|ihre|die",
        objects: "anweisung(?:en)?|instruktion(?:en)?|regeln?|vorgaben?|befehle?|richtlinien?|systemprompts?",
    },
    Language {
        verbs: "ignore|ignorez|oublie|oubliez|néglige|négligez|ne tiens pas compte|ne tenez pas compte|contourne",
        which: "toutes?|tous|tout|les|tes|vos|des|ces",
        objects: "instructions?|consignes?|règles?|directives?|ordres?|messages? précédents?",
    },
    Language {
        verbs: "ignora|ignore|ignorar|olvida|olvide|olvidar|omite|descarta|no sigas",
        which: "todas?|todos?|las|los|tus|sus|cualquier|anteriores",
        objects: "instrucci(?:ón|on|ones)|reglas?|órdenes|ordenes|directrices|indicaciones|restricciones",
    },
    Language {
        verbs: "ignora|ignorare|dimentica|trascura|scorda",
        which: "tutte|tutti|ogni|le|i|tue|tuoi|precedenti",
        objects: "istruzioni|regole|direttive|ordini|indicazioni",
    },
    Language {
        verbs: "ignore|ignora|esqueça|esquece|desconsidere|desconsidera",
        which: "todas?|todos?|as|os|suas|seus|tuas|quaisquer",
        objects: "instruções|instrucoes|regras|diretrizes|ordens|orientações",
    },
];

/// Lines that are no product of lists: signal, weight, expression.
const LINES: &[(&str, f32, &str)] = &[
    (
        "override-instructions",
        0.7,
        r"\b(?:ignore|disregard|forget)\b[^.!?\n]{0,20}\b(?:everything|anything|all|what(?:ever)?)\b[^.!?\n]{0,20}\b(?:above|before|previously|prior|so far|told|said)\b",
    ),
    (
        "override-instructions",
        0.5,
        r"\b(?:new|updated|real|actual) (?:instructions?|task|directives?|rules)\s*(?::|are\b|follow)",
    ),
    ("persona", 0.6, r"\b(?:you are|you're|you will be) now (?:an? |the |in |going to |\w+,|dan\b)"),
    (
        "persona",
        0.35,
        r"\b(?:pretend|act|behave|respond|answer|roleplay|role-play)\b[^.!?\n]{0,20}\b(?:as|to be|like)\b[^.!?\n]{0,40}\b(?:ai|assistant|model|bot|chatbot|llm|character|machine)\b",
    ),
    (
        "persona",
        0.85,
        r"\b(?:do anything now|developer mode|dev mode|jailbroken|jailbreak mode|god mode|opposite day|dan mode)\b",
    ),
    ("persona", 0.5, r"\bfrom now on\b[^.!?\n]{0,60}\b(?:you|answer|respond|act|reply|ignore)\b"),
    (
        "no-restrictions",
        0.45,
        r"\b(?:without|no|free (?:of|from)|not bound by|lift|remove|has no|have no)\b[^.!?\n]{0,30}\b(?:restrictions?|filters?|limitations?|limits|censorship|ethical|ethics|moral(?:s|ity)?|guidelines|rules|guardrails|safety)\b[^.!?\n]{0,60}",
    ),
    (
        "no-restrictions",
        0.75,
        r"\b(?:unfiltered|uncensored|unrestricted|amoral|unethical)\b[^.!?\n]{0,40}\b(?:ai|assistant|model|bot|chatbot|mode|responses?|answers?|version|character)\b",
    ),
    (
        "prompt-extraction",
        0.8,
        r"\b(?:repeat|print|show|reveal|display|output|tell me|give me|share|list|write|recite|leak|dump|summari[sz]e|translate|encode|what (?:is|are|were))\b[^.!?\n]{0,40}\b(?:your|the|its|this|system|initial|original|hidden|secret)\b[^.!?\n]{0,15}\b(?:system prompt|system message|initial prompt|original prompt|hidden prompt|pre-?prompt|system instructions?|initial instructions?|original instructions?|secret instructions?|hidden instructions?)\b",
    ),
    (
        "prompt-extraction",
        0.6,
        r"\b(?:repeat|print|show|reveal|output|recite|leak|what (?:is|are|were))\b[^.!?\n]{0,20}\byour (?:exact |full |own |first |original )?(?:instructions|prompt|rules|guidelines|directives)\b",
    ),
    (
        "prompt-extraction",
        0.7,
        r"\b(?:repeat|print|output|copy|reproduce|translate|write)\b[^.!?\n]{0,40}\b(?:(?:words?|text|everything|sentences?|lines?|content|all)\b[^.!?\n]{0,12}\babove|above (?:words|text|prompt|instructions))\b",
    ),
    (
        "chat-template-token",
        0.8,
        r"<\|(?:im_start|im_end|system|user|assistant|eot_id|start_header_id|end_header_id|begin_of_text|endoftext|end)\|>",
    ),
    ("chat-template-token", 0.7, r"\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"),
    ("fake-role", 0.5, r"(?m)^\s{0,3}(?:###? ?)?(?:system|instruction)\s?:\s"),
    ("fake-role", 0.4, r"(?m)^\s{0,3}(?:human|assistant): "),
    (
        "addresses-the-assistant",
        0.4,
        r"\bimportant message (?:to|from|for)\b[^.!?\n]{0,20}\b(?:assistant|ai|model|user|you)\b",
    ),
];

/// All phrases, the products of the lists written out.
pub(super) fn all() -> Vec<Phrase> {
    let products = LANGUAGES.iter().map(|Language { verbs, which, objects }| Phrase {
        signal: "override-instructions",
        weight: 0.75,
        pattern: format!(
            r"\b(?:{verbs})\b[^.!?\n]{{0,25}}?\b(?:{which})\b(?:[^.!?\n]{{0,30}}?[^\w.!?\n])?(?:{objects})\b"
        ),
    });
    let lines =
        LINES.iter().map(|&(signal, weight, pattern)| Phrase { signal, weight, pattern: pattern.to_owned() });
    products.chain(lines).collect()
}
