//! What of the API a model takes, told by its name: Anthropic's names say the generation.
//!
//! From Anthropic's documentation of structured outputs, adaptive thinking and its migration guides (2026): JSON schemas are kept to
//! natively since 4.5, thinking is adaptive since 4.6 and nothing else since 4.7, which takes no sampling parameters either.

/// A model of Anthropic's, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Model {
    /// Major and minor version.
    Claude(u32, u32),
    /// Another one behind the same API: what has always been there.
    Other,
}

/// Names without a version are of models that came after all that had one.
const LATEST: (u32, u32) = (u32::MAX, 0);

impl Model {
    /// By its name, whatever stands before `claude`.
    pub(super) fn of(name: &str) -> Self {
        let Some(at) = name.find("claude") else { return Self::Other };
        let words = name[at..].split(['-', '.', '@', ':', '_']);
        // Dates and family names are no versions.
        let numbers: Vec<u32> =
            words.filter(|word| word.len() <= 2).map_while(|word| word.parse().ok()).collect();
        match numbers.as_slice() {
            [major, minor, ..] => Self::Claude(*major, *minor),
            [major] => Self::Claude(*major, 0),
            [] => Self::Claude(LATEST.0, LATEST.1),
        }
    }

    fn since(self, major: u32, minor: u32) -> bool {
        matches!(self, Self::Claude(a, b) if (a, b) >= (major, minor))
    }

    /// It keeps to a JSON schema by itself; of others behind this API it is taken for granted.
    pub(super) fn keeps_schemas(self) -> bool {
        self == Self::Other || self.since(4, 5)
    }

    /// It takes `temperature` and `top_p` together.
    pub(super) fn takes_both_samplers(self) -> bool {
        !self.since(4, 5)
    }

    /// It decides by itself how much it thinks, by an effort that it is told.
    pub(super) fn is_adaptive(self) -> bool {
        self.since(4, 6)
    }

    /// It takes the effort `xhigh`.
    pub(super) fn takes_xhigh(self) -> bool {
        self.since(4, 7)
    }

    /// It takes `temperature`, `top_p` and `top_k`.
    pub(super) fn samples(self) -> bool {
        !self.since(4, 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_every_form_of_a_name() {
        for (name, model) in [
            ("claude-3-5-sonnet-20241022", Model::Claude(3, 5)),
            ("claude-3-haiku-20240307", Model::Claude(3, 0)),
            ("claude-opus-4-20250514", Model::Claude(4, 0)),
            ("claude-sonnet-4-5-20250929", Model::Claude(4, 5)),
            ("claude-opus-4.6", Model::Claude(4, 6)),
            ("claude-opus-4-5@20251101", Model::Claude(4, 5)),
            ("anthropic.claude-sonnet-4-6-v1:0", Model::Claude(4, 6)),
            ("claude-opus-5", Model::Claude(5, 0)),
            ("claude-mythos-preview", Model::Claude(u32::MAX, 0)),
            ("deepseek-chat", Model::Other),
        ] {
            assert_eq!(Model::of(name), model, "{name}");
        }
    }

    #[test]
    fn what_a_model_takes_follows_its_generation() {
        let takes = |name: &str| {
            let model = Model::of(name);
            [model.keeps_schemas(), model.is_adaptive(), model.takes_xhigh(), !model.samples()]
        };
        assert_eq!(takes("claude-opus-4-1"), [false; 4]);
        assert_eq!(takes("claude-haiku-4-5"), [true, false, false, false]);
        assert_eq!(takes("claude-sonnet-4-6"), [true, true, false, false]);
        assert_eq!(takes("claude-opus-4-7"), [true; 4]);
        assert_eq!(takes("claude-sonnet-5"), [true; 4]);
        assert_eq!(takes("glm-5"), [true, false, false, false]);
    }
}
