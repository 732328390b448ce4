//! Observed flows: what `hubble observe -o json` prints and what Hubble's exporter writes, one JSON object a line,
//! bare or as `{"flow": …}` (`flow.Flow` of Cilium's API).
//!
//! Answers are turned round, so that every flow leads from who asked to who served. Flows without ports (ICMP, ARP)
//! are counted and passed over: NetworkPolicies do not govern them.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::IpAddr;

use serde::Deserialize;
use thiserror::Error;

use crate::conn::Protocol;
use crate::selector::Labels;

use super::groups::is_stable;

/// Longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// Most lines.
pub const MAX_LINES: usize = 50_000_000;
/// Most different flows kept: source, destination, protocol, port and whether it was dropped.
pub const MAX_FLOWS: usize = 500_000;

/// Why a file of flows was refused.
#[derive(Debug, Error)]
pub enum FlowError {
    #[error("failed to read line {line}: {source}")]
    Read { line: usize, source: std::io::Error },
    #[error("line {line}: not a flow: {message}")]
    Invalid { line: usize, message: String },
    #[error("line {line}: {what} than {limit}")]
    TooLarge { line: usize, what: &'static str, limit: usize },
    #[error("no line is a flow; `hubble observe -o json` prints what is wanted")]
    Nothing,
}

impl FlowError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::Invalid { .. } => "flow_invalid",
            Self::TooLarge { .. } => "too_large",
            Self::Nothing => "no_flows",
        }
    }
}

/// One end of an observed flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowEnd {
    /// Empty outside the cluster.
    pub(super) namespace: String,
    /// Kind and name of the first workload named.
    pub(super) workload: Option<(String, String)>,
    pub(super) pod: String,
    /// Labels of the pod, without those of Cilium and of rollouts.
    pub(super) labels: Labels,
    /// `world`, `host`, `kube-apiserver`, …
    pub(super) reserved: Vec<String>,
    /// Only of ends without a namespace.
    pub(super) address: Option<IpAddr>,
    /// The Service that was addressed, by namespace and name.
    pub(super) service: Option<(String, String)>,
}

/// An observed flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) source: FlowEnd,
    pub(super) destination: FlowEnd,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// A policy or the network dropped it.
    pub(super) dropped: bool,
}

/// What a file of flows holds.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// How often each was seen.
    pub(super) seen: BTreeMap<Flow, u64>,
    /// Flows without ports.
    pub(super) portless: u64,
    /// Flows of which it is not known who asked.
    pub(super) undirected: u64,
    /// Flows that the ring buffers lost, as far as they say.
    pub(super) lost: u64,
    /// The last line broke off.
    pub(super) truncated: bool,
}

/// What may stand around a flow.
#[derive(Deserialize)]
struct Line {
    flow: Option<RawFlow>,
    lost_events: Option<Lost>,
}

#[derive(Deserialize, Default)]
struct RawFlow {
    #[serde(default)]
    verdict: Option<Verdict>,
    #[serde(default, rename = "IP")]
    ip: Option<RawIp>,
    #[serde(default)]
    l4: Option<RawL4>,
    #[serde(default)]
    source: Option<RawEnd>,
    #[serde(default)]
    destination: Option<RawEnd>,
    #[serde(default)]
    is_reply: Option<bool>,
    #[serde(default)]
    source_service: Option<Named>,
    #[serde(default)]
    destination_service: Option<Named>,
}

#[derive(Deserialize)]
struct Lost {
    #[serde(default)]
    num_events_lost: Option<Count>,
}

/// 64-bit numbers are strings in the JSON of protocol buffers; old versions print numbers.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(1)))
    }
}

#[derive(Deserialize)]
enum Verdict {
    #[serde(rename = "DROPPED")]
    Dropped,
    #[serde(rename = "ERROR")]
    Error,
    /// It went through: forwarded, redirected, traced, translated, or audited.
    #[serde(other)]
    Passed,
}

