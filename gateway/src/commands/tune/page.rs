//! The report: one HTML file that needs nothing else.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use sluice_engine::decide::Policy;

use super::figures;
use super::findings::{Findings, Pair, Promised, Source, Tally, cheapest};
use super::text::{count, escape, percent, round_percent, side_by_side};
use super::words;

const STYLE: &str = include_str!("page.css");
/// The one script: it shows the button that copies the settings.
const SCRIPT: &str = "var b=document.getElementById('copy');if(b&&navigator.clipboard){b.hidden=false;b.onclick=function(){\
                      navigator.clipboard.writeText(document.getElementById('yaml').textContent).then(function(){\
                      b.textContent='Copied';});};}";

/// The page; `date` is when it was made.
pub(super) fn render(findings: &Findings, date: &str) -> String {
    let mut out = String::with_capacity(128 * 1024);
    let title = escape(&findings.file);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\
         <title>Tuning report: {title}</title><style>\n{STYLE}</style></head>\n<body>\n<header>{}{}</header>\n<main>\n{}",
        heading(findings, date),
        big_figures(findings),
        settings(findings),
    );
    out.push_str("<div class=\"grid2\">\n");
    for (heading, text, chart) in [
        ("How many hits, how many of them right", words::precision(findings), figures::precision(findings)),
        ("What a wrong answer may cost", words::cost(findings), figures::cost(findings)),
        ("Wrong hits over time", words::errors(findings), figures::error_over_time(findings)),
        ("Right hits over time", words::hits(findings), figures::hits_over_time(findings)),
        ("Can its confidence be trusted?", words::reliability(findings), figures::reliability(findings)),
    ] {
        let _ =
            writeln!(out, "<section class=\"card drawn\"><h2>{heading}</h2><p>{text}</p>{chart}</section>");
    }
    let _ = write!(out, "{}</div>\n{}</main>\n", reading(), riskiest(findings));
    let _ = write!(
        out,
        "<footer><h2>How this was measured</h2>{}</footer>\n<script>{SCRIPT}</script>\n</body></html>\n",
        words::method(findings)
    );
    out
}

fn heading(findings: &Findings, date: &str) -> String {
    let mut out = String::from("<h1>How far can a cache hit be trusted?</h1><ul class=\"facts\">");
    let mut fact = |name: &str, value: &str| {
        let _ = write!(out, "<li>{name} <b>{}</b></li>", escape(value));
    };
    fact("file", &findings.file);
    match &findings.source {
        Source::Stream { orders, model } => {
            fact("requests", &count(findings.exact.requests));
            fact("orders of arrival", &orders.to_string());
            fact("embedded by", model);
        }
        Source::Shadow { lines, judged, numbered, span } => {
            if *numbered {
                fact("requests", &count(findings.exact.requests));
            }
            fact("candidates", &count(*lines as f64));
            fact("with a verdict", &count(*judged as f64));
            if let Some((from, to)) = span {
                fact("from", &moment(*from));
                fact("to", &moment(*to));
            }
        }
    }
    fact("a wrong answer costs", &format!("{} provider calls", findings.price));
    fact("made", date);
    out.push_str("</ul>");
    out
}

/// Seconds since 1970 as a date.
fn moment(seconds: f64) -> String {
    // 253402300799 is the end of the year 9999, the last that can be written.
    let seconds = Duration::from_secs(seconds.clamp(0.0, 253_402_300_799.0) as u64);
    httpdate::fmt_http_date(UNIX_EPOCH + seconds)
}

fn big_figures(findings: &Findings) -> String {
    let card = |class: &str, what: &str, big: &str, more: &str| {
        format!(
            "<div class=\"figure {class}\"><span class=\"what\">{what}</span><span class=\"big\">{big}</span><span class=\"soft\">{more}</span></div>"
        )
    };
    let Some(choice) = findings.choice() else {
        return format!(
            "<div class=\"figures\">{}{}{}</div>",
            card("", "Recommended", "watch only", "no policy here has earned its hits yet"),
            card(
                "good",
                "Right hits",
                &percent(findings.exact.right_rate()),
                "of requests, by equal wording alone"
            ),
            card("risk", "False hits", &percent(findings.exact.false_hit_rate()), "of these hits"),
        );
    };
    let Promised { promise, tally, .. } = choice;
    let interval = tally.interval();
    format!(
        "<div class=\"figures\">{}{}{}</div>",
        card(
            "",
            "Recommended",
            &format!("calibrated: {}", round_percent(*promise)),
            &words::saving(findings, tally)
        ),
        card(
            "good",
            "Right hits",
            &percent(tally.right_rate()),
            "of requests answered rightly from the cache"
        ),
        card(
            "risk",
            "False hits",
            &percent(tally.false_hit_rate()),
            &format!("of hits; 95 %: {} to {}", percent(interval.low), percent(interval.high)),
        ),
    )
}

/// The configuration to paste.
pub(super) fn yaml(findings: &Findings) -> String {
    let (promise, shadow, why) = match findings.choice() {
        Some(choice) => (choice.promise, "0", "serve from the start"),
        None => (0.01, "always", "watch only"),
    };
    let line = |setting: &str, why: &str| format!("  {setting:26}# {why}\n");
    format!(
        "cache:\n{}{}{}{}",
        line("policy: calibrated", "finds its own cut"),
        line(
            &format!("max_false_hit_rate: {promise}"),
            &format!("{} of hits, at most", round_percent(promise))
        ),
        line("strict: false", "true: no contradictions"),
        line(&format!("shadow: {shadow}"), why),
    )
}

