//! Graphviz lines.

use std::collections::BTreeMap;

/// A quoted string of the dot language, as Go's `%q` writes it for printable text.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A node.
pub(super) fn node(name: &str, label: &str, color: &str, more: &str) -> String {
    let (name, label, color) = (quote(name), quote(label), quote(color));
    format!("{name} [label={label} color={color} fontcolor={color}{more}]")
}

/// An edge; edges against the order of names weigh less on the layout.
pub(super) fn edge(
    source: &str,
    target: &str,
    label: &str,
    colors: (&str, &str),
    weight: &str,
    more: &str,
) -> String {
    let (color, font) = colors;
    format!(
        "{} -> {} [label={} color={} fontcolor={} weight={weight}{more}]",
        quote(source),
        quote(target),
        quote(label),
        quote(color),
        quote(font)
    )
}

/// Weight by the order of names.
pub(super) fn weight(source: &str, target: &str) -> &'static str {
    if source < target { "0.5" } else { "1" }
}

/// Nodes by namespace, as clusters of the graph.
pub(super) fn clusters(groups: &BTreeMap<String, Vec<String>>, color: &str, lines: &mut Vec<String>) {
    for (namespace, nodes) in groups {
        let mut nodes = nodes.clone();
        nodes.sort();
        nodes.dedup();
        lines.push(format!("\tsubgraph \"cluster_{}[namespace]\" {{", namespace.replace('-', "_")));
        lines.push(format!("\t\tcolor=\"{color}\""));
        lines.push(format!("\t\tfontcolor=\"{color}\""));
        lines.extend(nodes.iter().map(|node| format!("\t\t{node}")));
        lines.push(format!("\t\tlabel=\"{namespace}[namespace]\""));
        lines.push("\t}".to_owned());
    }
}

/// `ns/name[Kind]` into namespace and `name[Kind]`; `None` for peers outside namespaces.
pub(super) fn split(peer: &str) -> Option<(&str, &str)> {
    if peer.starts_with('{') || super::is_range(peer) { None } else { peer.split_once('/') }
}
