//! Chat, mail, telephony and social networks. Forms from Slack's "Token types", Telegram's "Bots" manual, SendGrid's,
//! Twilio's and Mailgun's pages on keys, and the others' pages on authentication.

use super::{Check, Edge, Rule, named, token};

pub(super) const RULES: &[Rule] = &[
    Rule {
        check: Check::Entropy(2.8),
        ..token(
            "slack-token",
            &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxe-", "xoxe.", "xoxc-", "xoxd-"],
            "xox(?:[abceprsdo]-[A-Za-z0-9%-]{24,250}|e[.]xox[bp]-[0-9]-[A-Za-z0-9]{100,250})",
            &[
                "«xoxb-{d12}-{d13}-{b24}»",
                "xoxp-{d12}-{d12}-{d13}-{h32}",
                "xoxe.xoxp-1-{b166}",
                "xoxe-1-{b146}",
            ],
            &[
                "xoxb-your-bot-token-goes-right-here",
                "xoxb-{d8}",
                "xoxb-xxxxxxxxxxxx-xxxxxxxxxxxx-xxxxxxxxxxxx",
            ],
        )
    },
    Rule {
        check: Check::Entropy(2.8),
        ..token(
            "slack-app-token",
            &["xapp-"],
            "xapp-[0-9]-[A-Z0-9]{8,16}-[0-9]{9,16}-[a-z0-9]{32,80}",
            &["xapp-1-{u11}-{d13}-{h64}"],
            &["xapp-1-{u11}"],
        )
    },
    Rule {
        edge: Edge::Any,
        ..token(
            "slack-webhook",
            &["hooks.slack.com/", "hooks.slack-gov.com/"],
            r"(?i)hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{36,90})",
            &["https://hooks.slack.com/services/«T{u10}/B{u10}/{b24}»"],
            &[
                "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
                "hooks.slack.com/services/docs",
            ],
        )
    },
    named(
        "slack-signing-secret",
        &["slack"],
        "[0-9a-f]{32}",
        &["SLACK_SIGNING_SECRET=«{h32}»"],
        &["slack_event_hash={h32}"],
    ),
    Rule {
        edge: Edge::Any,
        ..token(
            "discord-webhook",
            &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"],
            r"(?i)discord(?:app)?\.com/api/webhooks/(?P<secret>[0-9]{17,20}/[A-Za-z0-9_-]{60,80})",
            &["https://discord.com/api/webhooks/«{d18}/{w68}»"],
            &["https://discord.com/api/webhooks/{d18}"],
        )
    },
    named(
        "discord-bot-token",
        &["discord", "bot_token", "bottoken", "client.login", "client.run", "bot.run", "token"],
        r"[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}",
        &["DISCORD_TOKEN=«M{b25}.{b6}.{w38}»", "client.login('«N{b23}.{b6}.{w27}»')"],
        &["discord_token: Module.Sub.Name"],
    ),
    named(
        "discord-client-secret",
        &["discord"],
        "[A-Za-z0-9_-]{32}",
        &["DISCORD_CLIENT_SECRET=«{w31}Q»"],
        &["discord_public_key={h64}"],
    ),
    Rule {
        edge: Edge::Digit,
        ..token(
            "telegram-bot-token",
            &[":AA"],
            ":(?P<secret>AA[A-Za-z0-9_-]{33})",
            &["https://api.telegram.org/bot{d10}:«AA{w32}Q»/sendMessage"],
            &["12:AA:BB:CC:DD:EE", "x:AA{b33}"],
        )
    },
    Rule {
        check: Check::Entropy(2.8),
        ..token(
            "twilio-api-key",
            &[
                "SK0", "SK1", "SK2", "SK3", "SK4", "SK5", "SK6", "SK7", "SK8", "SK9", "SKa", "SKb", "SKc",
                "SKd", "SKe", "SKf",
            ],
            "SK[0-9a-f]{32}",
            &["TWILIO_API_KEY=«SK{h32}»"],
            &["SK{h12}", "sketch", "sk{h32}"],
        )
    },
    named(
        "twilio-auth-token",
        &["twilio"],
        "[0-9a-f]{32}|[A-Za-z0-9]{32}",
        &["TWILIO_AUTH_TOKEN=«{h32}»", "twilio_api_secret: «{b32}»"],
        &["twilio_account_sid=AC{h32}"],
    ),
    token(
        "sendgrid-api-key",
        &["SG."],
        "SG[.][A-Za-z0-9_-]{22}[.][A-Za-z0-9_-]{43}",
        &["«SG.{b22}.{b43}»"],
        &["SG.{b22}", "SG.Utils.StringHelpers"],
    ),
    token(
        "mailgun-api-key",
        &["key-"],
        "key-[0-9a-f]{32}",
        &["curl --user 'api:«key-{h32}»'"],
        &["key-{h9}", "monkey-{h32}"],
    ),
    named(
        "mailgun-key-named",
        &["mailgun", "mg_api"],
        "(?:[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}|[0-9a-f]{32})",
        &["MAILGUN_API_KEY=«{h32}-{h8}-{h8}»"],
        &["mailgun_message_hash={h32}"],
    ),
    Rule {
        form: super::Form::Token(32),
        ..token(
            "mailchimp-api-key",
            &["-us1", "-us2", "-us3", "-us4", "-us5", "-us6", "-us7", "-us8", "-us9"],
            "[0-9a-f]{32}-us[0-9]{1,2}",
            &["MAILCHIMP_API_KEY=«{h32}-us14»"],
            &["region: eu-us1", "{h20}-us14"],
        )
    },
    token(
        "mailerlite-or-brevo-key",
        &["xkeysib-", "xsmtpsib-"],
        "x(?:key|smtp)sib-[0-9a-f]{64}-[A-Za-z0-9]{16}",
        &["api-key: «xkeysib-{h64}-{b16}»"],
        &["xkeysib-..."],
    ),
    token(
        "resend-api-key",
        &["re_"],
        "re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,30}",
        &["RESEND_API_KEY=«re_{b8}_{b24}»"],
        &["re_compiled_pattern", "re_validate_everything"],
    ),
    token(
        "mandrill-key",
        &["md-"],
        "md-[A-Za-z0-9_-]{22}",
        &["MANDRILL_KEY=«md-{b22}»"],
        &["md-{b6}", "md-autocomplete-suggestion"],
    ),
    named(
        "mail-service-key",
        &[
            "sparkpost",
            "mailjet",
            "sendinblue",
            "mandrill",
            "messagebird",
            "nexmo",
            "vonage",
            "plivo",
            "sinch",
        ],
        "[0-9a-f]{40}|[0-9a-f]{32}|[A-Za-z0-9]{16,44}",
        &["SPARKPOST_API_KEY=«{h40}»", "MAILJET_SECRET_KEY=«{h32}»", "VONAGE_API_SECRET=«{b16}»"],
        &["mailjet_key_id: main", "vonage_api_secret=$SECRET"],
    ),
    token(
        "sendbird-or-stream-key",
        &["sendbird_"],
        "sendbird_[0-9a-f]{40}",
        &["sendbird_{h40}"],
        &["sendbird_app"],
    ),
    Rule {
        edge: Edge::Any,
        ..token(
            "teams-webhook",
            &[".webhook.office.com/webhookb2/"],
            r"(?i)\.webhook\.office\.com/webhookb2/(?P<secret>[0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}/[A-Za-z0-9_/-]{36,90})",
            &["https://x.webhook.office.com/webhookb2/«{uuid}@{uuid}/IncomingWebhook/{h32}/{uuid}»"],
            &["https://x.webhook.office.com/webhookb2/"],
        )
    },
    Rule {
        edge: Edge::Any,
        ..token(
            "google-chat-webhook",
            &["chat.googleapis.com/v1/spaces/"],
            r"(?i)chat\.googleapis\.com/v1/spaces/[A-Za-z0-9_-]{6,20}/messages\?key=[A-Za-z0-9_-]{39}&token=(?P<secret>[A-Za-z0-9_%-]{30,80})",
            &["https://chat.googleapis.com/v1/spaces/{b11}/messages?key=AIza{w34}Q&token=«{w42}Q»"],
            &["https://chat.googleapis.com/v1/spaces/{b11}/messages"],
        )
    },
    Rule {
        edge: Edge::Any,
        ..token(
            "automation-webhook",
            &[
                "hooks.zapier.com/hooks/catch/",
                "hook.make.com/",
                "hook.integromat.com/",
                ".make.com/",
                "maker.ifttt.com/",
            ],
            r"(?i)(?:hooks\.zapier\.com/hooks/catch/|(?:hook)?\.(?:make|integromat)\.com/|hook\.(?:make|integromat)\.com/|maker\.ifttt\.com/trigger/[A-Za-z0-9_]{1,40}/(?:json/)?with/key/)(?P<secret>[0-9]{4,10}/[a-z0-9]{6,10}|[a-z0-9]{28,36}|[A-Za-z0-9_-]{22,44})",
            &["https://hooks.zapier.com/hooks/catch/«{d7}/{a7}»", "https://hook.eu1.make.com/«{a32}»"],
            &["https://www.make.com/en/integrations", "https://hooks.zapier.com/hooks/catch/"],
        )
    },
    // Tables in base 64 begin like it, with few different characters.
    Rule {
        check: Check::Entropy(4.6),
        ..token(
            "facebook-access-token",
            &[
                "EAAA", "EAAB", "EAAC", "EAAD", "EAAE", "EAAF", "EAAG", "EAAH", "EAAI", "EAAJ", "EAAK",
                "EAAL", "EAAM", "EAAN",
            ],
            "EAA[A-N][A-Za-z0-9]{60,}",
            &["access_token=«EAAG{b160}»"],
            &["EAAB{b12}"],
        )
    },
    named(
        "facebook-app-secret",
        &["facebook", "fb_app", "fb_secret", "instagram", "whatsapp"],
        "[0-9a-f]{32}",
        &["FACEBOOK_APP_SECRET=«{h32}»"],
        &["facebook_pixel_hash={h32}"],
    ),
    Rule {
        form: super::Form::Named,
        check: Check::Value,
        ..token(
            "twitter-bearer-token",
            &["twitter", "x_bearer", "bearer"],
            "AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%+/=]{50,120}",
            &["TWITTER_BEARER_TOKEN=«AAAAAAAAAAAAAAAAAAAAA{b90}»"],
            &["bearer_token=AAAAAAAAAAAAAAAAAAAAAAAAA"],
        )
    },
    named(
        "twitter-secret",
        &["twitter", "x_api", "consumer_secret", "tweepy"],
        "[A-Za-z0-9]{45}|[A-Za-z0-9]{50}|[A-Za-z0-9]{25}|[0-9]{8,20}-[A-Za-z0-9]{40}",
        &["TWITTER_API_SECRET=«{b50}»", "twitter_access_token: «{d18}-{b40}»"],
        &["twitter_key_event=launch"],
    ),
    token(
        "linkedin-client-secret",
        &["WPL_AP"],
        "WPL_AP[0-9]?[.][A-Za-z0-9]{16}[.][A-Za-z0-9+/=]{6,12}",
        &["LINKEDIN_CLIENT_SECRET=«WPL_AP1.{b16}.{b6}==»"],
        &["WPL_APP"],
    ),
    named(
        "oauth-client-secret",
        &["linkedin", "twitch", "spotify", "reddit", "pinterest", "tiktok", "strava", "fitbit"],
        "[0-9a-f]{32}|[a-z0-9]{30}|[A-Za-z0-9_-]{16,40}",
        &[
            "SPOTIFY_CLIENT_SECRET=«{h32}»",
            "TWITCH_CLIENT_SECRET=«{a30}»",
            "REDDIT_CLIENT_SECRET=«{b27}»",
            "LINKEDIN_CLIENT_SECRET=«{b16}»",
        ],
        &["spotify_token_url_path", "twitch_secret: see-the-vault-entry"],
    ),
];
