//! The lines of a file with their numbers, in batches that a gateway takes at once.

use std::io::{self, BufRead};
use std::mem;

/// Most lines of a batch.
const MOST_LINES: usize = 64;
/// Most bytes of a batch that has more than one line.
const MOST_BYTES: usize = 256 * 1024;
/// What some editors put at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is not empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// Without its end; none if it is longer than allowed.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads a file batch by batch, so that its size does not matter.
pub(super) struct Batches<R> {
    reader: R,
    /// Longest line.
    most: usize,
    number: usize,
    next: Option<Line>,
}

impl<R: BufRead> Batches<R> {
    /// Of lines of up to `most` bytes; of a longer one only its number is given.
    pub(super) fn new(reader: R, most: usize) -> Self {
        Self { reader, most, number: 0, next: None }
    }

    /// The next lines; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Vec<Line>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let most = MOST_BYTES.min(self.most);
        while batch.len() < MOST_LINES {
            let line = match self.next.take() {
                Some(line) => line,
                None => match self.line()? {
                    Some(line) => line,
                    None => break,
                },
            };
            // With the line's end.
            bytes += line.bytes.as_ref().map_or(0, |bytes| bytes.len() + 1);
            if bytes > most && !batch.is_empty() {
                self.next = Some(line);
                break;
            }
            batch.push(line);
        }
        Ok(batch)
    }

    /// The next line that is not empty.
    fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let (mut line, mut too_long, mut ended) = (Vec::new(), false, false);
            let mut any = false;
            while !ended {
                let part = self.reader.fill_buf()?;
                if part.is_empty() {
                    break;
                }
                any = true;
                let end = part.iter().position(|byte| *byte == b'\n');
                let taken = end.unwrap_or(part.len());
                too_long |= line.len() + taken > self.most;
                if too_long {
                    line = Vec::new();
                } else {
                    line.extend_from_slice(&part[..taken]);
                }
                ended = end.is_some();
                self.reader.consume(taken + usize::from(ended));
            }
            if !any {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            if too_long || !line.trim_ascii().is_empty() {
                let bytes = (!too_long).then(|| mem::take(&mut line));
                return Ok(Some(Line { number: self.number, bytes }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// All batches of a text that is read so many bytes at a time.
    fn batches(text: &[u8], most: usize, at_a_time: usize) -> Vec<Vec<Line>> {
        let mut batches = Batches::new(BufReader::with_capacity(at_a_time, text), most);
        let mut all = Vec::new();
        loop {
            let batch = batches.next().unwrap();
            if batch.is_empty() {
                return all;
            }
            all.push(batch);
        }
    }

    fn line(number: usize, bytes: &[u8]) -> Line {
        Line { number, bytes: Some(bytes.to_vec()) }
    }

    #[test]
    fn lines_keep_their_numbers_wherever_reading_cuts_them() {
        let text = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"a\":\xff}\nlast";
        for at_a_time in 1..=text.len() {
            let lines: Vec<Line> = batches(text, 100, at_a_time).into_iter().flatten().collect();
            assert_eq!(lines, [line(1, b"{\"a\":1}\r"), line(4, b"{\"a\":\xff}"), line(5, b"last")]);
        }
        assert!(batches(b"", 9, 1).is_empty() && batches(b"\n\n", 9, 1).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_told_by_its_number_and_the_next_ones_go_on() {
        for at_a_time in 1..30 {
            let lines: Vec<Line> =
                batches(b"0123456789x\n0123456789\ny", 10, at_a_time).into_iter().flatten().collect();
            assert_eq!(lines, [Line { number: 1, bytes: None }, line(2, b"0123456789"), line(3, b"y")]);
        }
    }

    #[test]
    fn batches_are_bounded_by_lines_and_bytes_and_lose_nothing() {
        let short = b"x\n".repeat(200);
        let sizes: Vec<usize> = batches(&short, 1 << 20, 8192).iter().map(Vec::len).collect();
        assert_eq!(sizes, [64, 64, 64, 8]);
        let long = [vec![b'x'; 100 * 1024], b"\n".to_vec()].concat().repeat(5);
        let sizes: Vec<usize> = batches(&long, 1 << 20, 8192).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 1]);
        let numbers: Vec<usize> =
            batches(&long, 1 << 20, 8192).into_iter().flatten().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }
}
