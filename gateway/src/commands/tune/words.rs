//! What the report says about its figures, in plain words. All of it is HTML whose values are numbers and policies.

use sluice_engine::decide::Policy;

use super::findings::{Bin, Findings, Source, Tally, cheapest};
use super::text::{count, percent, round_percent};

/// Terms of the page.
pub(super) const GLOSSARY: &str = "<p><b>Hit:</b> a request answered from the cache. <b>Right hit:</b> its answer is the one the \
    provider gives. <b>False hit:</b> it isn't; its share is counted among hits, so that it doesn't shrink because little is served.</p>\
    <p><b>Fixed:</b> the nearest remembered prompt answers from one cosine similarity on, whatever it is about. <b>Calibrated:</b> the \
    cache reckons the probability that the answer is right from similarity, neighbours and contradictions between both prompts (numbers, \
    names, negation), and learns from every fresh answer. You state how many hits may be wrong; where it cuts is its own affair.</p>\
    <p><b>Spot check:</b> a served hit that is asked upstream as well, so that the cache notices when it errs. At most 5 of 100 requests.</p>\
    <p><b>In hindsight:</b> chosen with all answers known. Nobody can set that beforehand; live policies have to find it.</p>\
    <p>Point at any mark of a chart to read its figures.</p>";

/// What the recommended policy saves.
pub(super) fn saving(findings: &Findings, tally: &Tally) -> String {
    let saved = 100.0 * (1.0 - tally.cost(findings.price));
    format!("saves {saved:.0} of 100 provider calls, wrong answers charged")
}

/// What to do.
pub(super) fn advice(findings: &Findings) -> String {
    let live = matches!(findings.source, Source::Stream { .. });
    let Some(choice) = findings.choice() else {
        return if live {
            "No policy both kept its promise and cost less than serving equal wording alone. Let the cache watch: it serves nothing by \
             meaning, learns from your providers' answers, and counts what it would have served and what would have been wrong. Then run \
             this again on its log."
        } else {
            "The log doesn't yet speak for any promise: it has too few verdicts on candidates that the cache was sure of. Keep watching. As a \
             rule, a promise of 1 % needs 300 right verdicts in a row, one of 2 % needs 150."
        }
        .to_owned();
    };
    let promise = round_percent(choice.promise);
    let why = if live {
        "It was the cheapest of the policies that kept their promise here, running as the gateway runs it: nothing was chosen in hindsight."
    } else {
        "Of the promises that the log speaks for with 95 % confidence it is the cheapest."
    };
    format!(
        "Paste this into your configuration. At most {promise} of the hits may then be wrong; the cache moves its own cut to keep to that. {why}"
    )
}

/// On the table of choices.
pub(super) fn choices(findings: &Findings) -> String {
    let price = findings.price;
    match findings.source {
        Source::Stream { orders, .. } => format!(
            "Means of {orders} {}. Cost: provider calls per 100 requests, spot checks included, each wrong answer charged as {price}. \
             Without a cache it is 100. A promise counts as broken if so many wrong hits would be rare (p &lt; 0.05) had it been kept, in \
             more than one of 20 orders.",
            if orders == 1 { "order" } else { "orders" }
        ),
        Source::Shadow { .. } => format!(
            "What the log says, cut at the laxest probability that it supports with 95 % confidence. Cost: provider calls per 100 requests, \
             each wrong answer charged as {price}; spot checks will add up to 5. Without a cache it is 100."
        ),
    }
}

/// On the precision chart.
pub(super) fn precision(findings: &Findings) -> String {
    let start = "Up is safer, right is cheaper. Each step of the left scale halves the wrong hits, more or less; at its top it is 99.9 % or more.";
    let live = findings.choice();
    let Some(choice) = live else {
        return format!("{start} Nothing served by meaning was worth it here.");
    };
    let wanted = choice.tally.false_hit_rate().max(1e-9);
    let fixed = findings.fixed.iter().filter(|point| point.tally.false_hit_rate() <= wanted);
    let most = fixed.map(|point| point.tally.right_rate()).fold(findings.exact.right_rate(), f64::max);
    format!(
        "{start} At {} wrong hits the recommended policy answers {} of requests rightly; the best fixed threshold that is as safe, known only \
         in hindsight, answers {}.",
        percent(choice.tally.false_hit_rate()),
        percent(choice.tally.right_rate()),
        percent(most),
    )
}

/// On the cost chart.
pub(super) fn cost(findings: &Findings) -> String {
    let price = findings.price;
    let least = cheapest(&findings.cuts, price).map(|point| point.tally.cost(price));
    let fixed = cheapest(&findings.fixed, price).map(|point| (point.tally.cost(price), point.setting));
    let fixed = fixed.map_or_else(String::new, |(cost, setting)| {
        format!(" No fixed threshold comes below {:.0} (at {setting:.2}).", 100.0 * cost)
    });
    let cut = least
        .map_or_else(String::new, |cost| format!(" The calibrated line goes down to {:.0}.", 100.0 * cost));
    format!(
        "You said that one wrong answer costs as much as {price} provider calls. Serving more saves calls until wrong answers eat the \
         savings.{fixed}{cut} If your price differs, run again with <code>--price-of-wrong</code>."
    )
}

