//! The table of secret rules. A row carries its own examples and look-alikes, which run as tests.
//!
//! Forms are taken from the providers' own documentation. Examples are recipes, so that no token stands in the
//! source: `{b20}` is 20 characters of base 62, `{l34}` letters, `{u16}` of base 32, `{h32}` of hexadecimal, `{d12}` digits,
//! `{w93}` of base 62 with `-` and `_`, `{s40}` of base 64, `{github}` 30 of base 62 and their check value.

/// A kind of secret token.
pub(crate) struct Rule {
    /// Its name in findings.
    pub(crate) id: &'static str,
    /// Strings with which a match of `pattern` begins (upper or lower case); the prefilter looks for these.
    pub(crate) literals: &'static [&'static str],
    /// The token's form, read from the start of the literal. A group `secret` narrows what is replaced.
    pub(crate) pattern: &'static str,
    /// Whether a letter or digit directly before the literal rules it out.
    pub(crate) starts_token: bool,
    /// What is looked at besides the form.
    pub(crate) check: Check,
    /// Recipes of texts with exactly one such secret.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub(crate) examples: &'static [&'static str],
    /// Recipes of texts that look alike and hold none.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub(crate) others: &'static [&'static str],
}

/// What makes a token of the right form believable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// The form says it all.
    Structure,
    /// At least so many bits of entropy per character.
    Entropy(f32),
    /// Upper case, lower case and digits, and at least so many bits of entropy per character.
    Mixed(f32),
    /// None: a password may be anything but the word itself.
    Password,
    /// GitHub's: the last six characters are the CRC-32 of the others, in base 62.
    GithubCrc,
}

/// A row with what most rows share.
const ROW: Rule = Rule {
    id: "",
    literals: &[],
    pattern: "",
    starts_token: true,
    check: Check::Entropy(3.0),
    examples: &[],
    others: &[],
};

