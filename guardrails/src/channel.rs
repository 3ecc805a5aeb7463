//! Who speaks where: the channels of a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where in a request a text comes from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// What the operator of the program that asks says: system and developer messages.
    System,
    /// What people say. Texts of which nothing else is known are theirs.
    #[default]
    User,
    /// What tools gave back.
    Tool,
    /// Documents that were retrieved, or that people attach.
    Document,
    /// What the model said before, with the arguments of its tool calls.
    Assistant,
    /// Everything beside the messages: definitions of tools, metadata, fields that nobody knows. Rules for `user` hold for it, too,
    /// unless it has its own.
    Parameters,
}

impl Channel {
    /// All of them, in the order of their numbers.
    pub const ALL: [Channel; 6] = [
        Channel::System,
        Channel::User,
        Channel::Tool,
        Channel::Document,
        Channel::Assistant,
        Channel::Parameters,
    ];

    /// Its name, as it is written in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Channel::System => "system",
            Channel::User => "user",
            Channel::Tool => "tool",
            Channel::Document => "document",
            Channel::Assistant => "assistant",
            Channel::Parameters => "parameters",
        }
    }
}

/// How a JSON value is read: what is left alone in it, and who speaks where. Both are asked with the keys that lead to a value;
/// those of arrays' items are those of the array.
#[derive(Clone, Copy)]
pub struct Reading<'r> {
    /// Whether a string or number is left as it is.
    pub skip: &'r dyn Fn(&[&str], &str) -> bool,
    /// Who speaks in a value and in what is in it; none: whoever speaks around it.
    pub channel: &'r dyn Fn(&[&str], &Value) -> Option<Channel>,
    /// Who speaks where nothing is said.
    pub standard: Channel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_s_number_is_its_place_and_its_name_what_is_written() {
        for (place, channel) in Channel::ALL.into_iter().enumerate() {
            assert_eq!(channel as usize, place);
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.name());
        }
    }
}
