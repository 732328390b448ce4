//! A difference as a comment on a pull request.

use plimsoll_model::vex::Statement;

use super::diff::table_lines;
use super::md_line;
use crate::diff::{ChangeKind, ConnDiff};
use crate::effects::{Effect, Urgency};

/// Most findings that are shown.
const MAX_FINDINGS: usize = 25;
/// Most connections in the folded table; hosts of code bound the length of a comment.
const MAX_ROWS: usize = 200;

/// Text that names of objects come in with, so that none of it acts as Markdown, HTML or a mention.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            // A mention would call people.
            '@' => out.push_str("@\u{200b}"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A summary line, the findings that matter, and the connections folded; nothing at all when nothing differs.
/// What rules accept is listed with the reason, and counts for nothing.
pub fn print_comment(diff: &ConnDiff, effects: &[Effect], accepted: &[(Effect, &Statement)]) -> String {
    if diff.is_empty() && effects.is_empty() && accepted.is_empty() {
        return String::new();
    }
    let count = |kind| diff.of_kind(kind).count();
    let (added, removed, changed) =
        (count(ChangeKind::Added), count(ChangeKind::Removed), count(ChangeKind::Changed));
    // Connections that may break are in the table, and one line of the list says that there are some.
    let broken =
        effects.iter().filter(|effect| effect.code == "NETPOL005" && effect.urgency == Urgency::Medium);
    let broken = broken.count();
    let matters = |effect: &&Effect| effect.urgency <= Urgency::Medium && effect.code != "NETPOL005";
    let shown: Vec<&Effect> = effects.iter().filter(matters).collect();
    let of = |urgency| shown.iter().filter(|effect| effect.urgency == urgency).count();
    let (high, medium) = (of(Urgency::High), of(Urgency::Medium) + usize::from(broken > 0));
    let rows = added + removed + changed;
    let connections = match rows {
        0 => "no connection differs".to_owned(),
        _ => format!(
            "{rows} {} ({added} added, {removed} removed, {changed} changed)",
            if rows == 1 { "connection differs" } else { "connections differ" }
        ),
    };
    let plural = if high + medium == 1 { "finding" } else { "findings" };
    let findings = match (high, medium) {
        (0, 0) => "no finding that matters".to_owned(),
        (high, 0) => format!("{high} {plural} of high urgency"),
        (0, medium) => format!("{medium} {plural} of medium urgency"),
        (high, medium) => format!("{high} {plural} of high urgency, {medium} of medium"),
    };
    let mut text = format!("**Network policy:** {connections}; {findings}.\n");
    if !shown.is_empty() || broken > 0 {
        text.push('\n');
    }
    for effect in shown.iter().take(MAX_FINDINGS) {
        let urgency = effect.urgency.as_str();
        text.push_str(&format!("- **{urgency}** `{}` {}", effect.code, plain(&effect.message)));
        let others = effect.other_rules();
        if !others.is_empty() {
            let by: Vec<String> = others.iter().take(3).map(|by| plain(by)).collect();
            let rest = others.len().saturating_sub(3);
            let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
            text.push_str(&format!(" (by {}{rest})", by.join("; ")));
        }
        text.push('\n');
    }
    if shown.len() > MAX_FINDINGS {
        text.push_str(&format!("- and {} more\n", shown.len() - MAX_FINDINGS));
    }
    if broken > 0 {
        let (what, them) = match broken {
            1 => ("1 connection is".to_owned(), "it"),
            _ => (format!("{broken} connections are"), "them"),
        };
        text.push_str(&format!(
            "- **medium** `NETPOL005` {what} removed or narrowed, which may break what uses {them}\n"
        ));
    }
    let accepted: Vec<_> = accepted.iter().filter(|(effect, _)| matters(&effect)).collect();
    if !accepted.is_empty() {
        text.push('\n');
    }
    for (effect, rule) in accepted.iter().take(MAX_FINDINGS) {
        let (message, reason) = (plain(&effect.message), plain(&rule.reason));
        text.push_str(&format!("- accepted `{}` {message}: {reason}\n", effect.code));
    }
    if accepted.len() > MAX_FINDINGS {
        text.push_str(&format!("- and {} more accepted\n", accepted.len() - MAX_FINDINGS));
    }
    if rows > 0 {
        text.push_str("\n<details>\n<summary>Connections that differ</summary>\n\n");
        text.push_str(&md_line(&["change", "source", "destination", "before", "after", "workloads"]));
        text.push_str("|---|---|---|---|---|---|\n");
        let lines = table_lines(diff);
        for fields in lines.iter().take(MAX_ROWS) {
            let cells = fields.each_ref().map(|field| plain(field));
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        if lines.len() > MAX_ROWS {
            text.push_str(&format!("\n{} more are not shown.\n", lines.len() - MAX_ROWS));
        }
        text.push_str("\n</details>\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_do_not_act() {
        assert_eq!(plain("a|<b>`@all`\n*"), "a\\|&lt;b&gt;\\`@\u{200b}all\\` \\*");
    }
}
