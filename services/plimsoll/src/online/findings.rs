//! `findings`, `affected`, `actions`.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, escape};
use super::{Format, Gateway};
use crate::Outcome;
use crate::error::CliError;
use crate::output::{clean, print, table};

#[derive(Debug, Args)]
pub struct FindingsArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Show changes as they come, until interrupted
    #[arg(long)]
    watch: bool,
    /// Only this class: 3d-forensic, 3d, 14d, 60d, upgrade
    #[arg(long)]
    class: Option<String>,
    #[arg(long)]
    cluster: Option<String>,
    #[arg(long)]
    namespace: Option<String>,
    /// `repository` or `registry/repository`
    #[arg(long)]
    repository: Option<String>,
    /// Id or alias of a vulnerability
    #[arg(long)]
    vulnerability: Option<String>,
    #[arg(long)]
    package: Option<String>,
    /// open (default), fixed, suppressed
    #[arg(long)]
    state: Option<String>,
    /// What statements (VEX, ignore rules) suppress, and why
    #[arg(long, conflicts_with_all = ["state", "watch"])]
    suppressed: bool,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
pub struct AffectedArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// A vulnerability id, an alias, a purl or a package name
    id: String,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
pub struct ActionsArgs {
    #[command(flatten)]
    gateway: Gateway,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_default()
}

fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The holder of a finding, for people.
pub fn holder_of(holder: &Value) -> String {
    let workload = holder.get("workload");
    match workload {
        Some(w) => format!(
            "{}/{}/{}/{}",
            text(w, "/workload/cluster"),
            text(w, "/workload/namespace"),
            text(w, "/workload/kind"),
            text(w, "/workload/name")
        ),
        None => {
            format!("{}/{}", text(holder, "/repository/registry"), text(holder, "/repository/repository"))
        }
    }
}

fn package_of(finding: &Value) -> String {
    let package = format!("{}/{}", text(finding, "/package/ecosystem"), text(finding, "/package/name"));
    match text(finding, "/endOfLife") {
        "" => package,
        day => format!("{package} (release unsupported since {day})"),
    }
}

fn versions_of(finding: &Value) -> String {
    let versions: Vec<&str> = items(finding, "/versions").iter().filter_map(Value::as_str).collect();
    let fixed = text(finding, "/fixed");
    if fixed.is_empty() { versions.join(", ") } else { format!("{} → {fixed}", versions.join(", ")) }
}

