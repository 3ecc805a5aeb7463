//! What is not any one provider's: web tokens, credentials in URLs, headers, command lines and files (RFC 7519, 3986, 7235,
//! 7617, 6750, the manuals of curl, netrc and Kubernetes), and values with a telling name.

use super::{Check, Edge, Form, Rule, check, named, token};

/// Names of things that somebody chose and remembers.
const PASSWORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "_pass",
    "pass:",
    "pass=",
    "passcode",
    "secret",
    "credential",
    "passwort",
    "kennwort",
    "contraseña",
    "contrasena",
    "mot de passe",
    "motdepasse",
    "mot_de_passe",
    "senha",
    "wachtwoord",
    "hasło",
    "lösenord",
    "adgangskode",
    "parola",
    "пароль",
    "密码",
    "密碼",
    "パスワード",
    "비밀번호",
];

/// Names of things that a machine made.
const TOKENS: &[&str] = &[
    "token",
    "secret",
    "apikey",
    "api_key",
    "api-key",
    "api key",
    "accesskey",
    "access_key",
    "access-key",
    "authkey",
    "auth_key",
    "auth-key",
    "_key",
    "-key",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "masterkey",
    "secretkey",
    "password",
    "passwd",
    "credential",
    "schlüssel",
    "clave",
    "jeton",
    "clé",
    "chave",
    "ключ",
    "密钥",
    "トークン",
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        check: Check::Custom(check::jwt),
        ..token(
            "json-web-token",
            &["eyJ", "ewog", "ewoJ", "eyAi"],
            "e[yw][A-Za-z0-9_-]{14,}[.][A-Za-z0-9_-]{4,}(?:[.][A-Za-z0-9_-]*)?",
            &["Authorization: Bearer «{jwt}»", "id_token={jwt}"],
            &["eyJub3QiOiJhIGp3dCJ9.{b40}.{b43}", "eyJ{b30}", "data:application/json;base64,eyJ{b40}"],
        )
    },
    // Only the password is replaced, and not where it is the word or a variable.
    Rule {
        edge: Edge::Any,
        check: Check::Password,
        ..token(
            "url-password",
            &["://"],
            r"://[^\s/:@\[\]'\x22<>]{0,64}:(?P<secret>[^\s/@\[\]'\x22<>]{3,128})@[A-Za-z0-9\[]",
            &[
                "DATABASE_URL=postgres://app:«{b12}»@db.internal:5432/app",
                "redis://x:«hun7er!»@cache:6379",
                "redis://:«{b16}»@cache",
            ],
            &[
                "https://example.org:8080/@x",
                "postgres://user:password@localhost/db",
                "mysql://u:$PASSWORD@h",
                "https://medium.com/@someone",
            ],
        )
    },
    // ADO.NET, ODBC, libpq: a name that says too little elsewhere is enough among the others of such a string.
    Rule {
        edge: Edge::Start,
        near: &[
            "server=",
            "data source=",
            "host=",
            "user id=",
            "uid=",
            "user=",
            "dbname=",
            "username=",
            "addr=",
        ],
        check: Check::Password,
        ..token(
            "connection-string-password",
            &["password=", "pwd="],
            r"(?i)(?:password|pwd)=(?P<secret>[^\s;&,'\x22\[\]<>]{3,128})",
            &[
                "Server=tcp:db.test,1433;User Id=app;Password=«hun7er!»;Encrypt=True",
                "host=db user=app password=«Ab3!x»",
            ],
            &["Server=x;User=y;Password=${PW};", "Server=x;Password=<password>"],
        )
    },
    Rule {
        edge: Edge::Any,
        check: Check::Custom(check::bearer),
        ..token(
            "authorization-header",
            &["authorization"],
            r"(?i)authorization\\?['\x22]?\]?\s{0,3}[:=,]\s{0,3}[bf]?\\?['\x22`]?(?:(?:bearer|token|apikey|api-key|bot|key|pat|oauth)\s{1,2}(?:token=)?)?\\?['\x22]?(?P<secret>[A-Za-z0-9_.~+/=:-]{16,})",
            &[
                "Authorization: Bearer «{b40}»",
                "\"Authorization\": \"Token «{h40}»\"",
                "authorization: '«{b36}»'",
            ],
            &[
                "Authorization: Bearer $TOKEN",
                "Authorization: Bearer <token>",
                "authorization: role-based-access-control-model",
            ],
        )
    },
    Rule {
        edge: Edge::Start,
        check: Check::Custom(check::bearer),
        ..token(
            "bearer-token",
            &["bearer "],
            r"(?i)bearer\s{1,2}(?P<secret>[A-Za-z0-9_.~+/=-]{20,})",
            &["send it as Bearer «{b43}»"],
            &["bearer authentication-with-tokens-v2", "Bearer {token}"],
        )
    },
    Rule {
        edge: Edge::Start,
        check: Check::Custom(check::basic),
        ..token(
            "basic-authorization",
            &["basic "],
            r"(?i)basic\s{1,2}(?P<secret>[A-Za-z0-9+/_-]{8,}={0,2})",
            &["Authorization: Basic «{basic}»", "'basic «{basic}»'"],
            &["basic understanding", "Basic authentication", "Basic {b40}"],
        )
    },
    Rule {
        edge: Edge::Any,
        near: &["curl", "http ", "wget"],
        check: Check::Password,
        ..token(
            "command-line-password",
            &[" -u ", " --user ", " -u'", " -u\"", " -a ", " --user=", " --http-password="],
            r"\s-(?:u|a|-user|-http-password)[\s=]?['\x22]?[^\s:'\x22]{0,64}[:=](?P<secret>[^\s'\x22\[\]<>]{3,128})",
            &["curl -u ada:«hun7er!» https://api.test/v1", "curl -s --user 'svc:«{b20}»' https://x"],
            &[
                "curl -u $USER:$PASS https://x",
                "curl -u user:password https://x",
                "docker run -u 1000:1000 curl",
            ],
        )
    },
    Rule {
        check: Check::Password,
        ..token(
            "command-line-password-flag",
            &["sshpass -p", "mysql -", "mysqldump -", "redis-cli -", "psql "],
            r#"(?:sshpass\s-p|(?:mysql|mysqldump)\s(?:-[uhP]\s?[^\s-]{1,60}\s){0,3}-p|redis-cli\s(?:-[hpn]\s[^\s]{1,60}\s){0,3}-a\s|psql\s['\x22]?[^\n]{0,80}password=)['\x22]?(?P<secret>[^\s'\x22\[\]<>]{4,128})"#,
            &[
                "sshpass -p'«hun7er!»' ssh ada@host",
                "mysqldump -u root -p«hun7er!» shop",
                "redis-cli -h cache -a «{b16}»",
            ],
            &["mysql -u root -p shop", "sshpass -p $PW ssh host"],
        )
    },
    Rule {
        check: Check::Password,
        ..token(
            "netrc-password",
            &["machine ", "default login "],
            r"(?:machine\s{1,4}[^\s]{1,100}\s{1,8}|default\s)login\s{1,4}[^\s]{1,100}\s{1,8}password\s{1,4}(?P<secret>[^\s\[\]<>]{3,128})",
            &[
                "machine api.test login ada password «hun7er!»",
                "machine api.test\n  login ada\n  password «{b20}»",
            ],
            &["machine learning login password", "machine api.test login ada password $PASSWORD"],
        )
    },
    // host:port:database:user:password
    Rule {
        edge: Edge::Any,
        check: Check::Password,
        ..token(
            "pgpass-line",
            &[":5432:"],
            r":5432:[A-Za-z0-9_*.-]{1,40}:[A-Za-z0-9_.-]{1,40}:(?P<secret>[^\s:\[\]<>]{4,128})",
            &["db.test:5432:shop:ada:«hun7er!»"],
            &["ports: 5432:5432", "db:5432:shop:ada:$PW"],
        )
    },
    Rule {
        form: Form::Manifest,
        check: Check::Password,
        ..token(
            "kubernetes-secret",
            &["kind: secret", "kind:secret", "\"kind\": \"secret\"", "\"kind\":\"secret\""],
            r"[^\s'\x22\[\]<>{}]{4,}",
            &[
                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  pw: «{b16}==»\n",
                "{\"kind\":\"Secret\",\"data\":{\"pw\":\"«{b16}»\"}}",
            ],
            &[
                "kind: SecretStore\ndata:\n  a: {b20}",
                "kind: ConfigMap\ndata:\n  a: {b20}",
                "kind: Secret\nmetadata:\n  name: {b20}",
            ],
        )
    },
    // PuTTY's own format: the lines after their number, up to the check value.
    Rule {
        check: Check::Entropy(3.5),
        reach: 4 * 1024,
        ..token(
            "putty-private-key",
            &["Private-Lines: "],
            r"(?i)Private-Lines:\s[0-9]{1,3}(?:\r?\n|\\n)(?P<secret>(?:[A-Za-z0-9+/=]{1,76}(?:\r?\n|(?:\\r)?\\n|\z)){1,})",
            &["PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\n«{s64}\n{s12}==\n»Private-MAC: {h64}"],
            &["Public-Lines: 2\n{s64}\n{s12}==\n"],
        )
    },
    // A private JSON web key (RFC 7517): its private exponent or value.
    Rule {
        edge: Edge::Any,
        near: &["\"kty\""],
        ..token(
            "json-web-key",
            &["\"d\":", "\"d\" :", "\"k\":"],
            r#""[dk]"\s?:\s?"(?P<secret>[A-Za-z0-9_-]{32,})""#,
            &["{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{w43}\",\"d\":\"«{w43}»\"}"],
            &["{\"kty\":\"OKP\",\"x\":\"{w43}\"}", "{\"d\":\"{w43}\"}"],
        )
    },
    Rule {
        check: Check::Chosen,
        ..named(
            "password-assignment",
            PASSWORDS,
            r"[^\s]{8,128}",
            &[
                "password = \"«Kr4tz!baum»\"",
                "DB_PASSWORD=«Sommer2024»",
                "my password is «Tr0ub4dor&3x»",
                "Passwort: «Gr4ugans!7»",
            ],
            &[
                "password = getpass()",
                "password: String",
                "password=${DB_PASSWORD}",
                "the password is required",
                "passwordHash: {h40}",
            ],
        )
    },
    Rule {
        check: Check::Made,
        ..named(
            "secret-assignment",
            TOKENS,
            "[A-Za-z0-9+/=_.~:%@!$^*-]{16,}",
            &[
                "api_key = \"«{b32}»\"",
                "MY_SERVICE_TOKEN=«{w40}»",
                "\"clientSecret\": \"«{b28}»\"",
                "export FOO_KEY='«{h32}»'",
                "config['access_token'] = '«{b40}»'",
                "{\\\"api_key\\\": \\\"«{b32}»\\\"}",
                "<apiKey>«{b32}»</apiKey>",
                "--token «{b32}»",
                "setenv(\"SVC_TOKEN\", \"«{b32}»\")",
                "- name: SVC_TOKEN\n  value: «{b32}»",
                "{\"name\":\"SVC_TOKEN\",\"value\":\"«{b32}»\"}",
            ],
            &[
                "token = generate_token_for_user(user_42)",
                "api_key: process.env.API_KEY",
                "cache_key = \"{h40}\"",
                "public_key: \"{b64}\"",
                "secret_id: {uuid}",
                "key_path = /etc/ssl/private/server-2024.key",
                "nextPageToken: {b40}",
                "token: sha512-{s86}==",
            ],
        )
    },
];
