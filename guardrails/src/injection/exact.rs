//! Exponentials that come out alike on every machine: the platform's own may differ in the last bit.

/// e to the power of `x`.
pub(crate) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    let halves = (x / std::f64::consts::LN_2).round();
    let rest = x - halves * std::f64::consts::LN_2;
    // Taylor's series; the rest is at most 0.35.
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..=16 {
        term *= rest / f64::from(n);
        sum += term;
    }
    let exponent = (halves as i64 + 1023).clamp(1, 2046) as u64;
    sum * f64::from_bits(exponent << 52)
}

/// The probability of log odds.
pub(crate) fn probability(odds: f64) -> f64 {
    1.0 / (1.0 + exp(-odds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_platform_to_a_hair() {
        for x in [-50.0, -3.3, -0.1, 0.0, 0.34, 1.0, 17.5, 100.0] {
            let own = exp(x);
            assert!((own / f64::exp(x) - 1.0).abs() < 1e-13, "{x}");
        }
        assert_eq!((exp(-1000.0), probability(0.0)), (0.0, 0.5));
    }
}
