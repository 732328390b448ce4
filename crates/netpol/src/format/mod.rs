//! Printed forms that users of np-guard and roxctl already parse.

mod comment;
mod connections;
mod diff;
mod dot;
mod findings;
mod svg;

pub use comment::print_comment;
pub use connections::{ExposedRow, PotentialReport, print_connections};
pub use diff::print_diff;
pub use findings::{Located, print_json, print_lines, print_sarif};

use serde::Serialize;

/// Form of a printed answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputFormat {
    #[default]
    Txt,
    Json,
    Csv,
    Md,
    Dot,
    /// A picture that needs no other program.
    Svg,
}

impl OutputFormat {
    /// Reads the name as on a command line.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "txt" => Some(Self::Txt),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "md" => Some(Self::Md),
            "dot" => Some(Self::Dot),
            "svg" => Some(Self::Svg),
            _ => None,
        }
    }
}

/// How an ingress controller is printed.
pub const INGRESS_CONTROLLER: &str = "{ingress-controller}";
/// How the whole cluster is printed as a peer.
pub const ENTIRE_CLUSTER: &str = "entire-cluster";

/// One printed connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PrintedRow {
    pub src: String,
    pub dst: String,
    pub conn: String,
}

/// True when a printed peer is an address range.
pub(crate) fn is_range(peer: &str) -> bool {
    peer.ends_with("[External]")
}

/// RFC 4180 quoting.
pub(crate) fn csv_line(fields: &[&str]) -> String {
    let quoted = fields.iter().map(|field| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            (*field).to_owned()
        }
    });
    let mut line = quoted.collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

/// A cell of a Markdown table.
pub(crate) fn md_line(fields: &[&str]) -> String {
    let cells: Vec<String> = fields.iter().map(|field| field.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}
