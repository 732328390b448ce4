//! Comparing pairs of versions line by line, for scripts and for checks against an ecosystem's own tool.

use std::cmp::Ordering;
use std::io::{self, BufRead, Read, Write};

use crate::scheme::{MAX_LENGTH, Scheme};

/// The longest line, in bytes: two versions, what separates them, and the line feed.
const MAX_LINE: u64 = 2 * MAX_LENGTH as u64 + 64;

/// How many lines [`compare_lines`] answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinesSummary {
    /// All lines.
    pub lines: u64,
    /// Lines answered with `!`.
    pub invalid: u64,
}

/// Reads lines `A B`, two versions with white space between them, and writes one line for each: `<`, `=` or `>`, or
/// `! reason` where a version is invalid or the line is not two versions. Memory use is bounded whatever the input.
///
/// # Errors
///
/// Those of the reader and the writer.
pub fn compare_lines(
    scheme: Scheme,
    mut reader: impl BufRead,
    mut writer: impl Write,
) -> io::Result<LinesSummary> {
    let mut summary = LinesSummary::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let complete = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE;
        if !complete {
            skip_line(&mut reader)?;
        }
        summary.lines += 1;
        let answer = if complete { compare_line(scheme, &line) } else { Err("line too long".to_owned()) };
        match answer {
            Ok(Ordering::Less) => writer.write_all(b"<\n")?,
            Ok(Ordering::Equal) => writer.write_all(b"=\n")?,
            Ok(Ordering::Greater) => writer.write_all(b">\n")?,
            Err(reason) => {
                summary.invalid += 1;
                writeln!(writer, "! {reason}")?;
            }
        }
    }
    writer.flush()?;
    Ok(summary)
}

fn compare_line(scheme: Scheme, line: &[u8]) -> Result<Ordering, String> {
    let line = str::from_utf8(line).map_err(|_| "line is not UTF-8".to_owned())?;
    let mut fields = line.split_whitespace();
    let (Some(a), Some(b), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err("expected two versions".to_owned());
    };
    scheme.compare(a, b).map_err(|e| e.to_string())
}

/// Reads up to and including the next line feed, keeping nothing.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (used, done) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}