/// On errors over time.
pub(super) fn errors(findings: &Findings) -> String {
    let more = match findings.choice() {
        Some(choice) => {
            let worst = choice.tenths.iter().map(Tally::false_hit_rate).fold(0.0, f64::max);
            format!(
                " The recommended policy's worst tenth had {} wrong; the promise of {} is about all hits together, so single tenths may lie above.",
                percent(worst),
                round_percent(choice.promise)
            )
        }
        None => String::new(),
    };
    format!(
        "The requests in ten equal parts, in order. A fixed threshold doesn't learn; as the cache fills, it meets more look-alikes.{more}"
    )
}

/// On hits over time.
pub(super) fn hits(findings: &Findings) -> String {
    if matches!(findings.source, Source::Shadow { .. }) {
        return "What would have been answered rightly in each tenth of the log. If it still rises at the right end, the cache is still \
                filling; if it falls, questions are changing faster than it learns."
            .to_owned();
    }
    let tenths = findings.choice().map(|choice| choice.tenths.as_slice()).unwrap_or_default();
    let ends = tenths.first().zip(tenths.last());
    let ends = ends.map_or_else(String::new, |(first, last)| {
        format!(
            " Here the recommended policy went from {} in the first tenth to {} in the last.",
            percent(first.right_rate()),
            percent(last.right_rate())
        )
    });
    format!(
        "An empty cache answers nothing: judge a policy by the right end, where yours will be after a while.{ends}"
    )
}

/// On the reliability diagram: how far off it is, on average over candidates.
pub(super) fn reliability(findings: &Findings) -> String {
    let all: u64 = findings.reliability.iter().map(|bin| bin.all).sum();
    if all == 0 {
        return "No candidate has both a probability and a verdict.".to_owned();
    }
    let gap = |bin: &Bin| (bin.right as f64 / bin.all as f64 - bin.confidence).abs() * bin.all as f64;
    let gap = findings.reliability.iter().map(gap).sum::<f64>() / all as f64;
    format!(
        "When the cache says 95 %, is it right 95 times of 100? On the dashed line it is; below it was too sure, above too shy. {} \
         candidates, served or not; on average its probability is {:.1} points off.",
        count(all as f64),
        100.0 * gap
    )
}

/// On the pairs.
pub(super) fn riskiest(findings: &Findings) -> String {
    if findings.risky.is_empty() {
        return "Nothing would have been served by meaning, so there is nothing to judge.".to_owned();
    }
    let by = match (&findings.source, findings.risky_by) {
        (Source::Shadow { .. }, _) => "the watching cache would have served".to_owned(),
        (_, Policy::Calibrated { max_false_hit_rate, .. }) => {
            format!("calibrated: {} served in the first order", round_percent(max_false_hit_rate))
        }
        (_, policy) => format!("the cheapest fixed threshold ({policy}) served in the first order"),
    };
    format!(
        "From what {by}: first wrong ones, those that looked best on top, then those that the cache was least sure of. Words that only one \
         side has are <mark>marked</mark>. If you would not mind a pair called wrong, your labels are stricter than you are; if you mind one \
         called right, lower <code>max_false_hit_rate</code>."
    )
}

/// How the figures came about.
pub(super) fn method(findings: &Findings) -> String {
    match &findings.source {
        Source::Stream { orders, model } => format!(
            "<p>Each request of the file was put to an empty cache in {orders} {} of arrival; the first is the file's own unless another was asked \
             for. Every point of every line is a replay of its own through the code that decides in the gateway, since what is served isn't \
             stored, and a laxer policy therefore meets a smaller cache. The simulated provider answers with the request's intent (and its id \
             where the answer can't be shared; such hits of the same intent count neither as right nor as wrong).</p>\
             <p>Intervals are those of Clopper and Pearson at 95 %, for as many hits as one order has. Prompts longer than the window of {} are \
             only answered by equal wording. Prompts beside each other are the request and the one whose answer it would get; the cosine is \
             that to the nearest prompt with this answer.</p>",
            if *orders == 1 { "order" } else { "orders" },
            super::text::escape(model),
        ),
        Source::Shadow { lines, judged, numbered, .. } => format!(
            "<p>The log's {} lines were cut at each height; {} of them have a verdict, the others are taken to be wrong as often as those. {} \
             Nothing was served while it was written, so every answer was remembered; a cache that serves remembers somewhat less and finds \
             somewhat fewer hits. Requests of equal wording are no part of the log.</p>\
             <p>A promise is supported if the upper bound (Clopper and Pearson, 95 %, one-sided) of the false hits lies within it, for this cut \
             and for all stricter ones that have verdicts enough.</p>",
            count(*lines as f64),
            count(*judged as f64),
            if *numbered {
                "Shares are of all requests that asked the semantic tier."
            } else {
                "It doesn't say how many requests there were: shares are of its lines."
            },
        ),
    }
}
