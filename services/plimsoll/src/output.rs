//! Tables, colours and errors on a terminal.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};

use crate::error::CliError;

/// Prints an error: its code, what happened, and what to do.
pub fn report(error: &CliError) {
    let (red, bold, plain) =
        if std::io::stderr().is_terminal() { ("\x1b[31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    eprintln!("{red}error{plain} {bold}{}{plain}: {}", error.code, clean(&error.message));
    if let Some(hint) = &error.hint {
        eprintln!("  {}", clean(hint));
    }
}

/// Text of images and advisories is hostile: control characters do not reach a terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// An empty table that fits the terminal; piped, its lines are as long as they need to be.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// Prints to standard output; a reader that has gone is no error.
pub fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // `plimsoll findings | head` ends like this.
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
}

/// As [`clean`], on one line: for cells of tables and lines of summaries.
pub fn clean_line(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

/// True for control characters, and for those that turn the direction of text and so show another order than is there.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A whole answer as it may go to a terminal: line feeds and tabs stay. What is piped stays as it is.
pub fn for_terminal(text: &str) -> std::borrow::Cow<'_, str> {
    if !std::io::stdout().is_terminal() {
        return text.into();
    }
    text.chars().map(|c| if is_unsafe(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// The lines of a table, without the blanks around it.
pub fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    text
}
