//! Values that are no findings: an operator's own, and those that the world has for trying out.

use super::PolicyError;
use crate::guard::{Class, Finding};
use crate::pii;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

/// What is no finding although it looks like one. An address or name within an allowed e-mail address or URL is allowed with
/// it; anything else that stands in one is found as ever.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Whole values, such as `support@acme.com`. Numbers also with other separators.
    pub values: Vec<String>,
    /// Regular expressions (syntax of Rust's `regex`) for whole values: `EMP-0.*` allows what begins so.
    pub patterns: Vec<String>,
    /// Domains: addresses at `acme.com`, its name and its URLs without credentials, and those of what is below it.
    pub domains: Vec<String>,
    /// The card numbers that payment providers print for testing.
    pub test_cards: bool,
    /// IP addresses that belong to nobody.
    pub networks: Vec<Networks>,
}

/// Ranges of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Networks {
    /// For documentation: RFC 5737, RFC 3849 and RFC 9637.
    Documentation,
    /// Private, link-local and loopback: RFC 1918, RFC 3927, RFC 4193, RFC 4291 and RFC 1122.
    Private,
}

/// As printed in the documentation of Stripe, PayPal and Adyen.
const TEST_CARDS: &[&str] = &[
    "4242424242424242",
    "4111111111111111",
    "4012888888881881",
    "4222222222222",
    "4000056655665556",
    "5555555555554444",
    "5555341244441115",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "6011981111111113",
    "3056930009020004",
    "30569309025904",
    "38520000023237",
    "36227206271667",
    "3566002020360505",
    "3530111333300000",
    "6200000000000005",
    "6205500000000000004",
];

/// [`Allow`], ready for use.
#[derive(Default)]
pub(crate) struct Allowed {
    values: HashSet<String>,
    pattern: Option<Regex>,
    domains: Vec<String>,
    test_cards: bool,
    networks: Vec<Networks>,
}

impl Allowed {
    pub(crate) fn compile(allow: &Allow) -> Result<Allowed, PolicyError> {
        for (index, pattern) in allow.patterns.iter().enumerate() {
            // Each by itself, so that the error is about this one.
            if let Err(error) = whole(pattern) {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                return Err(PolicyError::new(format!("allow.patterns[{index}]"), last));
            }
        }
        for (index, domain) in allow.domains.iter().enumerate() {
            let name = domain.trim_start_matches('@');
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte > 127;
            if !name.contains('.') || name.starts_with('.') || !name.bytes().all(plain) {
                let expected = "expected a domain such as acme.com";
                return Err(PolicyError::new(format!("allow.domains[{index}]"), expected));
            }
        }
        let joined = allow.patterns.iter().map(|pattern| format!("(?:{pattern})")).collect::<Vec<_>>();
        let pattern = (!joined.is_empty()).then(|| whole(&joined.join("|"))).transpose();
        let pattern = pattern.map_err(|_| PolicyError::new("allow.patterns", "too large together"))?;
        let domain = |domain: &String| domain.trim_start_matches('@').to_lowercase();
        Ok(Allowed {
            values: allow.values.iter().map(|value| value.trim().to_owned()).collect(),
            pattern,
            domains: allow.domains.iter().map(domain).collect(),
            test_cards: allow.test_cards,
            networks: allow.networks.clone(),
        })
    }

    fn is_empty(&self) -> bool {
        let Allowed { values, pattern, domains, test_cards, networks } = self;
        values.is_empty() && pattern.is_none() && domains.is_empty() && !test_cards && networks.is_empty()
    }

    /// Takes away what is allowed.
    pub(crate) fn apply(&self, text: &str, found: &mut Vec<Finding>) {
        if self.is_empty() {
            return;
        }
        let mut around: Vec<Range<usize>> = Vec::new();
        found.retain(|finding| {
            let allowed = text.get(finding.span.clone()).is_some_and(|value| self.allows(finding, value));
            if allowed && finding.class == Class::Pii {
                around.push(finding.span.clone());
            }
            !allowed
        });
        let inside = |finding: &Finding| {
            matches!(finding.entity, "DOMAIN_NAME" | "IP_ADDRESS" | "URL")
                && around.iter().any(|a| a.start <= finding.span.start && finding.span.end <= a.end)
        };
        found.retain(|finding| !inside(finding));
    }

    fn allows(&self, finding: &Finding, value: &str) -> bool {
        let entity = finding.entity;
        let normal = pii::normalised(entity, value);
        self.values.contains(value)
            || self.values.iter().any(|allowed| pii::normalised(entity, allowed) == normal)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value))
            || match entity {
                "CREDIT_CARD" => self.test_cards && TEST_CARDS.contains(&normal.as_str()),
                "IP_ADDRESS" => value.parse().is_ok_and(|ip| self.networks.iter().any(|n| n.holds(ip))),
                "EMAIL_ADDRESS" => value.rsplit_once('@').is_some_and(|(_, host)| self.is_own(host)),
                "DOMAIN_NAME" => self.is_own(value),
                "URL" => host(value).is_some_and(|host| self.is_own(host)),
                _ => false,
            }
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_lowercase();
        let below = |own: &String| host.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.'));
        self.domains.iter().any(|own| host == *own || below(own))
    }
}

/// The host of a URL without credentials.
fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    (!authority.contains('@')).then_some(host)
}

fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // The pattern by itself first: `a)|(b` would be whole within our brackets.
    Regex::new(pattern)?;
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(4 << 20).build()
}

impl Networks {
    fn holds(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Networks::Documentation, IpAddr::V4(ip)) => ip.is_documentation(),
            (Networks::Documentation, IpAddr::V6(ip)) => {
                let [first, second, ..] = ip.segments();
                (first, second) == (0x2001, 0xdb8) || (first == 0x3fff && second < 0x1000)
            }
            (Networks::Private, IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            (Networks::Private, IpAddr::V6(ip)) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        }
    }
}