#[derive(Deserialize)]
struct RawIp {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct RawL4 {
    tcp: Option<RawPorts>,
    udp: Option<RawPorts>,
    sctp: Option<RawPorts>,
}

#[derive(Deserialize)]
struct RawPorts {
    #[serde(default)]
    source_port: u16,
    #[serde(default)]
    destination_port: u16,
    #[serde(default)]
    flags: Option<RawFlags>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct RawFlags {
    #[serde(default)]
    syn: bool,
    #[serde(default)]
    ack: bool,
}

#[derive(Deserialize, Default)]
struct RawEnd {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    workloads: Vec<RawWorkload>,
}

#[derive(Deserialize)]
struct RawWorkload {
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

impl RawEnd {
    fn end(self, address: Option<IpAddr>, service: Option<Named>) -> FlowEnd {
        let mut reserved = Vec::new();
        let mut labels = Labels::new();
        for label in &self.labels {
            let (source, rest) = label.split_once(':').unwrap_or(("", label.as_str()));
            let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
            match source {
                "reserved" => reserved.push(key.to_owned()),
                "k8s"
                    if is_stable(key)
                        && !key.starts_with("io.kubernetes.")
                        && !key.starts_with("io.cilium.") =>
                {
                    labels.insert(key.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        reserved.sort();
        let workload = self.workloads.into_iter().find(|workload| !workload.name.is_empty());
        let inside = !self.namespace.is_empty();
        FlowEnd {
            workload: workload.map(|workload| (workload.kind, workload.name)).filter(|_| inside),
            // The workload stands for its pods.
            pod: if inside { self.pod_name } else { String::new() },
            labels,
            reserved,
            address: address.filter(|_| !inside),
            service: service
                .filter(|service| !inside && !service.name.is_empty())
                .map(|service| (service.namespace, service.name)),
            namespace: self.namespace,
        }
    }
}

impl Flows {
    /// Reads every line.
    ///
    /// # Errors
    /// A line that is not a flow or passes a limit; the last line may break off, as a file that is being written does.
    pub(super) fn read(mut input: impl BufRead) -> Result<Self, FlowError> {
        let mut flows = Self::default();
        let mut buffer = Vec::new();
        let mut any = false;
        for line in 1.. {
            if line > MAX_LINES {
                return Err(FlowError::TooLarge { line, what: "more lines", limit: MAX_LINES });
            }
            buffer.clear();
            let mut limited = std::io::Read::take(&mut input, MAX_LINE as u64 + 1);
            let read =
                limited.read_until(b'\n', &mut buffer).map_err(|source| FlowError::Read { line, source })?;
            if read == 0 {
                break;
            }
            if read > MAX_LINE {
                return Err(FlowError::TooLarge { line, what: "longer", limit: MAX_LINE });
            }
            let whole = buffer.ends_with(b"\n");
            let text = buffer.trim_ascii();
            // A list, one flow a line, is as good.
            let text = text.strip_prefix(b"[").unwrap_or(text);
            let text =
                text.strip_suffix(b",").or_else(|| text.strip_suffix(b"]")).unwrap_or(text).trim_ascii();
            if text.is_empty() {
                continue;
            }
            let parsed = serde_json::from_slice::<Line>(text).and_then(|around| match around {
                Line { flow: None, lost_events: None } => Ok((Some(serde_json::from_slice(text)?), None)),
                Line { flow, lost_events } => Ok((flow, lost_events)),
            });
            match parsed {
                Ok((_, Some(lost))) => flows.lost += lost.num_events_lost.map_or(1, |count| count.0),
                Ok((Some(flow), None)) => any |= flows.take(flow, line)?,
                Ok((None, None)) => {}
                Err(error) if !whole && any && error.is_eof() => flows.truncated = true,
                Err(error) => return Err(FlowError::Invalid { line, message: error.to_string() }),
            }
        }
        if any { Ok(flows) } else { Err(FlowError::Nothing) }
    }

    fn take(&mut self, flow: RawFlow, number: usize) -> Result<bool, FlowError> {
        // Events of nodes and agents have no verdict.
        let Some(verdict) = flow.verdict else { return Ok(false) };
        let Some((protocol, ports)) = flow.l4.and_then(|l4| {
            let tcp = l4.tcp.map(|ports| (Protocol::Tcp, ports));
            let udp = || l4.udp.map(|ports| (Protocol::Udp, ports));
            tcp.or_else(udp).or_else(|| l4.sctp.map(|ports| (Protocol::Sctp, ports)))
        }) else {
            self.portless += 1;
            return Ok(true);
        };
        let opening = ports.flags.as_ref().filter(|flags| flags.syn).map(|flags| flags.ack);
        let Some(reply) = flow.is_reply.or(opening) else {
            self.undirected += 1;
            return Ok(true);
        };
        let (from, to) = flow.ip.map(|ip| (ip.source, ip.destination)).unwrap_or_default();
        let source = flow.source.unwrap_or_default().end(from.parse().ok(), flow.source_service);
        let destination = flow.destination.unwrap_or_default().end(to.parse().ok(), flow.destination_service);
        let dropped = matches!(verdict, Verdict::Dropped | Verdict::Error);
        let flow = if reply {
            Flow { source: destination, destination: source, protocol, port: ports.source_port, dropped }
        } else {
            Flow { source, destination, protocol, port: ports.destination_port, dropped }
        };
        if flow.port == 0 {
            self.portless += 1;
            return Ok(true);
        }
        // Who asks is told apart by workload, not by the Service that it stands behind.
        let flow = Flow { source: FlowEnd { service: None, ..flow.source }, ..flow };
        *self.seen.entry(flow).or_default() += 1;
        if self.seen.len() > MAX_FLOWS {
            return Err(FlowError::TooLarge { line: number, what: "more different flows", limit: MAX_FLOWS });
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Flows, FlowError> {
        Flows::read(text.as_bytes())
    }

    const WEB: &str = r#"{"verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":40000,"destination_port":8080,"flags":{"SYN":true}}},"source":{"namespace":"shop","labels":["k8s:app=web","k8s:pod-template-hash=1","k8s:io.kubernetes.pod.namespace=shop"],"pod_name":"web-1-a"},"destination":{"namespace":"shop","pod_name":"cart-1-a","workloads":[{"name":"cart","kind":"Deployment"}]},"is_reply":false}"#;
    const ANSWER: &str = r#"{"flow":{"verdict":"FORWARDED","l4":{"TCP":{"source_port":8080,"destination_port":40000}},"destination":{"namespace":"shop","labels":["k8s:app=web"],"pod_name":"web-1-a"},"source":{"namespace":"shop","pod_name":"cart-1-a","workloads":[{"name":"cart","kind":"Deployment"}]},"is_reply":true},"node_name":"n"}"#;

    #[test]
    fn wrapped_bare_and_answers_are_one_flow() {
        let rest = "{\"lost_events\":{\"num_events_lost\":\"7\"}}\n{\"node_status\":{}}\n\n";
        let flows = read(&format!("{WEB}\n{ANSWER}\n{rest}")).expect("flows");
        assert_eq!(flows.seen.values().copied().collect::<Vec<_>>(), [2]);
        let flow = flows.seen.keys().next().expect("one");
        assert_eq!(
            (flow.port, flow.destination.workload.as_ref().map(|w| w.1.as_str())),
            (8080, Some("cart"))
        );
        assert_eq!(flow.source.labels.len(), 1, "neither the rollout's hash nor Cilium's own");
        assert_eq!(flows.lost, 7);
        let listed = read(&format!("[{WEB},\n{WEB}]")).expect("a list");
        assert_eq!(listed.seen.values().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn hostile_files_have_codes() {
        let code = |text: &str| read(text).expect_err("refused").code();
        assert_eq!(code(""), "no_flows");
        assert_eq!(code("{\"a\":1}\n"), "no_flows");
        assert_eq!(code("not json\n"), "flow_invalid");
        assert_eq!(code(&format!("{WEB}\n{{\"flow\":{{\"source\":5}}}}\n")), "flow_invalid");
        assert_eq!(code(&format!("{WEB}\n{{\"verdict\":\n{WEB}\n")), "flow_invalid");
        assert_eq!(code(&"x".repeat(MAX_LINE + 2)), "too_large");
        assert_eq!(code(&format!("{}\n", "[".repeat(100_000))), "flow_invalid");
        assert!(read(&format!("{WEB}\n{{\"verdict\":\"FORW")).expect("the rest counts").truncated);
    }
}
