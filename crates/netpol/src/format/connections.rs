//! Connections, and the exposure to peers that rules imply.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::dot::{clusters, edge, node, split, weight};
use super::{ENTIRE_CLUSTER, INGRESS_CONTROLLER, OutputFormat, PrintedRow, csv_line, is_range, md_line, svg};

/// A possible connection of a workload with a peer that rules imply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedRow {
    /// Printed workload.
    pub workload: String,
    /// `None`: the entire cluster. Otherwise the peer's namespaces and pods, without brackets.
    pub peer: Option<(String, String)>,
    pub conn: String,
}

impl ExposedRow {
    pub(super) fn peer_text(&self) -> String {
        let Some((namespace, pods)) = &self.peer else { return ENTIRE_CLUSTER.to_owned() };
        // A namespace that is known by name stands without brackets.
        if namespace.contains(' ') {
            format!("[{namespace}]/[{pods}]")
        } else {
            format!("{namespace}/[{pods}]")
        }
    }
}

/// The exposure of every workload to peers that rules imply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PotentialReport {
    pub ingress: Vec<ExposedRow>,
    pub egress: Vec<ExposedRow>,
    /// Workload, and `Ingress` or `Egress`.
    pub unprotected: BTreeSet<(String, &'static str)>,
}

#[derive(Serialize)]
struct Exposures<'a> {
    /// An empty section is null, as Go writes a list that was never made.
    egress_exposure: Option<&'a [PrintedRow]>,
    ingress_exposure: Option<&'a [PrintedRow]>,
}

#[derive(Serialize)]
struct WithExposure<'a> {
    connlist_results: &'a [PrintedRow],
    exposure_results: Exposures<'a>,
}

/// Prints connections; `workloads` are those that a graph shows even without connections.
pub fn print_connections(
    rows: &[PrintedRow],
    exposure: Option<&PotentialReport>,
    workloads: &[String],
    format: OutputFormat,
) -> String {
    let mut rows = rows.to_vec();
    rows.sort();
    let Some(report) = exposure else {
        return match format {
            OutputFormat::Txt => lines(&rows),
            OutputFormat::Csv => csv_line(&["src", "dst", "conn"]) + &csv_rows(&rows, false),
            OutputFormat::Md => md_table(&rows, false),
            OutputFormat::Json => json(&rows),
            OutputFormat::Dot => dot(&rows, None, workloads),
            OutputFormat::Svg => svg::of_connections(&rows, None, workloads),
        };
    };
    let (egress, ingress) = sections(&rows, report);
    match format {
        OutputFormat::Txt => txt_exposure(&rows, &egress, &ingress, report),
        OutputFormat::Csv => csv_exposure(&rows, &egress, &ingress),
        OutputFormat::Md => md_exposure(&rows, &egress, &ingress),
        OutputFormat::Json => json(&WithExposure {
            connlist_results: &rows,
            exposure_results: Exposures {
                egress_exposure: (!egress.is_empty()).then_some(&egress),
                ingress_exposure: (!ingress.is_empty()).then_some(&ingress),
            },
        }),
        OutputFormat::Dot => dot(&rows, Some(report), workloads),
        OutputFormat::Svg => svg::of_connections(&rows, Some(report), workloads),
    }
}

/// The exposure sections: implied peers, and the rows with address ranges.
fn sections(rows: &[PrintedRow], report: &PotentialReport) -> (Vec<PrintedRow>, Vec<PrintedRow>) {
    let mut egress: Vec<PrintedRow> = report
        .egress
        .iter()
        .map(|row| PrintedRow { src: row.workload.clone(), dst: row.peer_text(), conn: row.conn.clone() })
        .chain(rows.iter().filter(|row| is_range(&row.dst)).cloned())
        .collect();
    let mut ingress: Vec<PrintedRow> = report
        .ingress
        .iter()
        .map(|row| PrintedRow { src: row.peer_text(), dst: row.workload.clone(), conn: row.conn.clone() })
        .chain(rows.iter().filter(|row| is_range(&row.src)).cloned())
        .collect();
    egress.sort();
    ingress.sort_by(|a, b| (&a.dst, &a.src, &a.conn).cmp(&(&b.dst, &b.src, &b.conn)));
    egress.dedup();
    ingress.dedup();
    (egress, ingress)
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // Strings and lists of strings always serialise.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn lines(rows: &[PrintedRow]) -> String {
    rows.iter().map(|row| format!("{} => {} : {}\n", row.src, row.dst, row.conn)).collect()
}

fn csv_rows(rows: &[PrintedRow], turned: bool) -> String {
    let line = |row: &PrintedRow| {
        if turned {
            csv_line(&[&row.dst, &row.src, &row.conn])
        } else {
            csv_line(&[&row.src, &row.dst, &row.conn])
        }
    };
    rows.iter().map(line).collect()
}

fn md_table(rows: &[PrintedRow], turned: bool) -> String {
    let heads = if turned { ["dst", "src", "conn"] } else { ["src", "dst", "conn"] };
    let line = |row: &PrintedRow| {
        if turned {
            md_line(&[&row.dst, &row.src, &row.conn])
        } else {
            md_line(&[&row.src, &row.dst, &row.conn])
        }
    };
    md_line(&heads) + "|-----|-----|------|\n" + &rows.iter().map(line).collect::<String>()
}

