//! From examples and counter-examples to a threshold.

use super::nearest;

/// What was fitted, and how well it tells the examples apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The least similarity of what is about the topic.
    pub threshold: f32,
    /// Examples that would not be found by the others.
    pub missed: usize,
    /// Counter-examples that would be taken for the topic.
    pub taken: usize,
}

/// The threshold that tells most of `examples`, each compared with the others, from most of `others`: where the shares found of both
/// differ most, and of all such thresholds the middle one.
pub fn fit(examples: &[Vec<f32>], others: &[&[f32]]) -> Fit {
    let own: Vec<f32> = (0..examples.len())
        .map(|left_out| {
            let rest = examples.iter().enumerate().filter(|(at, _)| *at != left_out);
            nearest(rest.map(|(_, vector)| vector.as_slice()), &examples[left_out])
        })
        .collect();
    let foreign: Vec<f32> =
        others.iter().map(|vector| nearest(examples.iter().map(Vec::as_slice), vector)).collect();
    let threshold = between(&own, &foreign);
    let missed = own.iter().filter(|similarity| **similarity < threshold).count();
    let taken = foreign.iter().filter(|similarity| **similarity >= threshold).count();
    Fit { threshold, missed, taken }
}

/// Between two neighbouring similarities there is nothing to tell thresholds apart, so the middle stands for all.
fn between(own: &[f32], foreign: &[f32]) -> f32 {
    let mut edges: Vec<f32> = own.iter().chain(foreign).copied().chain([-1.0, 1.0]).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup();
    let share = |of: &[f32], from: f32| {
        of.iter().filter(|similarity| **similarity >= from).count() as f64 / of.len().max(1) as f64
    };
    let gaps = edges.windows(2).map(|pair| (pair[0].midpoint(pair[1]), pair[1] - pair[0]));
    let scored = gaps.map(|(middle, width)| (share(own, middle) - share(foreign, middle), width, middle));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    best.map_or(1.0, |(_, _, middle)| middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f32) -> Vec<f32> {
        vec![degrees.to_radians().cos(), degrees.to_radians().sin()]
    }

    #[test]
    fn a_threshold_lies_midway_between_examples_and_all_else() {
        let examples = [at(0.0), at(10.0), at(20.0)];
        let others = [at(80.0), at(120.0)];
        let others: Vec<&[f32]> = others.iter().map(Vec::as_slice).collect();
        let fit = fit(&examples, &others);
        let middle = 10f32.to_radians().cos().midpoint(60f32.to_radians().cos());
        assert!((fit.threshold - middle).abs() < 1e-5, "{fit:?}");
        assert_eq!((fit.missed, fit.taken), (0, 0));
    }

    #[test]
    fn an_example_that_is_like_no_other_does_not_open_the_topic_to_everything() {
        let examples = [at(0.0), at(5.0), at(10.0), at(180.0)];
        let others: Vec<Vec<f32>> = (0..10u8).map(|step| at(60.0 + f32::from(step) * 5.0)).collect();
        let others: Vec<&[f32]> = others.iter().map(Vec::as_slice).collect();
        let fit = fit(&examples, &others);
        assert_eq!((fit.missed, fit.taken), (1, 0), "{fit:?}");
        assert!(fit.threshold > 50f32.to_radians().cos());
    }

    #[test]
    fn the_same_sentences_as_examples_and_counter_examples_still_give_a_threshold() {
        let examples = [at(0.0), at(0.0), at(0.0)];
        let fit = fit(&examples, &[&examples[0]]);
        assert!(fit.threshold.is_finite() && fit.threshold <= 1.0, "{fit:?}");
    }
}
