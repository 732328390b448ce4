//! `deploy`.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use plimsoll_model::fact::Unlisted;
use plimsoll_netpol::load::{LoadError, append, stream};
use serde_json::Value;

use super::client::Client;
use super::{Format, Gateway};
use crate::Outcome;
use crate::error::CliError;
use crate::output::{clean, print, table};

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// File or folder with manifests (*.yaml, *.yml, *.json), or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Name of the cluster
    #[arg(long)]
    cluster: String,
    /// The manifests are all that the scope has
    #[arg(long, conflicts_with = "delete")]
    replace: bool,
    /// The objects are gone
    #[arg(long)]
    delete: bool,
    /// What a replace replaces: cluster, namespace=NAME or owner=NAME
    #[arg(long, default_value = "cluster")]
    scope: String,
    /// Sequence that this builds on
    #[arg(long)]
    base: Option<u64>,
    /// Show what would change and record nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Most bytes of standard input.
const MAX_INPUT: u64 = 64 << 20;

/// Documents of files and folders, as one YAML stream; `-` is standard input. They are checked here as the gateway
/// checks them, because it cannot name the file.
fn documents(paths: &[PathBuf]) -> Result<Vec<u8>, CliError> {
    let (input, paths): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.iter().cloned().partition(|path| path.as_os_str() == "-");
    let mut out = Vec::new();
    if !paths.is_empty() {
        out = stream(&paths).map_err(|error| {
            let cli = CliError::new(error.code(), plimsoll_telemetry::chain(&error));
            match error {
                LoadError::Nothing { .. } => cli.hint(
                    "files *.yaml, *.yml and *.json are read; that a scope has nothing left is said by an empty file",
                ),
                _ => cli,
            }
        })?;
    }
    if !input.is_empty() {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(MAX_INPUT + 1)
            .read_to_end(&mut bytes)
            .map_err(CliError::io("read standard input"))?;
        if bytes.len() as u64 > MAX_INPUT {
            return Err(CliError::new(
                "too_large",
                format!("standard input has more than {MAX_INPUT} bytes"),
            ));
        }
        append(&bytes, "standard input", &mut out).map_err(|error| CliError::new(error.code(), error))?;
    }
    Ok(out)
}

/// Connections whose deciding rules are printed below the table.
const EXPLAINED: usize = 20;

/// The rules that decide connections before and after, as far as policies have a say.
fn decisions(connections: &[Value]) {
    let text = |row: &Value, name: &str| clean(row.get(name).and_then(Value::as_str).unwrap_or_default());
    for row in connections.iter().take(EXPLAINED) {
        for (side, word) in [("decided_before", "before"), ("decided_after", "after")] {
            let rules: Vec<&str> = row
                .get(side)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if !rules.is_empty() {
                let rules = clean(&rules.join("; "));
                print(&format!("{} => {} {word}: {rules}", text(row, "source"), text(row, "destination")));
            }
        }
    }
}

/// `plimsoll deploy`
pub fn deploy(args: &DeployArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let body = documents(&args.files)?;
    let mode = if args.replace {
        "replace"
    } else if args.delete {
        "delete"
    } else {
        "apply"
    };
    let mut query =
        vec![("cluster", args.cluster.clone()), ("mode", mode.to_owned()), ("scope", args.scope.clone())];
    if let Some(base) = args.base {
        query.push(("base", base.to_string()));
    }
    if args.dry_run {
        query.push(("dry_run", "true".to_owned()));
    }
    let answer = client.post("/v1/deploys", &query, "application/yaml", body)?;
    if args.output == Format::Json {
        print(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if !args.dry_run {
        let count = answer.get("objects").and_then(Value::as_u64).unwrap_or_default();
        let objects = if count == 1 { "object" } else { "objects" };
        let how = match answer.get("seq").and_then(Value::as_u64) {
            Some(seq) => format!("recorded as event {seq}"),
            None => "were recorded already, a moment ago".to_owned(),
        };
        print(&clean(&format!("{count} {objects} for {} {how}", args.cluster)));
        return Ok(ExitCode::SUCCESS);
    }
    let rows_of = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| clean(row.get(name).and_then(Value::as_str).unwrap_or_default());
    let connections = rows_of("connections");
    if connections.is_empty() {
        print("no connection would change");
    } else {
        let mut rows = table(&["CHANGE", "SOURCE", "DESTINATION", "BEFORE", "AFTER"]);
        for row in &connections {
            rows.add_row(["kind", "source", "destination", "before", "after"].map(|name| text(row, name)));
        }
        print(&rows.to_string());
        let unlisted =
            answer.get("unlisted").cloned().and_then(|unlisted| serde_json::from_value(unlisted).ok());
        if let Some(unlisted) = unlisted.filter(|unlisted: &Unlisted| !unlisted.is_none()) {
            print(&format!("and {unlisted}"));
        }
        decisions(&connections);
    }
    let effects = rows_of("effects");
    for row in effects.iter().filter(|row| text(row, "code") != "NETPOL005") {
        print(&format!("{} ({}) {}", text(row, "code"), text(row, "urgency"), text(row, "message")));
        for rule in row.get("decided_by").and_then(Value::as_array).into_iter().flatten() {
            print(&format!("    {}", clean(rule.as_str().unwrap_or_default())));
        }
    }
    for row in rows_of("workloads") {
        print(&format!("{} would be {}", text(&row, "workload"), text(&row, "exposure")));
    }
    Ok(ExitCode::SUCCESS)
}
