//! A matrix: sources down, destinations across, a numbered square where something is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::{EDGE, INK, Picture, escape, head, legend, short, width};

/// Side of a square.
const CELL: i32 = 18;
/// Longest name, and longest line of the key.
const NAME: usize = 48;
/// Most lines of the key; the tooltips of squares have every connection.
const KEY: usize = 60;
/// Longest line of the key.
const LINE: usize = 110;

/// Colours of connections where no colour means a change.
const PALETTE: [&str; 10] = [
    "#2563eb", "#0d9488", "#b45309", "#7c3aed", "#be123c", "#4d7c0f", "#0369a1", "#a21caf", "#475569",
    "#c2410c",
];

/// Draws a picture.
pub(super) fn draw(picture: &Picture) -> String {
    let mut arrows = Vec::with_capacity(picture.arrows.len());
    for arrow in &picture.arrows {
        arrows.push((arrow.from, arrow.to, arrow));
        if arrow.both {
            arrows.push((arrow.to, arrow.from, arrow));
        }
    }
    let sources: BTreeSet<usize> = arrows.iter().map(|(from, ..)| *from).collect();
    let targets: BTreeSet<usize> = arrows.iter().map(|(_, to, _)| *to).collect();
    let name = |index: usize| {
        picture.vertices.get(index).map_or_else(String::new, |vertex| {
            let full = if vertex.group.is_empty() {
                vertex.label.clone()
            } else {
                format!("{}/{}", vertex.group, vertex.label)
            };
            short(&full, NAME)
        })
    };
    let widest =
        |set: &BTreeSet<usize>| set.iter().map(|index| width(&name(*index))).max().unwrap_or_default();
    let left = 24 + widest(&sources);
    // Names across stand at 60 degrees.
    let (rise, lean) = (widest(&targets) * 87 / 100, widest(&targets) / 2);
    let top = 48 + rise;
    let rows: BTreeMap<usize, i32> = sources.iter().copied().zip(0..).collect();
    let across: BTreeMap<usize, i32> = targets.iter().copied().zip(0..).collect();
    // Numbers by how often a connection is there.
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, _, arrow) in &arrows {
        *counts.entry((arrow.label.as_str(), arrow.color)).or_default() += 1;
    }
    let mut order: Vec<((&str, &str), usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let plain = order.iter().all(|((_, color), _)| *color == EDGE);
    let color_of = |number: usize, color: &'static str| {
        if plain { PALETTE.get(number % PALETTE.len()).copied().unwrap_or(color) } else { color }
    };
    let numbers: BTreeMap<(&str, &str), usize> =
        order.iter().enumerate().map(|(number, (key, _))| (*key, number)).collect();
    let (grid_width, grid_height) = (across.len() as i32 * CELL, rows.len() as i32 * CELL);
    let shown = order.len().min(KEY);
    let key_top = top + grid_height + 30;
    let bottom = key_top + (shown as i32 + i32::from(order.len() > KEY)) * 16 + 30;
    let total = (left + grid_width + lean + 30).max(left.min(120) + LINE as i32 * 7);
    let mut text = head(&picture.title, total, bottom);
    text.push_str(&format!("<g fill=\"{INK}\">\n"));
    for (index, row) in &rows {
        let y = top + row * CELL;
        if row % 2 == 0 {
            text.push_str(&format!(
                "<rect x=\"{left}\" y=\"{y}\" width=\"{grid_width}\" height=\"{CELL}\" fill=\"#f1f5f9\"/>\n"
            ));
        }
        let title = picture.vertices.get(*index).map(|vertex| escape(&vertex.title)).unwrap_or_default();
        text.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}<title>{title}</title></text>\n",
            left - 6,
            y + 13,
            escape(&name(*index))
        ));
    }
    for (index, column) in &across {
        let x = left + column * CELL + CELL / 2 + 4;
        let title = picture.vertices.get(*index).map(|vertex| escape(&vertex.title)).unwrap_or_default();
        text.push_str(&format!(
            "<text transform=\"translate({x} {}) rotate(-60)\">{}<title>{title}</title></text>\n",
            top - 6,
            escape(&name(*index))
        ));
    }
    text.push_str("</g>\n");
    text.push_str(&separators(picture, &rows, &across, left, top));
    text.push_str("<g text-anchor=\"middle\" font-size=\"9\" fill=\"#ffffff\">\n");
    for (from, to, arrow) in &arrows {
        let (Some(row), Some(column)) = (rows.get(from), across.get(to)) else { continue };
        let number = numbers.get(&(arrow.label.as_str(), arrow.color)).copied().unwrap_or_default();
        let (x, y) = (left + column * CELL, top + row * CELL);
        // Of an arrow both ways, the title is that of one.
        let title = format!("{} → {}: {}", name(*from), name(*to), arrow.label);
        text.push_str(&format!(
            "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\" rx=\"3\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text></g>\n",
            escape(&title),
            x + 1,
            y + 1,
            color_of(number, arrow.color),
            x + CELL / 2,
            y + 12,
            number + 1,
            side = CELL - 2
        ));
    }
    text.push_str("</g>\n");
    for (number, ((label, color), count)) in order.iter().enumerate().take(KEY) {
        let y = key_top + number as i32 * 16;
        let fill =
            picture.arrows.iter().map(|arrow| arrow.color).find(|known| known == color).unwrap_or(EDGE);
        text.push_str(&format!(
            "<rect x=\"16\" y=\"{}\" width=\"22\" height=\"13\" rx=\"3\" fill=\"{}\"/><text x=\"27\" y=\"{y}\" \
             text-anchor=\"middle\" font-size=\"9\" fill=\"#ffffff\">{}</text><text x=\"46\" y=\"{y}\" fill=\"{INK}\">{} \
             ({count})<title>{}</title></text>\n",
            y - 10,
            color_of(number, fill),
            number + 1,
            escape(&short(label, LINE - 20)),
            escape(label)
        ));
    }
    if order.len() > KEY {
        text.push_str(&format!(
            "<text x=\"46\" y=\"{}\" fill=\"{INK}\">and {} more</text>\n",
            key_top + shown as i32 * 16,
            order.len() - KEY
        ));
    }
    text.push_str(&legend(&picture.legend, bottom - 10));
    text.push_str("</svg>\n");
    text
}

/// Lines between namespaces.
fn separators(
    picture: &Picture,
    rows: &BTreeMap<usize, i32>,
    across: &BTreeMap<usize, i32>,
    left: i32,
    top: i32,
) -> String {
    let (right, bottom) = (left + across.len() as i32 * CELL, top + rows.len() as i32 * CELL);
    let group = |index: usize| picture.vertices.get(index).map(|vertex| (vertex.side, vertex.group.as_str()));
    let breaks = |set: &BTreeMap<usize, i32>| -> Vec<i32> {
        let pairs = set.iter().zip(set.iter().skip(1));
        pairs.filter(|((a, _), (b, _))| group(**a) != group(**b)).map(|(_, (_, at))| *at).collect()
    };
    let mut text = format!(
        "<g stroke=\"#94a3b8\" stroke-width=\"1\">\n<path d=\"M{left} {top}H{right}V{bottom}H{left}z\" fill=\"none\"/>\n"
    );
    for row in breaks(rows) {
        text.push_str(&format!("<path d=\"M{left} {}H{right}\"/>\n", top + row * CELL));
    }
    for column in breaks(across) {
        text.push_str(&format!("<path d=\"M{} {top}V{bottom}\"/>\n", left + column * CELL));
    }
    text + "</g>\n"
}
