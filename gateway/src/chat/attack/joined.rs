//! Texts of one speaker that follow each other, read as one: what is cut in two is seen where the pieces meet.

use sluice_guardrails::{Channel, Step};

use super::Seen;

/// Of a text that is longer than twice this only the beginning and the end are joined to what stands beside it: its middle was
/// judged by itself.
const EDGE: usize = 1024;
/// How much text is read as one. What is longer is read in stretches that overlap by [`EDGE`].
const MOST: usize = 8 * 1024;

/// How texts are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// With a space between them.
    Spaced,
    /// As they are, for words that were cut.
    Glued,
}

/// Texts that are read as one; each with its number.
#[derive(Default)]
pub(super) struct Stretch {
    channel: Channel,
    pieces: Vec<(usize, String)>,
    bytes: usize,
    seen: Seen,
}

/// The texts of one speaker so far.
#[derive(Default)]
pub(super) struct Run {
    place: Vec<Step>,
    stretch: Stretch,
}

impl Run {
    /// Takes the next text. What it gives back is complete.
    pub(super) fn push(
        &mut self,
        (channel, place): (Channel, &[Step]),
        (number, text): (usize, &str),
        seen: Seen,
    ) -> Option<Stretch> {
        let is_same = channel == self.stretch.channel && place == self.place;
        let done = if is_same { None } else { self.next(channel, place) };
        if text.len() > 2 * EDGE {
            let head = &text[..text.floor_char_boundary(EDGE)];
            let tail = &text[text.ceil_char_boundary(text.len() - EDGE)..];
            self.stretch.add(number, head, seen);
            // Behind another speaker's texts the head stands alone.
            let done = self.next(channel, place).or(done);
            self.stretch.add(number, tail, seen);
            return done;
        }
        let is_full = self.stretch.bytes + text.len() > MOST;
        let done = if is_full { self.overlap() } else { done };
        self.stretch.add(number, text, seen);
        done
    }

    /// Gives the rest; somebody else speaks from now on, or nobody.
    pub(super) fn end(&mut self, channel: Channel) -> Option<Stretch> {
        self.next(channel, &[])
    }

    /// Begins anew; gives what was read so far, if that is more than one text.
    fn next(&mut self, channel: Channel, place: &[Step]) -> Option<Stretch> {
        if place != self.place {
            self.place = place.to_vec();
        }
        let done = std::mem::replace(&mut self.stretch, Stretch { channel, ..Stretch::default() });
        Some(done).filter(|done| done.pieces.len() > 1)
    }

    /// Begins anew with the end of what was read.
    fn overlap(&mut self) -> Option<Stretch> {
        let place = std::mem::take(&mut self.place);
        let done = self.next(self.stretch.channel, &place)?;
        let mut bytes = 0;
        let again = done.pieces.iter().rev().take_while(|(_, text)| {
            let is_wanted = bytes < EDGE;
            bytes += text.len();
            is_wanted
        });
        let again: Vec<&(usize, String)> = again.collect();
        for (number, text) in again.into_iter().rev() {
            self.stretch.add(*number, text, done.seen);
        }
        Some(done)
    }
}

impl Stretch {
    fn add(&mut self, number: usize, text: &str, seen: Seen) {
        self.pieces.push((number, text.to_owned()));
        self.bytes += text.len();
        self.seen.flagged |= seen.flagged;
        self.seen.refused |= seen.refused;
    }

    /// Who speaks.
    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    /// What was seen in any of them by itself.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The number of the one at this place.
    pub(super) fn number(&self, place: usize) -> usize {
        self.pieces[place].0
    }

    /// How they are to be read: also without spaces, if a word may have been cut.
    pub(super) fn joins(&self) -> impl Iterator<Item = Join> + use<> {
        let is_cut = |pair: &[(usize, String)]| {
            pair[0].1.ends_with(char::is_alphanumeric) && pair[1].1.starts_with(char::is_alphanumeric)
        };
        let cut = self.pieces.windows(2).any(is_cut).then_some(Join::Glued);
        std::iter::once(Join::Spaced).chain(cut)
    }

    /// Those from a place on, as one.
    pub(super) fn text(&self, from: usize, join: Join) -> String {
        let pieces: Vec<&str> = self.pieces[from..].iter().map(|(_, text)| text.as_str()).collect();
        pieces.join(if join == Join::Spaced { " " } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stretches of texts of one speaker: how many texts and bytes each has.
    fn stretches(texts: &[String]) -> Vec<(usize, usize)> {
        let mut run = Run::default();
        let mut done: Vec<Stretch> = texts
            .iter()
            .enumerate()
            .filter_map(|(at, text)| run.push((Channel::User, &[]), (at, text), Seen::default()))
            .collect();
        done.extend(run.end(Channel::User));
        done.iter().map(|stretch| (stretch.len(), stretch.bytes)).collect()
    }

    #[test]
    fn of_long_texts_only_the_edges_are_joined_and_stretches_are_bounded_and_overlap() {
        assert_eq!(stretches(&["a".repeat(100_000)]), []);
        let long = vec!["é".repeat(5_000), "b".to_owned(), "ü".repeat(5_000)];
        assert_eq!(stretches(&long), [(3, 2 * EDGE + 1)]);
        let many = vec!["c".repeat(100); 200];
        let read = stretches(&many);
        assert!(read.len() == 3 && read.iter().all(|(_, bytes)| *bytes <= MOST), "{read:?}");
        assert_eq!(read.iter().map(|(count, _)| count).sum::<usize>(), 200 + 2 * 11);
    }

    #[test]
    fn another_speaker_ends_a_stretch() {
        let mut run = Run::default();
        let mut push = |channel, text| run.push((channel, &[]), (1, text), Seen::default());
        assert!(push(Channel::User, "one").is_none() && push(Channel::User, "two").is_none());
        let done = push(Channel::Tool, "three").unwrap();
        assert_eq!(done.text(0, Join::Spaced), "one two");
        assert_eq!(done.text(0, Join::Glued), "onetwo");
        assert!(push(Channel::User, "four").is_none());
    }
}
