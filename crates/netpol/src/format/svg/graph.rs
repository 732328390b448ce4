//! Boxes and arrows: one band for each namespace, callers left of those whom they call.

use std::collections::{BTreeMap, BTreeSet};

use super::{Picture, Side, Vertex, escape, head, legend, short, width};

/// Height of a box.
const BOX: i32 = 26;
/// Distance of boxes in a band.
const PITCH: i32 = 46;
/// Space between columns, in which labels stand.
const GAP: i32 = 170;
/// Most columns of workloads.
const COLUMNS: usize = 5;
/// Longest text of a box.
const NAME: usize = 34;
/// Longest text of an arrow.
const LABEL: usize = 26;
/// Height of a band's title.
const TITLE: i32 = 24;

/// A box with its place: left edge, middle, width.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: i32,
    y: i32,
    width: i32,
    column: usize,
}

/// A curve: its four points.
type Curve = [(i32, i32); 4];

/// The point of a curve at some tenths of its way.
fn at(curve: &Curve, tenth: i32) -> (i32, i32) {
    let (s, t) = (10 - tenth, tenth);
    let weights = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
    let sum = |pick: fn(&(i32, i32)) -> i32| {
        curve.iter().zip(weights).map(|(point, weight)| pick(point) * weight).sum::<i32>() / 1000
    };
    (sum(|point| point.0), sum(|point| point.1))
}

/// The column of each workload: behind its callers, where no circle forbids it.
fn columns(picture: &Picture) -> Vec<usize> {
    let count = picture.vertices.len();
    let middle = |at: usize| picture.vertices.get(at).is_some_and(|vertex| vertex.side == Side::Middle);
    let mut into: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    let mut out: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    for arrow in picture.arrows.iter().filter(|arrow| middle(arrow.from) && middle(arrow.to)) {
        if arrow.from != arrow.to {
            into.get_mut(arrow.to).map(|set| set.insert(arrow.from));
            out.get_mut(arrow.from).map(|set| set.insert(arrow.to));
        }
    }
    let mut left: BTreeSet<usize> = (0..count).filter(|at| middle(*at)).collect();
    let mut column = vec![0; count];
    let empty = BTreeSet::new();
    while !left.is_empty() {
        let callers = |at: usize| into.get(at).unwrap_or(&empty).intersection(&left).count();
        let callees = |at: usize| out.get(at).unwrap_or(&empty).intersection(&left).count();
        // Of a circle, the one that calls most more than it is called.
        let best = left.iter().copied().min_by_key(|at| match callers(*at) {
            0 => (0, 0, *at),
            some => (1, some as i64 - callees(*at) as i64, *at),
        });
        let Some(next) = best else { break };
        left.remove(&next);
        let before = into.get(next).unwrap_or(&empty).iter().filter(|caller| !left.contains(caller));
        let deepest = before.filter(|caller| **caller != next).filter_map(|caller| column.get(*caller)).max();
        let deepest = deepest.copied().unwrap_or(0);
        if let Some(slot) = column.get_mut(next) {
            *slot = (deepest + 1).min(COLUMNS);
        }
    }
    column
}

/// Boxes, and the free places through which arrows pass columns that they do not end in.
struct Layout {
    /// Boxes first, then places of a width of their own: none.
    nodes: Vec<(Side, String)>,
    column: Vec<usize>,
    /// The nodes of each arrow, from end to end.
    routes: Vec<Vec<usize>>,
}

fn layout(picture: &Picture, column: Vec<usize>) -> Layout {
    let nodes = picture.vertices.iter().map(|vertex| (vertex.side, vertex.group.clone())).collect();
    let mut found = Layout { nodes, column, routes: Vec::with_capacity(picture.arrows.len()) };
    for arrow in &picture.arrows {
        let mut route = vec![arrow.from];
        let column_of = |at: usize| found.column.get(at).copied().unwrap_or_default();
        let (first, last) = (column_of(arrow.from), column_of(arrow.to));
        let group = [arrow.to, arrow.from]
            .iter()
            .filter_map(|end| picture.vertices.get(*end))
            .find(|vertex| vertex.side == Side::Middle)
            .map(|vertex| vertex.group.clone());
        let between: Vec<usize> =
            if first < last { (first + 1..last).collect() } else { (last + 1..first).rev().collect() };
        for column in between {
            route.push(found.nodes.len());
            found.nodes.push((Side::Middle, group.clone().unwrap_or_default()));
            found.column.push(column);
        }
        route.push(arrow.to);
        found.routes.push(route);
    }
    found
}

