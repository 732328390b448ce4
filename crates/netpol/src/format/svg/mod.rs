//! A picture without a layout program: small graphs as boxes and arrows, larger ones as a matrix of who and whom.
//!
//! The same input gives the same bytes. Text is escaped and shortened, with the whole in a tooltip.

mod graph;
mod matrix;

use std::collections::{BTreeMap, BTreeSet};

use super::connections::PotentialReport;
use super::dot::split;
use super::{ENTIRE_CLUSTER, INGRESS_CONTROLLER, PrintedRow, is_range};
use crate::diff::{ChangeKind, ConnDiff};

/// Most boxes and arrows that are still told apart.
const GRAPH: (usize, usize) = (36, 60);
/// Most rows or columns, and most cells, of a matrix; beyond, workloads are gathered by namespace.
const MATRIX: (usize, usize) = (600, 20_000);

/// Where a box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Side {
    /// Sources outside the workloads.
    Left,
    Middle,
    /// Destinations outside the workloads.
    Right,
}

/// A box.
#[derive(Debug, Clone)]
struct Vertex {
    label: String,
    /// Everything that it stands for.
    title: String,
    /// Namespace.
    group: String,
    side: Side,
    color: &'static str,
}

/// An arrow.
#[derive(Debug, Clone)]
struct Arrow {
    from: usize,
    to: usize,
    label: String,
    title: String,
    color: &'static str,
    dashed: bool,
    /// The other direction has the same.
    both: bool,
}

/// What is drawn.
#[derive(Debug, Default)]
struct Picture {
    title: String,
    vertices: Vec<Vertex>,
    arrows: Vec<Arrow>,
    /// Colour and meaning.
    legend: Vec<(&'static str, &'static str)>,
}

const INK: &str = "#1f2937";
const EDGE: &str = "#2563eb";
const OUTSIDE: &str = "#b45309";
const ADDED: &str = "#15803d";
const REMOVED: &str = "#b91c1c";
const CHANGED: &str = "#a21caf";

/// One line of the input: ends, label, whole label, colour, dashed.
struct Line<'a> {
    from: &'a str,
    to: &'a str,
    label: String,
    color: &'static str,
    dashed: bool,
}

/// Connections; `workloads` are shown even without any, with `report` also the peers that rules imply.
pub(super) fn of_connections(
    rows: &[PrintedRow],
    report: Option<&PotentialReport>,
    workloads: &[String],
) -> String {
    let implied = report.into_iter().flat_map(|report| {
        let out = report.egress.iter().map(|row| (row.workload.clone(), row.peer_text(), row.conn.clone()));
        let into = report.ingress.iter().map(|row| (row.peer_text(), row.workload.clone(), row.conn.clone()));
        out.chain(into)
    });
    let implied: Vec<(String, String, String)> = implied.collect();
    let line = |from, to, conn: &str, dashed| Line {
        from,
        to,
        label: conn.to_owned(),
        color: if dashed { OUTSIDE } else { EDGE },
        dashed,
    };
    let lines: Vec<Line<'_>> = rows
        .iter()
        .map(|row| line(row.src.as_str(), row.dst.as_str(), &row.conn, false))
        .chain(implied.iter().map(|(from, to, conn)| line(from, to, conn, true)))
        .collect();
    let names: BTreeMap<&str, &'static str> = workloads.iter().map(|name| (name.as_str(), INK)).collect();
    let mut picture = picture("Allowed connections", &lines, &names);
    if !implied.is_empty() {
        picture.legend =
            vec![(EDGE, "allowed between workloads in view"), (OUTSIDE, "allowed to what rules name")];
    }
    picture.draw()
}

