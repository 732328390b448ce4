//! Findings printed: lines, JSON, and SARIF 2.1.0 for code-scanning services.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::effects::{Effect, Urgency};
use crate::rules::{RULES, rule};

/// A finding with the places of its objects.
#[derive(Debug, Clone)]
pub struct Located {
    pub effect: Effect,
    /// Files of its objects, with the 1-based line where it could be found; the first one is the one to show.
    pub places: Vec<(String, Option<usize>)>,
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    code: &'a str,
    name: &'a str,
    urgency: &'a str,
    subject: &'a str,
    message: &'a str,
    decided_by: &'a [String],
    fingerprint: String,
    places: Vec<JsonPlace<'a>>,
}

/// One line each: code, urgency, message, and where.
pub fn print_lines(findings: &[Located]) -> String {
    let line = |finding: &Located| {
        let place = match finding.places.first() {
            Some((file, Some(line))) => format!(" [{file}:{line}]"),
            Some((file, None)) => format!(" [{file}]"),
            None => String::new(),
        };
        let Effect { code, urgency, message, .. } = &finding.effect;
        format!("{code} {} {message}{place}\n", urgency.as_str())
    };
    findings.iter().map(line).collect()
}

/// An array of findings, most urgent first.
pub fn print_json(findings: &[Located]) -> String {
    let rows: Vec<JsonFinding<'_>> = findings
        .iter()
        .map(|finding| {
            let effect = &finding.effect;
            JsonFinding {
                code: effect.code,
                name: rule(effect.code).map_or("", |rule| rule.name),
                urgency: effect.urgency.as_str(),
                subject: &effect.subject,
                message: &effect.message,
                decided_by: &effect.decided_by,
                fingerprint: effect.fingerprint(""),
                places: finding.places.iter().map(|(file, line)| JsonPlace { file, line: *line }).collect(),
            }
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

/// Connections of a difference (NETPOL005) that one log has; readers refuse logs of more than some thousand results.
const MAX_CONNECTIONS: usize = 1_000;

fn level(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::High => "error",
        Urgency::Medium => "warning",
        Urgency::Low | Urgency::Info => "note",
    }
}

/// A path as the URI reference that SARIF asks for: relative paths stay so, absolute ones get the scheme `file`.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut text = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A SARIF 2.1.0 log with one run. A finding's fingerprint is the same in every log that has it. What is accepted is in it
/// as suppressed, with the reason (SARIF 3.35). Of the connections that differ it has the first thousand, and a notification
/// with the number of the others (SARIF 3.20.21).
pub fn print_sarif(findings: &[Located], accepted: &[(Located, String)]) -> String {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.code,
                "name": rule.name,
                "shortDescription": {"text": rule.name.replace('-', " ")},
                "fullDescription": {"text": rule.summary},
                "help": {"text": rule.advice},
                "defaultConfiguration": {"level": level(rule.urgency)},
                "properties": {"tags": ["security", "kubernetes", "network-policy"]},
            })
        })
        .collect();
    let result = |(finding, accepted): (&Located, Option<&String>)| {
        let effect = &finding.effect;
        let place = |(file, line): &(String, Option<usize>)| {
            let mut physical = Map::new();
            physical.insert("artifactLocation".into(), json!({"uri": uri(file)}));
            physical.extend(line.map(|line| ("region".to_owned(), json!({"startLine": line}))));
            Value::Object(physical)
        };
        let mut location = Map::new();
        let logical = json!([{"fullyQualifiedName": effect.subject, "kind": "resource"}]);
        location.insert("logicalLocations".into(), logical);
        let first = finding.places.first().map(place);
        location.extend(first.map(|first| ("physicalLocation".to_owned(), first)));
        let related: Vec<Value> =
            finding.places.iter().skip(1).map(|other| json!({"physicalLocation": place(other)})).collect();
        let mut message = effect.message.clone();
        let others = effect.other_rules();
        if !others.is_empty() {
            message.push_str(&format!(" (decided by {})", others.join("; ")));
        }
        let mut result = Map::new();
        result.insert("ruleId".into(), json!(effect.code));
        let index = RULES.iter().position(|rule| rule.code == effect.code);
        result.extend(index.map(|index| ("ruleIndex".to_owned(), json!(index))));
        result.insert("level".into(), json!(level(effect.urgency)));
        result.insert("message".into(), json!({"text": message}));
        result.insert("locations".into(), json!([location]));
        result.insert("partialFingerprints".into(), json!({"netpol/v1": effect.fingerprint("")}));
        if !related.is_empty() {
            result.insert("relatedLocations".into(), Value::Array(related));
        }
        if let Some(reason) = accepted {
            let suppressed = json!([{"kind": "external", "status": "accepted", "justification": reason}]);
            result.insert("suppressions".into(), suppressed);
        }
        Value::Object(result)
    };
    let all = findings.iter().map(|finding| (finding, None));
    let all = all.chain(accepted.iter().map(|(finding, reason)| (finding, Some(reason))));
    let mut connections = 0;
    let listed = all.filter(|(finding, _)| {
        let connection = finding.effect.code == "NETPOL005";
        connections += usize::from(connection);
        !connection || connections <= MAX_CONNECTIONS
    });
    let results: Vec<Value> = listed.map(result).collect();
    let notifications: Vec<Value> = match connections.saturating_sub(MAX_CONNECTIONS) {
        0 => Vec::new(),
        more => vec![json!({
            "level": "warning",
            "message": {"text": format!("{more} more connections differ (NETPOL005) and are not among the results")},
        })],
    };
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "plimsoll netpol",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notifications}],
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_are_uri_references() {
        assert_eq!(uri("./k8s/a b.yaml"), "k8s/a%20b.yaml");
        assert_eq!(uri("/srv/ü.yaml"), "file:///srv/%C3%BC.yaml");
    }
}