/// Orders the nodes of each column of each band by where their neighbours stand.
fn arrange(layout: &Layout) -> BTreeMap<(String, usize), Vec<usize>> {
    let mut cells: BTreeMap<(String, usize), Vec<usize>> = BTreeMap::new();
    for (index, ((_, group), column)) in layout.nodes.iter().zip(&layout.column).enumerate() {
        cells.entry((group.clone(), *column)).or_default().push(index);
    }
    let mut near: Vec<Vec<usize>> = vec![Vec::new(); layout.nodes.len()];
    for (a, b) in layout.routes.iter().flat_map(|route| route.iter().zip(route.iter().skip(1))) {
        near.get_mut(*a).into_iter().for_each(|list| list.push(*b));
        near.get_mut(*b).into_iter().for_each(|list| list.push(*a));
    }
    for _ in 0..4 {
        let place: BTreeMap<usize, usize> = cells
            .values()
            .flat_map(|cell| cell.iter().enumerate().map(|(slot, vertex)| (*vertex, slot)))
            .collect();
        for cell in cells.values_mut() {
            // Neighbours of another column say where a node belongs.
            cell.sort_by_cached_key(|vertex| {
                let near = near.get(*vertex).into_iter().flatten().filter_map(|other| place.get(other));
                let (sum, count) = near.fold((0, 0), |(sum, count), slot| (sum + slot * 100, count + 1));
                (sum.checked_div(count).unwrap_or(usize::MAX), *vertex)
            });
        }
    }
    cells
}

