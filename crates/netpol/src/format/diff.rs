//! The difference of two states, printed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::dot::{clusters, edge, node, split, weight};
use super::{OutputFormat, csv_line, md_line, svg};
use crate::diff::{ChangeKind, ConnDiff, DiffPeer, DiffRow};

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(rename = "diff-type")]
    kind: &'a str,
    source: &'a str,
    destination: &'a str,
    ref1: &'a str,
    ref2: &'a str,
    #[serde(rename = "workloads-diff-info")]
    info: &'a str,
    decided_before: &'a [String],
    decided_after: &'a [String],
}

struct Line<'a> {
    row: &'a DiffRow,
    /// Kind, source, destination, first, second, information on workloads.
    fields: [String; 6],
}

fn info(row: &DiffRow) -> String {
    let word = match row.kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed | ChangeKind::Unchanged => return String::new(),
    };
    match (row.source_differs, row.destination_differs) {
        (true, true) => format!("workload {} and {} {word}", row.source, row.destination),
        (true, false) => format!("workload {} {word}", row.source),
        (false, true) => format!("workload {} {word}", row.destination),
        (false, false) => String::new(),
    }
}

/// The rows that differ, in the order in which they are printed.
fn sorted(diff: &ConnDiff) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = diff
        .rows
        .iter()
        .filter(|row| row.kind != ChangeKind::Unchanged)
        .map(|row| Line {
            row,
            fields: [
                row.kind.as_str().to_owned(),
                row.source.to_string(),
                row.destination.to_string(),
                row.before.to_string(),
                row.after.to_string(),
                info(row),
            ],
        })
        .collect();
    // Ways in through ingress controllers come last; inside a block, by the bytes of the line.
    lines.sort_by_cached_key(|line| {
        let entry = line.row.source == DiffPeer::IngressController;
        (entry, line.row.kind, line.fields.join(";"))
    });
    lines
}

/// The fields of every line, in order.
pub(super) fn table_lines(diff: &ConnDiff) -> Vec<[String; 6]> {
    sorted(diff).into_iter().map(|line| line.fields).collect()
}

/// Prints a difference; nothing at all when there is none. The graph needs the unchanged rows too.
pub fn print_diff(diff: &ConnDiff, format: OutputFormat) -> String {
    if diff.is_empty() {
        return String::new();
    }
    let lines = sorted(diff);
    match format {
        OutputFormat::Dot => dot(diff),
        OutputFormat::Svg => svg::of_diff(diff),
        OutputFormat::Csv => table(&lines, csv_line(&HEADS), csv_line),
        OutputFormat::Md => {
            let rule = "|-----------|--------|-------------|------|------|---------------------|\n";
            table(&lines, md_line(&HEADS) + rule, md_line)
        }
        OutputFormat::Json => json(&lines),
        OutputFormat::Txt => txt(&lines),
    }
}

const HEADS: [&str; 6] = ["diff-type", "source", "destination", "ref1", "ref2", "workloads-diff-info"];