pub(crate) const RULES: &[Rule] = &[
    // Model providers.
    Rule {
        id: "openai-api-key",
        literals: &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"],
        pattern: r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{32,220}",
        examples: &[
            "OPENAI_API_KEY=sk-proj-{w74}T3BlbkFJ{w74}",
            "sk-svcacct-{w58}T3BlbkFJ{w58}",
            "'sk-admin-{b48}'",
        ],
        others: &[
            "sk-proj-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "sk-proj-your-api-key-goes-here-please-and-thanks",
        ],
        ..ROW
    },
    Rule {
        id: "openai-legacy-api-key",
        literals: &["sk-"],
        pattern: r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
        examples: &["use sk-{b20}T3BlbkFJ{b20} here"],
        others: &["sk-{b20}T3BlbkFJ{b12}", "task-{b20}T3BlbkFJ{b20}"],
        check: Check::Structure,
        ..ROW
    },
    Rule {
        id: "sk-api-key",
        literals: &["sk-"],
        pattern: r"sk-[A-Za-z0-9]{32,64}",
        examples: &["DEEPSEEK_API_KEY: sk-{h32}", "sk-{b48}"],
        others: &[
            "sk-learn-contrib-estimators-collection",
            "sk-0123456789abcdef0123456789abcdef",
            "risk-{b40}",
        ],
        check: Check::Entropy(3.2),
        ..ROW
    },
    Rule {
        id: "openrouter-api-key",
        literals: &["sk-or-v1-"],
        pattern: r"sk-or-v1-[0-9a-f]{64}",
        examples: &["sk-or-v1-{h64}"],
        others: &["sk-or-v1-{h20}"],
        ..ROW
    },
    Rule {
        id: "anthropic-api-key",
        literals: &["sk-ant-"],
        pattern: r"sk-ant-[a-z]{3,6}\d{2}-[A-Za-z0-9_-]{80,120}",
        examples: &["x-api-key: sk-ant-api03-{w93}AA", "sk-ant-admin01-{w93}AA", "sk-ant-oat01-{w93}AA"],
        others: &["sk-ant-api03-...", "sk-ant-api03-your-key", "sk-ant-{b12}"],
        ..ROW
    },
    Rule {
        id: "huggingface-token",
        literals: &["hf_"],
        pattern: r"hf_[A-Za-z]{34}",
        examples: &["HF_TOKEN=hf_{l34}"],
        others: &["hf_hub_download_and_load_the_model_now", "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
        ..ROW
    },
    Rule {
        id: "groq-api-key",
        literals: &["gsk_"],
        pattern: r"gsk_[A-Za-z0-9]{52}",
        examples: &["gsk_{b52}"],
        others: &["gsk_{b12}"],
        ..ROW
    },
    Rule {
        id: "google-api-key",
        literals: &["AIza"],
        pattern: r"AIza[A-Za-z0-9_-]{35}",
        examples: &["?key=AIza{w34}Q&q=x"],
        others: &["AIzawa", "AIza{w12}"],
        ..ROW
    },
    // Clouds.
    Rule {
        id: "aws-access-key-id",
        literals: &["AKIA", "ASIA", "ABIA", "ACCA"],
        pattern: r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        examples: &["aws_access_key_id = AKIA{u16}", "ASIA{u16}"],
        others: &["AKIAIOSFODNN7EXAMPLE", "AKIA{u12}", "akia{u16}", "XAKIA{u16}", "ASIAN MARKETS"],
        check: Check::Entropy(2.8),
        ..ROW
    },
    Rule {
        id: "aws-secret-access-key",
        literals: &[
            "secret_access_key",
            "secretaccesskey",
            "secret access key",
            "aws_secret",
            "secret-access-key",
        ],
        pattern: r#"(?i)[a-z_ -]{10,30}["']?\s{0,3}(?:[:=]|=>|:=|is)?\s{0,3}["']?(?P<secret>[A-Za-z0-9/+]{40})"#,
        starts_token: false,
        examples: &[
            "aws_secret_access_key = {s40}",
            "\"SecretAccessKey\": \"{s40}\"",
            "my secret access key is {s40}",
        ],
        others: &[
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "secret_access_key: {b20}",
        ],
        check: Check::Mixed(3.8),
    },
    Rule {
        id: "aws-secret-access-key-pair",
        literals: &["AKIA", "ASIA"],
        pattern: r"(?s)(?:AKIA|ASIA)[A-Z2-7]{16}[^A-Za-z0-9].{0,100}?[^A-Za-z0-9/+](?P<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)",
        examples: &[],
        others: &["commit AKIA{u16} {h40}"],
        check: Check::Mixed(3.8),
        ..ROW
    },
    Rule {
        id: "digitalocean-token",
        literals: &["dop_v1_", "doo_v1_", "dor_v1_"],
        pattern: r"do[opr]_v1_[a-f0-9]{64}",
        examples: &["dop_v1_{h64}"],
        others: &["dop_v1_{h12}"],
        ..ROW
    },
    // Code hosts and registries.
    Rule {
        id: "github-token",
        literals: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        pattern: r"gh[pousr]_[A-Za-z0-9]{36}",
        examples: &["https://x:ghp_{github}@github.com/a/b", "gho_{github}", "ghs_{github}"],
        others: &["ghp_{b20}", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_{b36}{b4}"],
        check: Check::GithubCrc,
        ..ROW
    },
    Rule {
        id: "github-fine-grained-token",
        literals: &["github_pat_"],
        pattern: r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
        examples: &["github_pat_{b22}_{b59}"],
        others: &["github_pat_{b22}", "github_pat_your_token"],
        ..ROW
    },
    Rule {
        id: "gitlab-token",
        literals: &["glpat-", "gldt-", "glrt-", "glptt-"],
        pattern: r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,64}(?:\.[a-z0-9.]{8,24})?",
        examples: &["PRIVATE-TOKEN: glpat-{b20}"],
        others: &["glpat-{b8}", "glpat-xxxxxxxxxxxxxxxxxxxx"],
        ..ROW
    },
    Rule {
        id: "npm-token",
        literals: &["npm_"],
        pattern: r"npm_[A-Za-z0-9]{36}",
        examples: &["_authToken=npm_{b36}"],
        others: &["npm_config_registry", "npm_{b12}"],
        ..ROW
    },
    Rule {
        id: "pypi-token",
        literals: &["pypi-AgEIcHlwaS5vcmc"],
        pattern: r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,400}",
        examples: &["password = pypi-AgEIcHlwaS5vcmc{b80}"],
        others: &["pypi-AgEIcHlwaS5vcmc"],
        ..ROW
    },
    // Messaging.
    Rule {
        id: "slack-token",
        literals: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxc-", "xoxd-"],
        pattern: r"xox[abceprsd]-[A-Za-z0-9-]{24,250}",
        examples: &["xoxb-{d12}-{d13}-{b24}", "xoxp-{d12}-{d12}-{d13}-{h32}"],
        others: &[
            "xoxb-your-bot-token-goes-right-here",
            "xoxb-{d8}",
            "xoxb-xxxxxxxxxxxx-xxxxxxxxxxxx-xxxxxxxxxxxx",
        ],
        check: Check::Entropy(2.8),
        ..ROW
    },
    Rule {
        id: "slack-app-token",
        literals: &["xapp-"],
        pattern: r"xapp-\d-[A-Z0-9]{8,16}-\d{9,16}-[a-z0-9]{32,80}",
        examples: &["xapp-1-{u11}-{d13}-{h64}"],
        others: &["xapp-1-{u11}"],
        check: Check::Entropy(2.8),
        ..ROW
    },
    Rule {
        id: "slack-webhook",
        literals: &["hooks.slack.com/"],
        pattern: r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{36,60})",
        examples: &["https://hooks.slack.com/services/T{u10}/B{u10}/{b24}"],
        others: &[
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            "hooks.slack.com/services/docs",
        ],
        ..ROW
    },
    Rule {
        id: "sendgrid-api-key",
        literals: &["SG."],
        pattern: r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
        examples: &["SG.{b22}.{b43}"],
        others: &["SG.{b22}", "SG.Utils.StringHelpers"],
        ..ROW
    },
    // Anyone's.
    Rule {
        id: "url-password",
        literals: &["://"],
        pattern: r"://[^\s/:@\[\]]{1,64}:(?P<secret>[^\s/@\[\]]{3,128})@[A-Za-z0-9\[]",
        starts_token: false,
        check: Check::Password,
        examples: &["DATABASE_URL=postgres://app:{b12}@db.internal:5432/app", "redis://x:hun7er!@cache:6379"],
        others: &[
            "https://example.org:8080/@x",
            "postgres://user:password@localhost/db",
            "mysql://u:$PASSWORD@h",
        ],
    },
    // Payments.
    Rule {
        id: "stripe-secret-key",
        literals: &["sk_live_", "sk_test_", "rk_live_", "rk_test_"],
        pattern: r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}",
        examples: &["stripe.api_key = 'sk_live_{b24}'", "sk_test_{b99}", "rk_live_{b24}"],
        others: &["pk_live_{b24}", "sk_live_", "sk_test_xxxxxxxxxxxxxxxxxxxxxxxx", "desk_live_{b24}"],
        ..ROW
    },
    Rule {
        id: "stripe-webhook-secret",
        literals: &["whsec_"],
        pattern: r"whsec_[A-Za-z0-9+/]{32,64}",
        examples: &["whsec_{b32}"],
        others: &["whsec_{b12}"],
        ..ROW
    },
];