/// The connections that differ.
pub(super) fn of_diff(diff: &ConnDiff) -> String {
    let rows: Vec<(String, String, String, &'static str)> = diff
        .rows
        .iter()
        .filter_map(|row| {
            let (label, color) = match row.kind {
                ChangeKind::Added => (row.after.to_string(), ADDED),
                ChangeKind::Removed => (row.before.to_string(), REMOVED),
                ChangeKind::Changed => (format!("{} (was {})", row.after, row.before), CHANGED),
                ChangeKind::Unchanged => return None,
            };
            Some((row.source.to_string(), row.destination.to_string(), label, color))
        })
        .collect();
    let lines: Vec<Line<'_>> = rows
        .iter()
        .map(|(from, to, label, color)| Line {
            from,
            to,
            label: label.clone(),
            color,
            dashed: *color == REMOVED,
        })
        .collect();
    let added = diff.workloads_added.iter().map(|name| (name.as_str(), ADDED));
    let removed = diff.workloads_removed.iter().map(|name| (name.as_str(), REMOVED));
    // Workloads that came or went without a connection do not differ in any.
    let used: BTreeSet<&str> = lines.iter().flat_map(|line| [line.from, line.to]).collect();
    let names = added.chain(removed).filter(|(name, _)| used.contains(name)).collect();
    let mut picture = picture("Connections that differ", &lines, &names);
    picture.legend = vec![(ADDED, "added"), (REMOVED, "removed"), (CHANGED, "changed")];
    picture.draw()
}

/// Gathers lines into boxes and arrows; ranges of the outside that have the same arrows are one box.
fn picture(title: &str, lines: &[Line<'_>], names: &BTreeMap<&str, &'static str>) -> Picture {
    let inside = |name: &str| split(name).is_some() && !name.starts_with('[') && name.ends_with(']');
    // The arrows of each range, by which ranges are alike.
    type Signature<'a> = BTreeSet<(&'a str, &'a str, &'static str)>;
    let mut ranges: BTreeMap<(Side, &str), Signature<'_>> = BTreeMap::new();
    for line in lines {
        if is_range(line.from) {
            ranges.entry((Side::Left, line.from)).or_default().insert((line.to, &line.label, line.color));
        }
        if is_range(line.to) {
            ranges.entry((Side::Right, line.to)).or_default().insert((line.from, &line.label, line.color));
        }
    }
    let mut alike: BTreeMap<(Side, &Signature<'_>), Vec<&str>> = BTreeMap::new();
    for ((side, name), signature) in &ranges {
        alike.entry((*side, signature)).or_default().push(name);
    }
    let mut found = Picture { title: title.to_owned(), ..Picture::default() };
    let mut index: BTreeMap<(Side, &str), usize> = BTreeMap::new();
    let mut groups: Vec<(Side, Vec<&str>)> =
        alike.into_iter().map(|((side, _), names)| (side, names)).collect();
    groups.sort();
    for (side, members) in groups {
        let bare = |name: &&str| name.strip_suffix("[External]").unwrap_or(name).to_owned();
        let listed: Vec<String> = members.iter().map(bare).collect();
        let label = match listed.as_slice() {
            [one] => one.clone(),
            [first, ..] => format!("{first} and {} more", listed.len() - 1),
            [] => String::new(),
        };
        for name in &members {
            index.insert((side, name), found.vertices.len());
        }
        let title = listed.join("\n");
        found.vertices.push(Vertex { label, title, group: String::new(), side, color: OUTSIDE });
    }
    let mut others: BTreeSet<(Side, &str)> = names.keys().map(|name| (Side::Middle, *name)).collect();
    let side_of = |name: &str, end: Side| if inside(name) { Side::Middle } else { end };
    for line in lines {
        for (name, end) in [(line.from, Side::Left), (line.to, Side::Right)] {
            if !is_range(name) {
                others.insert((side_of(name, end), name));
            }
        }
    }
    for (side, name) in others {
        index.insert((side, name), found.vertices.len());
        let (group, label) = split(name).filter(|_| side == Side::Middle).unwrap_or(("", name));
        let outside = if name == INGRESS_CONTROLLER || name == ENTIRE_CLUSTER || side != Side::Middle {
            OUTSIDE
        } else {
            INK
        };
        found.vertices.push(Vertex {
            label: label.to_owned(),
            title: name.to_owned(),
            group: group.to_owned(),
            side,
            color: names.get(name).copied().filter(|_| side == Side::Middle).unwrap_or(outside),
        });
    }
    let mut arrows: BTreeMap<(usize, usize, &str, &str), Arrow> = BTreeMap::new();
    for line in lines {
        let end = |name: &str, end: Side| {
            let side = if is_range(name) { end } else { side_of(name, end) };
            index.get(&(side, name)).copied()
        };
        let (Some(from), Some(to)) = (end(line.from, Side::Left), end(line.to, Side::Right)) else {
            continue;
        };
        if let Some(back) = arrows.get_mut(&(to, from, line.label.as_str(), line.color)) {
            back.both = true;
            continue;
        }
        let title = format!("{} → {}: {}", line.from, line.to, line.label);
        let (label, color, dashed) = (line.label.clone(), line.color, line.dashed);
        arrows.entry((from, to, line.label.as_str(), line.color)).or_insert(Arrow {
            from,
            to,
            label,
            title,
            color,
            dashed,
            both: false,
        });
    }
    found.arrows = arrows.into_values().collect();
    found
}

impl Picture {
    fn draw(mut self) -> String {
        if self.vertices.len() <= GRAPH.0 && self.arrows.len() <= GRAPH.1 {
            return graph::draw(&self);
        }
        if self.vertices.len() > MATRIX.0 || self.arrows.len() > MATRIX.1 {
            self.gather();
        }
        matrix::draw(&self)
    }

    /// Makes namespaces of workloads.
    fn gather(&mut self) {
        let mut index: BTreeMap<(Side, String), usize> = BTreeMap::new();
        let mut vertices: Vec<Vertex> = Vec::new();
        let mut moved = Vec::with_capacity(self.vertices.len());
        for vertex in &self.vertices {
            let name = match (vertex.group.is_empty(), vertex.side) {
                (false, _) => vertex.group.clone(),
                (true, Side::Middle) => vertex.label.clone(),
                (true, _) => "outside".to_owned(),
            };
            let at = *index.entry((vertex.side, name.clone())).or_insert_with(|| {
                let (group, color) = (String::new(), vertex.color);
                let title = format!("every workload of {name}");
                vertices.push(Vertex { label: name.clone(), title, group, side: vertex.side, color });
                vertices.len() - 1
            });
            moved.push(at);
        }
        let at = |old: usize| moved.get(old).copied().unwrap_or_default();
        let mut counts: BTreeMap<(usize, usize, &'static str), usize> = BTreeMap::new();
        for arrow in &self.arrows {
            *counts.entry((at(arrow.from), at(arrow.to), arrow.color)).or_default() += 1;
            if arrow.both {
                *counts.entry((at(arrow.to), at(arrow.from), arrow.color)).or_default() += 1;
            }
        }
        let arrow = |((from, to, color), count): ((usize, usize, &'static str), usize)| {
            let digits = count.to_string().len();
            // By order of magnitude: the exact number is in the tooltip.
            let label = format!("up to {} connections", 10usize.saturating_pow(digits as u32));
            let title = format!("{count} connections");
            Arrow { from, to, label, title, color, dashed: false, both: false }
        };
        self.arrows = counts.into_iter().map(arrow).collect();
        self.vertices = vertices;
        self.title.push_str(", by namespace");
    }
}

/// Text of an element or attribute; what XML cannot hold becomes a replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// At most `most` characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Pixels that some characters take in the font of 11 pixels.
fn width(text: &str) -> i32 {
    text.chars().count() as i32 * 67 / 10
}

/// The head of a picture of a size.
fn head(title: &str, width: i32, height: i32) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"11\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"14\" font-weight=\"bold\" fill=\"{INK}\">{title}</text>\n",
        title = escape(title)
    )
}

/// Lines that explain the colours, from `y` on, and how high they are.
fn legend(entries: &[(&'static str, &'static str)], y: i32) -> String {
    let mut text = String::new();
    let mut x = 16;
    for (color, meaning) in entries {
        text.push_str(&format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"10\" rx=\"2\" fill=\"{color}\"/>\n<text x=\"{}\" y=\"{y}\" \
             fill=\"{INK}\">{}</text>\n",
            y - 9,
            x + 20,
            escape(meaning)
        ));
        x += 20 + width(meaning) + 24;
    }
    text
}
