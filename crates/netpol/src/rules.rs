//! The codes of findings about network policy: what each says, and what to do about it.
//!
//! docs/netpol.md has a section for each, which a test checks.

use crate::effects::Urgency;

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `NETPOL001`…; never given to another kind.
    pub code: &'static str,
    /// The same in words, such as `internet-ingress-added`.
    pub name: &'static str,
    /// The most urgent that a finding of the kind is.
    pub urgency: Urgency,
    /// What it says.
    pub summary: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// Every kind, by code.
pub const RULES: [Rule; 15] = [
    Rule {
        code: "NETPOL001",
        name: "internet-ingress-added",
        urgency: Urgency::High,
        summary: "A workload became reachable from the internet, or on more ports.",
        advice: "If it is meant to be public, nothing. Otherwise remove the way in that the finding names, or add a \
                 policy that admits only the ingress controller's pods.",
    },
    Rule {
        code: "NETPOL002",
        name: "cluster-ingress-added",
        urgency: Urgency::High,
        summary: "A workload became reachable from other namespaces, or from the whole cluster.",
        advice: "Name the callers in the policy's `from` by namespace and pod labels.",
    },
    Rule {
        code: "NETPOL003",
        name: "isolation-lost",
        urgency: Urgency::High,
        summary: "A workload that policies isolated is no longer selected by any NetworkPolicy in a direction.",
        advice: "Restore the policy or the label that it selects by, or add a default-deny policy to the namespace.",
    },
    Rule {
        code: "NETPOL004",
        name: "egress-opened",
        urgency: Urgency::Medium,
        summary: "A workload may connect to more addresses outside the cluster; the finding says whether the cloud's \
                  metadata service is among them.",
        advice: "Narrow the ipBlock, and put 169.254.169.254/32 into its `except`.",
    },
    Rule {
        code: "NETPOL005",
        name: "connection-changed",
        urgency: Urgency::Medium,
        summary: "A connection between workloads was added, removed or changed. One that was removed may break what \
                  used it.",
        advice: "Compare with what was meant; the rules that decide are named.",
    },
    Rule {
        code: "NETPOL006",
        name: "workload-unprotected",
        urgency: Urgency::Medium,
        summary: "No policy selects a workload, or any of its namespace, in a direction, so everything is allowed.",
        advice: "Add a policy that selects it, or a default-deny policy to its namespace.",
    },
    Rule {
        code: "NETPOL007",
        name: "policy-selects-nothing",
        urgency: Urgency::Low,
        summary: "A policy selects no workload, though its namespace has some in view.",
        advice: "Compare its podSelector with the labels of the pod template; remove it if it is left over.",
    },
    Rule {
        code: "NETPOL008",
        name: "rule-matches-nothing",
        urgency: Urgency::Low,
        summary: "The peers of a rule match no workload and no address, though their namespaces are in view, or its \
                  ports are none.",
        advice: "Compare its selectors with the labels of namespaces and pods: without namespaceSelector, a rule \
                 speaks of the policy's own namespace.",
    },
    Rule {
        code: "NETPOL009",
        name: "rule-shadowed",
        urgency: Urgency::Low,
        summary: "A rule changes nothing: other rules decide all of its traffic already.",
        advice: "Remove it, or narrow the rules that are named if they allow more than was meant.",
    },
    Rule {
        code: "NETPOL010",
        name: "selection-changed",
        urgency: Urgency::High,
        summary: "Labels changed, and a policy that did not change selects other workloads than before.",
        advice: "Keep the labels that policies select by, or change the policies in the same deploy.",
    },
    Rule {
        code: "NETPOL011",
        name: "named-port-unresolved",
        urgency: Urgency::Medium,
        summary: "A rule names a port that no destination has, so that it allows nothing.",
        advice: "Give the container port that name under the same protocol, or use its number.",
    },
    Rule {
        code: "NETPOL012",
        name: "admin-priority-tie",
        urgency: Urgency::Medium,
        summary: "Two administrator's policies of one priority decide otherwise on common traffic: the API leaves the \
                  outcome open.",
        advice: "Give them different priorities.",
    },
    Rule {
        code: "NETPOL013",
        name: "unknown-field",
        urgency: Urgency::Medium,
        summary: "A policy has a field that Kubernetes does not know: it is refused or dropped, and what is left may \
                  allow more than was meant.",
        advice: "Correct the field's name or its indentation.",
    },
    Rule {
        code: "NETPOL020",
        name: "declared-not-enforced",
        urgency: Urgency::Medium,
        summary: "Declared policy may differ from what is enforced: the node's network, a network plugin without \
                  policies, policies of another engine, namespaces or peers that are not in view.",
        advice: "Supply what is missing, or check on the cluster what the finding names.",
    },
    Rule {
        code: "NETPOL030",
        name: "drift",
        urgency: Urgency::Medium,
        summary: "What runs allows other connections than what is declared (`netpol diff --drift`).",
        advice: "Apply the declared objects again, or take the change into them.",
    },
];

/// The kind of a code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