/// `plimsoll findings`
pub fn findings(args: &FindingsArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    if args.watch {
        return watch(&client, args);
    }
    let mut query = vec![("limit", args.limit.to_string())];
    for (name, value) in [
        ("class", &args.class),
        ("cluster", &args.cluster),
        ("namespace", &args.namespace),
        ("repository", &args.repository),
        ("vulnerability", &args.vulnerability),
        ("package", &args.package),
        ("state", &args.state),
    ] {
        if let Some(value) = value {
            query.push((name, value.clone()));
        }
    }
    if args.suppressed {
        query.push(("suppressed", "true".to_owned()));
    }
    let answer = client.get("/v1/findings", &query)?;
    if args.output == Format::Json {
        print(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if args.suppressed {
        print_suppressed(items(&answer, "/findings"));
    } else {
        print_findings(items(&answer, "/findings"));
    }
    if answer.get("next").is_some_and(|next| !next.is_null()) {
        print("… there are more: --limit takes up to 1000");
    }
    Ok(ExitCode::SUCCESS)
}

/// A table of findings in their order.
pub fn print_findings(findings: &[Value]) {
    if findings.is_empty() {
        print("no findings");
        return;
    }
    // Only where some base is known.
    let bases = findings.iter().any(|finding| !text(finding, "/origin").is_empty());
    let mut columns = vec!["CLASS", "RANK", "VULNERABILITY", "PACKAGE", "VERSION", "WHERE", "WHY"];
    if bases {
        columns.insert(6, "CAME WITH");
    }
    let mut rows = table(&columns);
    for finding in findings {
        let mut row = vec![
            text(finding, "/class").to_owned(),
            format!("{:.1}", number(finding, "/rank")),
            clean(text(finding, "/vulnerabilityId")),
            clean(&package_of(finding)),
            clean(&versions_of(finding)),
            clean(&holder_of(finding.get("holder").unwrap_or(&Value::Null))),
            clean(text(finding, "/sentence")),
        ];
        if bases {
            row.insert(6, clean(&came_with(finding)));
        }
        rows.add_row(row);
    }
    print(&rows.to_string());
}

/// Where what is affected came from: the base by its name, or the application.
fn came_with(finding: &Value) -> String {
    match (text(finding, "/origin"), text(finding, "/base/name")) {
        ("base", name) => name.to_owned(),
        ("both", name) => format!("{name} and the application"),
        (origin, _) => origin.to_owned(),
    }
}

/// Suppressed findings, with who says so and why.
fn print_suppressed(findings: &[Value]) {
    if findings.is_empty() {
        print("nothing is suppressed");
        return;
    }
    let mut rows =
        table(&["CLASS", "VULNERABILITY", "PACKAGE", "VERSION", "WHERE", "STATUS", "BY", "BECAUSE"]);
    for finding in findings {
        let by = items(finding, "/suppressions");
        let joined = |path: &str| by.iter().map(|one| text(one, path)).collect::<Vec<_>>().join("; ");
        let why = by
            .iter()
            .map(|one| {
                let parts = ["/justification", "/reason"].map(|path| text(one, path));
                let mut why =
                    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
                if !text(one, "/expires").is_empty() {
                    why = format!("{why} (until {})", text(one, "/expires"));
                }
                why
            })
            .collect::<Vec<_>>();
        let why = if by.is_empty() { "an advisory says so".to_owned() } else { why.join("; ") };
        rows.add_row([
            text(finding, "/class").to_owned(),
            clean(text(finding, "/vulnerabilityId")),
            clean(&package_of(finding)),
            clean(&versions_of(finding)),
            clean(&holder_of(finding.get("holder").unwrap_or(&Value::Null))),
            clean(&joined("/status")),
            clean(&joined("/issuer")),
            clean(&why),
        ]);
    }
    print(&rows.to_string());
}

fn watch(client: &Client, args: &FindingsArgs) -> Outcome {
    let mut query = Vec::new();
    for (name, value) in [("class", &args.class), ("cluster", &args.cluster)] {
        if let Some(value) = value {
            query.push((name, value.clone()));
        }
    }
    let response = client.stream("/v1/findings/stream", &query)?;
    for line in BufReader::new(response).lines() {
        let line = line.map_err(CliError::io("read the stream of findings"))?;
        let Some(data) = line.strip_prefix("data:") else { continue };
        if args.output == Format::Json {
            print(data.trim_start());
            continue;
        }
        let message: Value =
            serde_json::from_str(data).map_err(|error| CliError::new("bad_answer", error))?;
        for line in changes_of(&message) {
            print(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A message of FINDINGS as lines for people.
pub fn changes_of(message: &Value) -> Vec<String> {
    let holder = holder_of(message.get("holder").unwrap_or(&Value::Null));
    let mut lines: Vec<String> = items(message, "/changes")
        .iter()
        .map(|change| {
            let finding = change.get("finding").unwrap_or(&Value::Null);
            let before = text(change, "/previousClass");
            let class = text(finding, "/class");
            let class = if before.is_empty() || before == class {
                class.to_owned()
            } else {
                format!("{before} → {class}")
            };
            clean(&format!(
                "{:<12} {:<15} {} {} {} — {}",
                text(change, "/kind"),
                class,
                text(finding, "/vulnerabilityId"),
                package_of(finding),
                holder,
                text(finding, "/sentence"),
            ))
        })
        .collect();
    if let Some(failure) = message.get("failure").filter(|f| !f.is_null()) {
        lines.push(clean(&format!(
            "{:<12} {:<15} {holder} — {}",
            "scan_failed",
            text(failure, "/code"),
            text(failure, "/detail")
        )));
    }
    lines
}

/// `plimsoll affected`
pub fn affected(args: &AffectedArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let answer = client.get(&format!("/v1/affected/{}", escape(&args.id)), &[])?;
    if args.output == Format::Json {
        print(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let summary = text(&answer, "/vulnerability/summary");
    if !summary.is_empty() {
        print(&clean(&format!("{}: {summary}", text(&answer, "/vulnerability/id"))));
    }
    let affected = items(&answer, "/affected");
    if affected.is_empty() {
        print("affected: nobody that Plimsoll knows");
    } else {
        let mut rows = table(&["CLASS", "WHERE", "IMAGE", "PACKAGE", "VERSION", "REACHED"]);
        for row in affected {
            let finding = row.get("finding").unwrap_or(&Value::Null);
            let reached = match items(row, "/exposure/paths").first().and_then(Value::as_str) {
                Some(path) => path.to_owned(),
                None => text(finding, "/factors/level").to_owned(),
            };
            rows.add_row([
                text(finding, "/class").to_owned(),
                clean(&holder_of(finding.get("holder").unwrap_or(&Value::Null))),
                clean(text(row, "/repository")),
                clean(&package_of(finding)),
                clean(&versions_of(finding)),
                clean(&reached),
            ]);
        }
        print(&rows.to_string());
    }
    let not = items(&answer, "/not_affected");
    if !not.is_empty() {
        let mut rows = table(&["NOT AFFECTED", "PACKAGE", "VERSION", "BECAUSE"]);
        for row in not {
            rows.add_row(["/holder", "/package", "/version", "/because"].map(|path| clean(text(row, path))));
        }
        print(&rows.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// `plimsoll actions`
pub fn actions(args: &ActionsArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let answer = client.get("/v1/actions", &[])?;
    if args.output == Format::Json {
        print(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    print_actions(items(&answer, "/actions"));
    Ok(ExitCode::SUCCESS)
}

/// A table of actions in their order.
pub fn print_actions(actions: &[Value]) {
    if actions.is_empty() {
        print("nothing to do");
        return;
    }
    let mut rows = table(&["#", "REMOVES", "TOGETHER", "ACTION", "FINDINGS", "WHERE"]);
    let mut together = 0.0;
    for (n, action) in actions.iter().enumerate() {
        let share = number(action, "/share");
        together += share;
        let holders: Vec<&str> = items(action, "/holders").iter().filter_map(Value::as_str).collect();
        rows.add_row([
            (n + 1).to_string(),
            format!("{:.1} %", share * 100.0),
            format!("{:.1} %", together * 100.0),
            clean(text(action, "/sentence")),
            items(action, "/findings").len().to_string(),
            clean(&holders.join(", ")),
        ]);
    }
    print(&rows.to_string());
}
