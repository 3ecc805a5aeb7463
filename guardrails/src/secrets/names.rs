//! What the name of a value says about it.

use super::literals::Literals;
use std::sync::LazyLock;

/// The name of a provider alone says nothing, these say that it is of a secret.
const SAYS: &str = "key token secret pass pwd auth cred pat sas login run code bearer dsn account_sid";

/// Names with these are of something else, wherever they stand in it.
const ELSE: &str = "hash sha1 sha256 sha512 md5 digest checksum fingerprint thumbprint public pubkey cache_key cachekey \
    cache-key primary_key primarykey foreign sort_key sortkey partition idempoten etag cursor nextpage \
    next_page next_token nexttoken page_token pagetoken continuation max_token tokens tokenizer \
    token_count integrity site_key sitekey client_id clientid monkey websocket recv-key keyboard keyword hotkey tokenis \
    secretar";

/// Names that end so are of something about a secret.
const ENDS: &str = "name id ids type file path dir url uri arn len length size count ttl expiry expires expires_in \
    expires_at expiration policy pattern regex format label hint version algorithm alg status prefix \
    suffix field column location index region zone ref env date time provider store mount role scope \
    scopes";

static SAID: LazyLock<Literals> = LazyLock::new(|| Literals::of(SAYS.split_whitespace()));
static OTHER: LazyLock<Literals> = LazyLock::new(|| Literals::of(ELSE.split_whitespace()));

/// Whether a thing with this name may be a secret; those named after a provider must also say that they are one.
pub(super) fn may_be_secret(name: &str, must_say: bool) -> bool {
    let last = name.trim_end_matches(['_', '-', '.']).as_bytes();
    let ends = |end: &str| {
        last.len().checked_sub(end.len()).is_some_and(|at| last[at..].eq_ignore_ascii_case(end.as_bytes()))
    };
    (!must_say || SAID.any(name)) && !OTHER.any(name) && !ENDS.split_whitespace().any(ends)
}

#[cfg(test)]
mod tests {
    use super::may_be_secret;

    #[test]
    fn names_say_what_is_no_secret() {
        for name in ["API_KEY", "dbPassword", "client_secret", "x-api-key"] {
            assert!(may_be_secret(name, true), "{name}");
        }
        for name in
            ["password_hash", "cacheKey", "PUBLIC_KEY", "key_id", "token_type", "nextPageToken", "monkey"]
        {
            assert!(!may_be_secret(name, false), "{name}");
        }
        assert!(!may_be_secret("heroku_app", true));
    }
}
