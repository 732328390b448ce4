//! A suggestion as YAML to apply, as JSON, and as Markdown for a pull request.

use serde_json::{Value, json};

use crate::diff::{ChangeKind, ConnDiff};
use crate::format::{OutputFormat, md_line, print_diff};

use super::document::line;
use super::predict::Suggestion;

/// Most rows of a difference in Markdown, and lines of each part of YAML's comment.
const MAX_SHOWN: usize = 200;
/// Most rows of a difference in JSON.
const MAX_ROWS: usize = 20_000;

/// Form of a printed suggestion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SuggestFormat {
    /// The policies, with everything else as comments.
    #[default]
    Yaml,
    /// Policies, needs, gaps and the predicted difference.
    Json,
    /// A comment for a pull request.
    Md,
}

fn some(count: usize, one: &str) -> String {
    let word = match (count, one.strip_suffix('y')) {
        (1, _) => one.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{one}s"),
    };
    format!("{count} {word}")
}

impl Suggestion {
    /// Prints it.
    pub fn print(&self, format: SuggestFormat) -> String {
        match format {
            SuggestFormat::Yaml => self.yaml(),
            SuggestFormat::Json => self.json(),
            SuggestFormat::Md => self.md(),
        }
    }

    fn summary(&self) -> String {
        let [changed, added, removed] = self.counts();
        format!(
            "{} for {}: {} removed, {changed} changed, {added} added; {} that may break",
            some(self.policies.len(), "policy"),
            some(self.workloads, "workload"),
            some(removed, "connection"),
            some(self.gaps.len(), "thing"),
        )
    }

    fn yaml(&self) -> String {
        let mut text = format!("# plimsoll netpol suggest: {}\n", self.summary());
        let gaps: Vec<String> = self.gaps.iter().map(ToString::to_string).collect();
        let parts = [
            ("Not allowed, and broken if it is in use:", &gaps),
            ("Open for another reason:", &self.extra),
            ("Notes:", &self.notes),
        ];
        for (title, lines) in parts {
            if lines.is_empty() {
                continue;
            }
            text.push_str(&format!("#\n# {title}\n"));
            for entry in lines.iter().take(MAX_SHOWN) {
                text.push_str(&format!("#   {}\n", line(entry)));
            }
            if lines.len() > MAX_SHOWN {
                text.push_str(&format!("#   and {} more; -o json lists them\n", lines.len() - MAX_SHOWN));
            }
        }
        for policy in &self.policies {
            text.push_str("---\n");
            text.push_str(&policy.document.yaml());
        }
        text
    }

    fn rows(&self, most: usize) -> (ConnDiff, usize) {
        let mut diff = self.diff.clone();
        diff.rows.retain(|row| row.kind != ChangeKind::Unchanged);
        let left = diff.rows.len().saturating_sub(most);
        diff.rows.truncate(most);
        (diff, left)
    }

    fn json(&self) -> String {
        let (diff, left) = self.rows(MAX_ROWS);
        let rows: Value = serde_json::from_str(&print_diff(&diff, OutputFormat::Json)).unwrap_or(json!([]));
        let [changed, added, removed] = self.counts();
        let needs: Vec<Value> = self
            .needs
            .iter()
            .map(|need| {
                json!({"source": need.source, "destination": need.destination, "connections": need.ports,
                    "evidence": need.evidence})
            })
            .collect();
        let gaps: Vec<Value> = self
            .gaps
            .iter()
            .map(|gap| {
                json!({"cause": gap.cause.as_str(), "source": gap.source, "destination": gap.destination,
                    "detail": gap.detail})
            })
            .collect();
        let policies: Vec<Value> = self.policies.iter().map(|policy| policy.document.json()).collect();
        let value = json!({
            "policies": policies,
            "needs": needs,
            "gaps": gaps,
            "open": self.extra,
            "notes": self.notes,
            "diff": {"changed": changed, "added": added, "removed": removed, "rows": rows, "rows_left_out": left},
        });
        let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
        text.push('\n');
        text
    }

    fn md(&self) -> String {
        let clean = |text: &str| line(text).replace('<', "&lt;");
        let mut text = format!("### Suggested network policies\n\n{}.\n", self.summary());
        if !self.gaps.is_empty() {
            text.push_str("\nNot allowed, and broken if it is in use:\n\n");
            text.push_str(&md_line(&["cause", "source", "destination", "detail"]));
            text.push_str("|---|---|---|---|\n");
            for gap in self.gaps.iter().take(MAX_SHOWN) {
                let cells = [gap.cause.as_str(), &gap.source, &gap.destination, &gap.detail].map(clean);
                text.push_str(&md_line(&cells.each_ref().map(String::as_str)));
            }
            if self.gaps.len() > MAX_SHOWN {
                text.push_str(&format!("\n{} more.\n", self.gaps.len() - MAX_SHOWN));
            }
        }
        for (title, lines) in [("Open for another reason", &self.extra), ("Notes", &self.notes)] {
            if !lines.is_empty() {
                text.push_str(&format!("\n{title}:\n\n"));
                for entry in lines.iter().take(MAX_SHOWN) {
                    text.push_str(&format!("- {}\n", clean(entry)));
                }
            }
        }
        let mut needs = md_line(&["source", "destination", "connections", "evidence"]);
        needs.push_str("|---|---|---|---|\n");
        for need in self.needs.iter().take(MAX_SHOWN) {
            let evidence = need.evidence.join("; ");
            let cells = [&need.source, &need.destination, &need.ports, &evidence].map(|cell| clean(cell));
            needs.push_str(&md_line(&cells.each_ref().map(String::as_str)));
        }
        let (diff, left) = self.rows(MAX_SHOWN);
        let mut rows = print_diff(&diff, OutputFormat::Md);
        if left > 0 {
            rows.push_str(&format!("\n{left} more.\n"));
        }
        // A fence that nothing inside can close.
        let policies = format!("~~~~yaml\n{}~~~~\n", self.policies());
        for (title, body) in [("Needs", needs), ("Predicted difference", rows), ("Policies", policies)] {
            if !body.is_empty() {
                text.push_str(&format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n"));
            }
        }
        text
    }
}
