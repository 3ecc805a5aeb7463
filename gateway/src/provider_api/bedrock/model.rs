//! What a model's id tells of the model: Converse is the same for all of them, but what goes beside it is not.

/// Whose model it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    /// Claude, with its version.
    Claude(u32, u32),
    /// Amazon's Nova.
    Nova,
    /// OpenAI's models with open weights.
    OpenAi,
    /// Another one.
    Other,
    /// An ARN that does not name the model: a profile or a provisioned throughput of the operator's.
    Hidden,
}

impl Family {
    /// The family of the model with this id, profile or ARN.
    pub(super) fn of(id: &str) -> Self {
        if let Some((_, name)) = id.split_once("claude-") {
            let (major, minor) = version(name);
            Self::Claude(major, minor)
        } else if id.contains("amazon.nova") {
            Self::Nova
        } else if id.contains("openai.") {
            Self::OpenAi
        } else if id.starts_with("arn:")
            && !id.contains(":foundation-model/")
            && !id.contains(":inference-profile/")
        {
            Self::Hidden
        } else {
            Self::Other
        }
    }

    /// Whether it takes a JSON Schema for its answer, and tools that are strict. AWS lists Claude from 4.5 on, and of the models
    /// with open weights some, which the tool that stands in for it serves as well.
    pub(super) fn takes_schemas(self) -> bool {
        matches!(self, Self::Claude(major, minor) if (major, minor) >= (4, 5))
    }

    /// Whether it is told how hard to think by a word, where others are told by how many tokens.
    pub(super) fn thinks_adaptively(self) -> bool {
        matches!(self, Self::Claude(major, minor) if (major, minor) >= (4, 6))
    }

    /// Whether it can think before it answers, and be told so.
    pub(super) fn thinks(self) -> bool {
        matches!(self, Self::Claude(major, minor) if (major, minor) >= (3, 7))
    }
}

/// The version in `3-7-sonnet-20250219-v1:0`, `sonnet-4-5-20250929-v1:0` or `opus-4-20250514-v1:0`. Names without a number are
/// newer than those with one, but for the first ones.
fn version(name: &str) -> (u32, u32) {
    let mut words = name.split(['-', '.', ':', '@', '/']).peekable();
    if matches!(words.peek(), Some(&("instant" | "v1" | "v2"))) {
        return (1, 0);
    }
    // What is longer is a date.
    let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
    let Some(major) = words.by_ref().find_map(number) else { return (u32::MAX, 0) };
    (major, words.next().and_then(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claude_is_known_by_its_version_wherever_it_stands() {
        let expected = [
            ("anthropic.claude-3-7-sonnet-20250219-v1:0", (3, 7)),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", (4, 0)),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", (4, 5)),
            ("anthropic.claude-opus-4-6-v1", (4, 6)),
            ("anthropic.claude-opus-5", (5, 0)),
            ("anthropic.claude-v2:1", (1, 0)),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0", (4, 5)),
            ("anthropic.claude-mythos-preview", (u32::MAX, 0)),
        ];
        for (id, (major, minor)) in expected {
            assert_eq!(Family::of(id), Family::Claude(major, minor), "{id}");
        }
    }

    #[test]
    fn the_others_are_known_by_their_maker_and_an_arn_may_hide_it() {
        assert_eq!(Family::of("us.amazon.nova-pro-v1:0"), Family::Nova);
        assert_eq!(Family::of("openai.gpt-oss-120b-1:0"), Family::OpenAi);
        assert_eq!(Family::of("meta.llama3-1-70b-instruct-v1:0"), Family::Other);
        let profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3";
        assert_eq!(Family::of(profile), Family::Hidden);
    }
}