fn txt_exposure(
    rows: &[PrintedRow],
    egress: &[PrintedRow],
    ingress: &[PrintedRow],
    report: &PotentialReport,
) -> String {
    let mut text = lines(rows);
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str("Exposure Analysis Result:\n");
    let exposed = egress.iter().map(|row| &row.src).chain(ingress.iter().map(|row| &row.dst));
    let width = exposed.map(|name| name.chars().count()).max().unwrap_or_default();
    if !egress.is_empty() {
        text.push_str("Egress Exposure:\n");
        for row in egress {
            text.push_str(&format!("{:width$} \t=> \t{} : {}\n", row.src, row.dst, row.conn));
        }
    }
    if !ingress.is_empty() {
        text.push_str(if egress.is_empty() { "Ingress Exposure:\n" } else { "\nIngress Exposure:\n" });
        for row in ingress {
            text.push_str(&format!("{:width$} \t<= \t{} : {}\n", row.dst, row.src, row.conn));
        }
    }
    if !report.unprotected.is_empty() {
        text.push_str("\nWorkloads not protected by network policies:\n");
        for (workload, direction) in &report.unprotected {
            text.push_str(&format!("{workload} is not protected on {direction}\n"));
        }
    }
    text
}

fn csv_exposure(rows: &[PrintedRow], egress: &[PrintedRow], ingress: &[PrintedRow]) -> String {
    let mut text = csv_line(&["src", "dst", "conn"]) + &csv_rows(rows, false);
    text.push_str(&csv_line(&["Exposure Analysis Result:", "", ""]));
    if !egress.is_empty() {
        text.push_str(&csv_line(&["Egress Exposure:", "", ""]));
        text.push_str(&csv_line(&["src", "dst", "conn"]));
        text.push_str(&csv_rows(egress, false));
    }
    if !ingress.is_empty() {
        text.push_str(&csv_line(&["Ingress Exposure:", "", ""]));
        text.push_str(&csv_line(&["dst", "src", "conn"]));
        text.push_str(&csv_rows(ingress, true));
    }
    text
}

fn md_exposure(rows: &[PrintedRow], egress: &[PrintedRow], ingress: &[PrintedRow]) -> String {
    let mut text = md_table(rows, false);
    text.push_str("## Exposure Analysis Result:\n");
    if !egress.is_empty() {
        text.push_str("### Egress Exposure:\n");
        text.push_str(&md_table(egress, false));
    }
    if !ingress.is_empty() {
        text.push_str("\n### Ingress Exposure:\n");
        text.push_str(&md_table(ingress, true));
    }
    text
}

fn dot(rows: &[PrintedRow], report: Option<&PotentialReport>, workloads: &[String]) -> String {
    let mut real: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut implied: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut outside, mut edges) = (BTreeSet::new(), Vec::new());
    let exposed =
        report.iter().flat_map(|report| report.egress.iter().chain(&report.ingress)).map(|row| &row.workload);
    let peers = rows.iter().flat_map(|row| [&row.src, &row.dst]).chain(workloads).chain(exposed);
    for peer in peers {
        match split(peer) {
            Some((namespace, name)) => {
                real.entry(namespace.to_owned()).or_default().push(node(peer, name, "blue", ""));
            }
            None if is_range(peer) => {
                outside.insert(node(peer, peer, "red2", ""));
            }
            None => {
                outside.insert(node(peer, INGRESS_CONTROLLER, "blue", ""));
            }
        }
    }
    for row in rows {
        let place = weight(&row.src, &row.dst);
        edges.push(edge(&row.src, &row.dst, &row.conn, ("gold2", "darkgreen"), place, ""));
    }
    for (list, ingress) in report.iter().flat_map(|report| [(&report.ingress, true), (&report.egress, false)])
    {
        for row in list {
            let peer = match &row.peer {
                None => {
                    outside.insert(node(ENTIRE_CLUSTER, ENTIRE_CLUSTER, "red2", " shape=diamond"));
                    ENTIRE_CLUSTER.to_owned()
                }
                Some((namespace, pods)) => {
                    let name = format!("{pods}_in_{namespace}");
                    implied.entry(namespace.clone()).or_default().push(node(&name, pods, "red2", ""));
                    name
                }
            };
            edges.push(if ingress {
                edge(&peer, &row.workload, &row.conn, ("darkorange2", "darkgreen"), "1", " style=dashed")
            } else {
                edge(&row.workload, &peer, &row.conn, ("darkorange4", "darkgreen"), "0.5", " style=dashed")
            });
        }
    }
    edges.sort();
    let mut lines = vec!["digraph {".to_owned()];
    clusters(&real, "black", &mut lines);
    clusters(&implied, "red2", &mut lines);
    lines.extend(outside.iter().chain(&edges).map(|line| format!("\t{line}")));
    lines.push("}".to_owned());
    lines.join("\n")
}
