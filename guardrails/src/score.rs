//! Evidence for a finding, added up as log-odds.
//!
//! A check digit is evidence, not certainty: one number in ten passes Luhn. So a finding starts from a prior for
//! its printed form and collects weights, in powers of ten, from checksum, number range and context words.

use schemars::JsonSchema;
use serde::Deserialize;

/// The three bands of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// From 0.3 on: worth a look by a person.
    Possible,
    /// From 0.6 on: acted on unless a policy says otherwise.
    Likely,
    /// From 0.9 on.
    Certain,
}

impl Band {
    /// The least score of the band.
    pub fn least(self) -> f32 {
        match self {
            Band::Possible => 0.3,
            Band::Likely => LIKELY,
            Band::Certain => 0.9,
        }
    }

    /// The highest band that a score is in, `None` under 0.3.
    pub fn of(score: f32) -> Option<Band> {
        [Band::Certain, Band::Likely, Band::Possible].into_iter().find(|band| score >= band.least())
    }
}

impl std::str::FromStr for Band {
    type Err = String;

    fn from_str(text: &str) -> Result<Band, String> {
        match text {
            "possible" => Ok(Band::Possible),
            "likely" => Ok(Band::Likely),
            "certain" => Ok(Band::Certain),
            _ => Err("expected possible, likely or certain".to_owned()),
        }
    }
}

/// Where the band "likely" starts.
pub(crate) const LIKELY: f32 = 0.6;

/// Decimal log-odds that a candidate is what it looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence(f32);

impl Evidence {
    /// Starts from the prior of a printed form: 0 means one in two, -1 one in eleven.
    pub(crate) fn prior(log_odds: f32) -> Evidence {
        Evidence(log_odds)
    }

    /// A check passed that a random candidate passes with probability `p`.
    pub(crate) fn checksum(self, p: f32) -> Evidence {
        Evidence(self.0 - p.log10())
    }

    /// Adds `weight` (negative: evidence against) if `seen`.
    pub(crate) fn when(self, seen: bool, weight: f32) -> Evidence {
        if seen { Evidence(self.0 + weight) } else { self }
    }

    /// The probability.
    pub(crate) fn score(self) -> f32 {
        1.0 / (1.0 + 10f32.powf(-self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_digit_checksum_moves_the_odds_tenfold_and_no_more() {
        let score = Evidence::prior(0.0).checksum(0.1).score();
        assert!((score - 10.0 / 11.0).abs() < 1e-6);
    }

    #[test]
    fn every_score_from_three_tenths_on_is_in_a_band() {
        let bands = [0.29, 0.3, 0.6, 0.9].map(Band::of);
        assert_eq!(bands, [None, Some(Band::Possible), Some(Band::Likely), Some(Band::Certain)]);
    }
}