/// Draws a picture.
pub(super) fn draw(picture: &Picture) -> String {
    let mut column = columns(picture);
    let last = column.iter().copied().max().unwrap_or_default() + 1;
    for (slot, vertex) in column.iter_mut().zip(&picture.vertices) {
        match vertex.side {
            Side::Left => *slot = 0,
            Side::Middle => {}
            Side::Right => *slot = last,
        }
    }
    let layout = layout(picture, column);
    let cells = arrange(&layout);
    // Columns are as wide as their widest box; those without any take no room.
    let mut widths = vec![0; last + 1];
    for (vertex, column) in picture.vertices.iter().zip(&layout.column) {
        if let Some(known) = widths.get_mut(*column) {
            *known = (*known).max(width(&short(&vertex.label, NAME)) + 20);
        }
    }
    let mut edges = Vec::with_capacity(widths.len());
    let mut x = 36;
    for width in &widths {
        edges.push(x);
        if *width > 0 {
            x += width + GAP;
        }
    }
    let total = (x - GAP + 36).max(420);
    let mut places = vec![Place::default(); layout.nodes.len()];
    let mut bands = String::new();
    let groups: BTreeSet<&str> =
        picture.vertices.iter().filter(|v| v.side == Side::Middle).map(|v| v.group.as_str()).collect();
    let mut put = |cell: &[usize], column: usize, top: i32| {
        for (slot, vertex) in cell.iter().enumerate() {
            let (Some(x), Some(width)) = (edges.get(column), widths.get(column)) else { continue };
            if let Some(place) = places.get_mut(*vertex) {
                let y = top + slot as i32 * PITCH + PITCH / 2;
                *place = Place { x: *x, y, width: *width, column };
            }
        }
    };
    let top = 44;
    let mut y = top;
    let first = edges.get(1).copied().unwrap_or(36);
    let inner = widths.get(1..last).unwrap_or_default().iter().filter(|width| **width > 0);
    let inner: i32 = inner.map(|width| width + GAP).sum::<i32>() - GAP;
    for group in groups {
        let in_column = |column: usize| {
            cells.get(&(group.to_owned(), column)).map(|cell| {
                let middle =
                    |at: &&usize| layout.nodes.get(**at).is_some_and(|(side, _)| *side == Side::Middle);
                cell.iter().filter(middle).copied().collect::<Vec<usize>>()
            })
        };
        let most = (1..last).filter_map(in_column).map(|cell| cell.len()).max().unwrap_or_default() as i32;
        let height = TITLE + most * PITCH + 6;
        let name = if group.is_empty() { "outside namespaces" } else { group };
        bands.push_str(&format!(
            "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{height}\" rx=\"8\" fill=\"#f8fafc\" stroke=\"#cbd5e1\"/>\n\
             <text x=\"{}\" y=\"{}\" font-weight=\"bold\" fill=\"#475569\">{}</text>\n",
            first - 18,
            inner + 36,
            first - 8,
            y + 17,
            escape(&short(name, 60))
        ));
        for column in 1..last {
            let Some(cell) = in_column(column) else { continue };
            let free = (most - cell.len() as i32) * PITCH / 2;
            put(&cell, column, y + TITLE + free);
        }
        y += height + 18;
    }
    for (column, side) in [(0, Side::Left), (last, Side::Right)] {
        let cell: Vec<usize> = cells
            .get(&(String::new(), column))
            .into_iter()
            .flatten()
            .copied()
            .filter(|at| layout.nodes.get(*at).is_some_and(|(known, _)| *known == side))
            .collect();
        let height = cell.len() as i32 * PITCH;
        let start = top + ((y - top - height) / 2).max(0);
        put(&cell, column, start);
        y = y.max(start + height + 18);
    }
    let floor = if picture.legend.is_empty() { y } else { y + 28 };
    let mut text = head(&picture.title, total, floor + 8);
    text.push_str(&markers(picture));
    text.push_str(&bands);
    let curves: Vec<Vec<Curve>> = layout.routes.iter().map(|route| curves(route, &places)).collect();
    text.push_str(&arrows(picture, &curves));
    for (vertex, place) in picture.vertices.iter().zip(&places) {
        text.push_str(&draw_box(vertex, place));
    }
    let boxes = places.get(..picture.vertices.len()).unwrap_or_default();
    text.push_str(&labels(picture, boxes, &curves));
    text.push_str(&legend(&picture.legend, y + 14));
    text.push_str("</svg>\n");
    text
}

fn draw_box(vertex: &Vertex, place: &Place) -> String {
    let Place { x, y, width, .. } = place;
    format!(
        "<g><title>{}</title><rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{BOX}\" rx=\"5\" fill=\"#ffffff\" \
         stroke=\"{color}\" stroke-width=\"1.4\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{color}\">{}</text></g>\n",
        escape(&vertex.title),
        y - BOX / 2,
        x + width / 2,
        y + 4,
        escape(&short(&vertex.label, NAME)),
        color = vertex.color
    )
}

/// Name of the arrow head of a colour.
fn head_of(color: &str) -> String {
    format!("h{}", color.trim_start_matches('#'))
}

fn markers(picture: &Picture) -> String {
    let colors: BTreeSet<&str> = picture.arrows.iter().map(|arrow| arrow.color).collect();
    let mut text = String::from("<defs>\n");
    for color in colors {
        text.push_str(&format!(
            "<marker id=\"{}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\"><path d=\"M0 0L8 4L0 8z\" fill=\"{color}\"/></marker>\n",
            head_of(color)
        ));
    }
    text + "</defs>\n"
}

/// The way of an arrow between two boxes.
fn curve(from: &Place, to: &Place) -> Curve {
    // Ways there and back stand apart.
    let lift = match from.column.cmp(&to.column) {
        std::cmp::Ordering::Less => -4,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 4,
    };
    let (y1, y2) = (from.y + lift, to.y + lift);
    match from.column.cmp(&to.column) {
        std::cmp::Ordering::Less => {
            let (x1, x2) = (from.x + from.width, to.x);
            let bend = ((x2 - x1) / 2).max(40);
            [(x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)]
        }
        std::cmp::Ordering::Greater => {
            let (x1, x2) = (from.x, to.x + to.width);
            let bend = ((x1 - x2) / 2).max(40);
            [(x1, y1), (x1 - bend, y1), (x2 + bend, y2), (x2, y2)]
        }
        std::cmp::Ordering::Equal => {
            let (x1, x2) = (from.x + from.width, to.x + to.width);
            let bend = 36 + ((y1 - y2).abs() / 6).min(60);
            // There and back leave the boxes at different heights.
            let (y1, y2) = (y1 + (y2 - y1).signum() * 5, y2 - (y2 - y1).signum() * 5);
            let bend = if y1 > y2 { bend + 14 } else { bend };
            [(x1, y1), (x1 + bend, y1), (x2 + bend, y2), (x2, y2)]
        }
    }
}