fn settings(findings: &Findings) -> String {
    let mut out = String::from("<div class=\"grid2\"><section class=\"card\"><h2>What to do</h2>");
    let _ = write!(
        out,
        "<p>{}</p><div class=\"yaml\"><pre id=\"yaml\">{}</pre><button id=\"copy\" type=\"button\" hidden=\"hidden\">Copy</button></div></section>",
        words::advice(findings),
        escape(&yaml(findings)),
    );
    let _ = write!(
        out,
        "<section class=\"card\"><h2>The choices</h2><div class=\"scroll\"><table><thead><tr><th>policy</th><th class=\"num\">right hits</th>\
         <th class=\"num\">false hits</th><th class=\"num\">cost per 100</th><th>promise</th></tr></thead><tbody>"
    );
    for (at, policy) in findings.promised.iter().enumerate() {
        let name = format!("calibrated: {}", round_percent(policy.promise));
        let kept = match (&findings.source, policy.kept) {
            (Source::Stream { .. }, true) => ("good", "kept"),
            (Source::Stream { .. }, false) => ("bad", "broken"),
            (Source::Shadow { .. }, true) => ("good", "supported"),
            (Source::Shadow { .. }, false) => ("open", "not yet"),
        };
        row(&mut out, &name, &policy.tally, findings.price, Some(kept), Some(at) == findings.recommended);
    }
    if let Some(point) = cheapest(&findings.fixed, findings.price) {
        let name = format!("best fixed: {:.2}", point.setting);
        row(&mut out, &name, &point.tally, findings.price, None, false);
    }
    row(&mut out, "equal wording only", &findings.exact, findings.price, None, false);
    let note = words::choices(findings);
    let _ = writeln!(out, "</tbody></table></div><p class=\"soft note\">{note}</p></section></div>");
    out
}

fn row(out: &mut String, name: &str, tally: &Tally, price: f64, kept: Option<(&str, &str)>, chosen: bool) {
    let class = if chosen { " class=\"chosen\"" } else { "" };
    let kept = kept.map_or_else(
        || "<span class=\"soft\">none</span>".to_owned(),
        |(class, words)| format!("<span class=\"tag {class}\">{words}</span>"),
    );
    let _ = write!(
        out,
        "<tr{class}><td class=\"name-cell\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{:.1}</td><td>{kept}</td></tr>",
        escape(name),
        percent(tally.right_rate()),
        percent(tally.false_hit_rate()),
        100.0 * tally.cost(price),
    );
}

fn reading() -> String {
    format!(
        "<section class=\"card drawn\"><h2>Words used here</h2><div class=\"rest\">{}</div></section>\n",
        words::GLOSSARY
    )
}

fn riskiest(findings: &Findings) -> String {
    let mut out = format!(
        "<section class=\"card pairs-card\"><h2>Judge for yourself: the riskiest hits</h2><p>{}</p>",
        words::riskiest(findings)
    );
    if findings.risky.is_empty() {
        out.push_str("</section>\n");
        return out;
    }
    let likely = if matches!(findings.risky_by, Policy::Fixed { .. })
        && findings.risky.iter().all(|p| p.confidence.is_none())
    {
        ""
    } else {
        "<th class=\"num\">probability</th>"
    };
    let _ = write!(
        out,
        "<table class=\"pairs\"><thead><tr><th class=\"num\">no.</th><th class=\"prompt\">asked</th><th class=\"prompt\">would get the answer to</th><th class=\"num\">cosine</th>{likely}<th>verdict</th></tr></thead><tbody>"
    );
    for (at, pair) in findings.risky.iter().enumerate() {
        pair_row(&mut out, at + 1, pair, !likely.is_empty());
    }
    out.push_str("</tbody></table></section>\n");
    out
}

fn pair_row(out: &mut String, number: usize, pair: &Pair, likely: bool) {
    let unwritten = "<span class=\"soft\">not in the log</span>".to_owned();
    let (asked, remembered) = match (&pair.asked, &pair.remembered) {
        (Some(asked), Some(remembered)) => side_by_side(asked, remembered),
        (asked, remembered) => {
            let alone = |text: &Option<String>| {
                text.as_deref().map_or_else(|| unwritten.clone(), |text| side_by_side(text, text).0)
            };
            (alone(asked), alone(remembered))
        }
    };
    let verdict = match pair.right {
        Some(true) => "<span class=\"tag good\">right</span>",
        Some(false) => "<span class=\"tag bad\">wrong</span>",
        None => "<span class=\"tag open\">not known</span>",
    };
    let confidence = pair.confidence.map_or_else(String::new, percent);
    let confidence = if likely {
        format!("<td class=\"num\" data-name=\"probability\">{confidence}</td>")
    } else {
        String::new()
    };
    let _ = write!(
        out,
        "<tr><td class=\"num\" data-name=\"no.\">{number}</td><td data-name=\"asked\">{asked}</td><td data-name=\"would get the answer to\">{remembered}</td><td class=\"num\" data-name=\"cosine\">{:.3}</td>{confidence}<td class=\"verdict\" data-name=\"verdict\">{verdict}</td></tr>",
        pair.similarity,
    );
}