fn table(lines: &[Line<'_>], head: String, print: impl Fn(&[&str]) -> String) -> String {
    lines.iter().fold(head, |text, line| text + &print(&line.fields.each_ref().map(String::as_str)))
}

fn txt(lines: &[Line<'_>]) -> String {
    let mut text = String::from("Connectivity diff:\n");
    for line in lines {
        let [kind, source, destination, first, second, info] = &line.fields;
        text.push_str(&format!(
            "diff-type: {kind}, source: {source}, destination: {destination}, ref1: {first}, ref2: {second}"
        ));
        if !info.is_empty() {
            text.push_str(&format!(", workloads-diff-info: {info}"));
        }
        text.push('\n');
    }
    text
}

fn json(lines: &[Line<'_>]) -> String {
    let words =
        |decisions: &[crate::engine::Decision]| decisions.iter().map(ToString::to_string).collect::<Vec<_>>();
    let decided: Vec<_> =
        lines.iter().map(|line| (words(&line.row.decided_before), words(&line.row.decided_after))).collect();
    let rows: Vec<JsonRow<'_>> = lines
        .iter()
        .zip(&decided)
        .map(|(line, (before, after))| {
            let [kind, source, destination, ref1, ref2, info] = line.fields.each_ref().map(String::as_str);
            JsonRow {
                kind,
                source,
                destination,
                ref1,
                ref2,
                info,
                decided_before: before,
                decided_after: after,
            }
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default()
}

fn dot(diff: &ConnDiff) -> String {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut outside = BTreeSet::new();
    let (mut edges, mut entries) = (Vec::new(), Vec::new());
    for row in &diff.rows {
        let (source, destination) = (row.source.to_string(), row.destination.to_string());
        for (peer, differs) in [(&source, row.source_differs), (&destination, row.destination_differs)] {
            let color = match (differs, row.kind) {
                (true, ChangeKind::Added) => "#008000",
                (true, ChangeKind::Removed) => "red",
                _ => "blue",
            };
            match split(peer) {
                Some((namespace, name)) => {
                    groups.entry(namespace.to_owned()).or_default().push(node(peer, name, color, ""));
                }
                None => {
                    outside.insert(node(peer, peer, color, ""));
                }
            }
        }
        let (color, label) = match row.kind {
            ChangeKind::Unchanged => ("grey", row.before.to_string()),
            ChangeKind::Changed => ("magenta", format!("{} (ref1: {})", row.after, row.before)),
            ChangeKind::Added => ("#008000", row.after.to_string()),
            ChangeKind::Removed => ("red2", row.before.to_string()),
        };
        let line = edge(&source, &destination, &label, (color, color), weight(&source, &destination), "");
        if row.source == DiffPeer::IngressController { entries.push(line) } else { edges.push(line) }
    }
    edges.sort();
    entries.sort();
    let mut lines = vec!["digraph {".to_owned()];
    clusters(&groups, "black", &mut lines);
    lines.extend(outside.iter().chain(&edges).chain(&entries).map(|line| format!("\t{line}")));
    lines.push(LEGEND.to_owned());
    lines.push("}".to_owned());
    lines.join("\n")
}

const LEGEND: &str = "\tnodesep=0.5
\tsubgraph cluster_legend {
\t\tlabel=\"Legend\"
\t\tfontsize = 10
\t\tmargin=0
\t\ta [style=invis height=0 width=0]
\t\tb [style=invis height=0 width=0]
\t\tc [style=invis height=0 width=0]
\t\td [style=invis height=0 width=0]
\t\te [style=invis height=0 width=0]
\t\tf [style=invis height=0 width=0]
\t\tg [style=invis height=0 width=0]
\t\th [style=invis height=0 width=0]
\t\t{rank=source a b c d}
\t\t{rank=same e f g h}
\t\ta -> b [label=\"added connection\", color=\"#008000\" fontcolor=\"#008000\" fontsize = 10 arrowsize=0.2]
\t\tc -> d [label=\"removed connection\", color=\"red2\" fontcolor=\"red2\" fontsize = 10 arrowsize=0.2]
\t\te -> f [label=\"changed connection\", color=\"magenta\" fontcolor=\"magenta\" fontsize = 10 arrowsize=0.2]
\t\tg -> h [label=\"unchanged connection\", color=\"grey\" fontcolor=\"grey\" fontsize = 10 arrowsize=0.2]
\t\tnp [label=\"new peer\" color=\"#008000\" fontcolor=\"#008000\" fontsize = 10]
\t\tlp [label=\"lost peer\" color=\"red\" fontcolor=\"red\" fontsize = 10]
\t\tpp [label=\"persistent peer\" color=\"blue\" fontcolor=\"blue\" fontsize = 10]
\t\t{rank=sink np lp pp}
\t\tnp->lp [style=invis]
\t\tlp->pp [style=invis]
\t}";