/// The curves of a way through several nodes; through a free place it goes straight.
fn curves(route: &[usize], places: &[Place]) -> Vec<Curve> {
    let ends = route.iter().zip(route.iter().skip(1));
    let mut found: Vec<Curve> = Vec::new();
    for (from, to) in ends {
        let (Some(from), Some(to)) = (places.get(*from), places.get(*to)) else { continue };
        let next = curve(from, to);
        if let (Some([_, _, _, end]), [start, ..]) = (found.last().copied(), next)
            && end != start
        {
            found.push([end, end, start, start]);
        }
        found.push(next);
    }
    found
}

fn arrows(picture: &Picture, curves: &[Vec<Curve>]) -> String {
    let mut text = String::new();
    for (arrow, curves) in picture.arrows.iter().zip(curves) {
        let Some([start, ..]) = curves.first() else { continue };
        let mut path = format!("M{} {}", start.0, start.1);
        for [_, b, c, d] in curves {
            path.push_str(&format!("C{} {} {} {} {} {}", b.0, b.1, c.0, c.1, d.0, d.1));
        }
        let marker = head_of(arrow.color);
        let start = if arrow.both { format!(" marker-start=\"url(#{marker})\"") } else { String::new() };
        let dashes = if arrow.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        text.push_str(&format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.3\" marker-end=\"url(#{marker})\"{start}{dashes}>\
             <title>{}</title></path>\n",
            arrow.color,
            escape(&arrow.title)
        ));
    }
    text
}

/// An upright rectangle: left, top, right, bottom.
type Area = (i32, i32, i32, i32);

fn overlap(a: &Area, b: &Area) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

/// Labels, each at the first place along its arrow that is free.
fn labels(picture: &Picture, boxes: &[Place], curves: &[Vec<Curve>]) -> String {
    let area = |place: &Place| (place.x, place.y - BOX / 2, place.x + place.width, place.y + BOX / 2);
    let mut taken: Vec<Area> = boxes.iter().map(area).collect();
    let mut text = String::new();
    for (arrow, curves) in picture.arrows.iter().zip(curves) {
        let label = short(&arrow.label, LABEL);
        let half = width(&label) / 2;
        let spot = |curve: &Curve, tenth: i32, dy: i32| {
            let (x, y) = at(curve, tenth);
            let y = y + dy;
            ((x, y), (x - half, y - 9, x + half, y + 4))
        };
        const TRIES: [(i32, i32); 11] =
            [(5, 3), (4, 3), (6, 3), (3, 3), (7, 3), (5, -8), (5, 14), (4, -8), (6, 14), (2, 3), (8, 3)];
        // The last curve first: its colour leads to the end that matters.
        let all =
            curves.iter().rev().flat_map(|curve| TRIES.iter().map(move |(tenth, dy)| (curve, *tenth, *dy)));
        let spots = all.map(|(curve, tenth, dy)| spot(curve, tenth, dy));
        let free = |(_, area): &((i32, i32), Area)| taken.iter().all(|known| !overlap(known, area));
        let found = spots.clone().find(free).or_else(|| spots.clone().next());
        let Some(((x, y), area)) = found else { continue };
        taken.push(area);
        text.push_str(&format!(
            "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"13\" fill=\"#ffffff\" fill-opacity=\"0.9\"/>\
             <text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{}\">{}</text></g>\n",
            escape(&arrow.title),
            area.0,
            area.1,
            area.2 - area.0,
            arrow.color,
            escape(&label)
        ));
    }
    text
}
