//! The events of a stream as a client of this format is told of them; see [`crate::wire::responses`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::wire::anthropic::{BLOCKS, ENDED, SHOWN};
use crate::wire::chat::{Delta, NATIVE};
use crate::wire::responses::{MARK, grows, set_apart};

/// Numbers the events of one stream.
#[cfg_attr(test, derive(Clone))]
#[derive(Default)]
pub(super) struct Numbers {
    next: u64,
    /// Of the texts that are under way, by their kind and place.
    texts: BTreeMap<String, u64>,
}

impl Numbers {
    /// Tells a client of an event. `shown`: it sees something by it that no other format would show.
    pub(super) fn tell(&mut self, kind: &str, mut event: Map<String, Value>, shown: bool, delta: &mut Delta) {
        event.remove("sequence_number");
        // Random padding against those who guess texts from the sizes of packets.
        event.remove("obfuscation");
        let mut native = Map::from_iter([(MARK.to_owned(), json!(true))]);
        if let (Some(field), Some(Value::String(_))) = (grows(kind), event.get("delta")) {
            let piece = event.remove("delta").unwrap_or_default();
            let (number, is_new) = self.text(place(kind, &event));
            if !is_new {
                event.retain(|name, value| name == "logprobs" && *value != json!([]));
            }
            event.insert(field.to_owned(), piece);
            event.insert("index".to_owned(), json!(number));
        } else {
            let mut ended = vec![self.number()];
            let text = kind.strip_suffix(".done").map(|of| place(&format!("{of}.delta"), &event));
            ended.extend(text.and_then(|text| self.texts.remove(&text)));
            set_apart(&mut event);
            event.insert("index".to_owned(), json!(ended[0]));
            native.insert(ENDED.to_owned(), json!(ended));
        }
        native.insert(BLOCKS.to_owned(), json!([event]));
        if shown {
            native.insert(SHOWN.to_owned(), json!(true));
        }
        delta.rest.insert(NATIVE.to_owned(), Value::Object(native));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The number of the text at a place, and whether it begins.
    fn text(&mut self, place: String) -> (u64, bool) {
        if let Some(number) = self.texts.get(&place) {
            return (*number, false);
        }
        let number = self.number();
        self.texts.insert(place, number);
        (number, true)
    }
}

/// Which text an event is about.
fn place(kind: &str, event: &Map<String, Value>) -> String {
    let ids = ["item_id", "output_index", "content_index", "summary_index", "command_index"];
    let ids = ids.map(|name| event.get(name).map(Value::to_string).unwrap_or_default());
    format!("{kind} {}", ids.join(" "))
}
