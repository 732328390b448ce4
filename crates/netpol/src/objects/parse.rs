//! From bytes to objects.

use serde_json::Value;
use thiserror::Error;

use super::node::{Misread, Node, Read, Refused};
use super::workload::WorkloadKind;
use super::{
    AdminFlavor, Meta, Namespace, Object, Other, OwnerRef, admin, cluster_node, entry, foreign, policy,
    workload,
};

/// Most bytes of one input.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// Most objects of one input.
pub(super) const MAX_OBJECTS: usize = 200_000;
/// Most YAML nodes of one input.
const MAX_NODES: usize = 6_000_000;
/// Deepest nesting of lists of objects.
const MAX_LIST_DEPTH: usize = 8;

/// Notation of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One or more documents; JSON is a subset.
    Yaml,
    /// One value.
    Json,
}

/// How strictly objects are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Accept what np-guard accepts although the custom resource definitions refuse it.
    pub np_guard: bool,
}

/// Why an input was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    #[error("{place}: not valid YAML or JSON: {message}", place = place(source_name, ""))]
    InvalidYaml { source_name: Option<String>, message: String },
    #[error("{place}: {field}: {message}", place = place(source_name, object))]
    InvalidObject { source_name: Option<String>, object: String, field: String, message: String },
    #[error("{place}: larger than {limit} {unit}", place = place(source_name, ""))]
    TooLarge { source_name: Option<String>, limit: usize, unit: &'static str },
}

fn place(source: &Option<String>, object: &str) -> String {
    match (source, object) {
        (Some(source), "") => source.clone(),
        (Some(source), object) => format!("{source}: {object}"),
        (None, "") => "input".to_owned(),
        (None, object) => object.to_owned(),
    }
}

impl ParseError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidYaml { .. } => "invalid_yaml",
            Self::InvalidObject { .. } => "invalid_object",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// The same error, with the file named.
    pub fn in_source(mut self, source: &str) -> Self {
        let (Self::InvalidYaml { source_name, .. }
        | Self::InvalidObject { source_name, .. }
        | Self::TooLarge { source_name, .. }) = &mut self;
        *source_name = Some(source.to_owned());
        self
    }
}

/// Reads every object of an input: several documents, `List` and `…List` kinds flattened. Documents that are not
/// Kubernetes objects (no `kind`) are passed over.
///
/// # Errors
/// The first document that does not parse, or object that Kubernetes would refuse.
pub fn parse_documents(bytes: &[u8], format: Format) -> Result<Vec<Object>, ParseError> {
    parse_documents_with(bytes, format, ParseOptions::default())
}

/// As [`parse_documents`], with options.
///
/// # Errors
/// As [`parse_documents`].
pub fn parse_documents_with(
    bytes: &[u8],
    format: Format,
    options: ParseOptions,
) -> Result<Vec<Object>, ParseError> {
    parse_documents_each(bytes, format, options, &mut |_, _| {})
}

/// As [`parse_documents_with`]; `each` sees every object with the document that it was read from.
pub(crate) fn parse_documents_each(
    bytes: &[u8],
    format: Format,
    options: ParseOptions,
    each: &mut dyn FnMut(&Object, &Value),
) -> Result<Vec<Object>, ParseError> {
    if bytes.len() > MAX_BYTES {
        return Err(ParseError::TooLarge { source_name: None, limit: MAX_BYTES, unit: "bytes" });
    }
    let invalid = |message: String| ParseError::InvalidYaml { source_name: None, message };
    let documents: Vec<Value> = match format {
        Format::Json => vec![serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?],
        Format::Yaml => {
            // What is JSON is read as such: it is faster, and not all of JSON is YAML (escapes of two halves, tabs).
            let trimmed = bytes.trim_ascii();
            let json = trimmed.starts_with(b"{") && trimmed.ends_with(b"}");
            if let Some(value) = json.then(|| serde_json::from_slice(trimmed).ok()).flatten() {
                return read_documents(&[value], options, each);
            }
            let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
            // Aliases must not make more of an input than its size allows for without them.
            let nodes = (bytes.len() / 2 + 10_000).min(MAX_NODES);
            let budget = serde_saphyr::budget! {
                max_events: nodes * 2,
                max_nodes: nodes,
                max_total_scalar_bytes: MAX_BYTES,
                max_documents: MAX_OBJECTS,
                max_depth: 200,
            };
            let options = serde_saphyr::options! { budget: budget, with_snippet: false };
            serde_saphyr::from_multiple_with_options::<Value>(text, options)
                .map_err(|error| invalid(yaml_words(&error.to_string(), text)))?
        }
    };
    read_documents(&documents, options, each)
}

/// What a YAML error says, in words of who wrote the file rather than of the reader.
fn yaml_words(error: &str, text: &str) -> String {
    let error = match (error.split_once("budget breached: "), error.split_once(", set DuplicateKeyPolicy")) {
        (Some((_, breach)), _) => {
            let place = breach.split_once(" at line ").map(|(_, place)| format!(" at line {place}"));
            let place = place.unwrap_or_default();
            format!("aliases or nesting make more of it than its size allows for{place}")
        }
        (_, Some((told, rest))) => {
            let place = rest.split_once(" at line ").map(|(_, place)| format!(" at line {place}"));
            format!("{told}{}", place.unwrap_or_default())
        }
        _ => error.to_owned(),
    };
    // Charts and other generators write their templates under the names of manifests.
    let template = text.lines().any(|line| line.contains("{{") && line.contains("}}") && !line.contains('"'));
    let hint =
        if template { " (it looks like a template: render it first, as helm template does)" } else { "" };
    error + hint
}

fn read_documents(
    documents: &[Value],
    options: ParseOptions,
    each: &mut dyn FnMut(&Object, &Value),
) -> Result<Vec<Object>, ParseError> {
    let mut reader = Reader { options, objects: Vec::new(), each, trail: Vec::new() };
    for (index, document) in documents.iter().enumerate() {
        let single = documents.len() == 1;
        reader.trail.push(if single { String::new() } else { format!("document {}", index + 1) });
        reader.collect(document, None)?;
        reader.trail.pop();
    }
    Ok(reader.objects)
}

struct Reader<'a> {
    options: ParseOptions,
    objects: Vec<Object>,
    each: &'a mut dyn FnMut(&Object, &Value),
    /// Document and entries of lists in which the reader stands.
    trail: Vec<String>,
}

impl Reader<'_> {
    fn collect(&mut self, value: &Value, list: Option<(&str, &str)>) -> Result<(), ParseError> {
        let Some(fields) = value.as_object() else { return Ok(()) };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // Entries of a typed list may leave out their own kind.
        let kind = text("kind").or(list.map(|(_, kind)| kind));
        let version = text("apiVersion").or(list.map(|(version, _)| version));
        let (kind, version) = match (kind, version) {
            (Some(kind), Some(version)) => (kind, version),
            // What has metadata and one of the two is meant as an object; to pass it over would be a guess.
            (kind, version) if fields.get("metadata").is_some_and(Value::is_object) => {
                let field = match (kind, version) {
                    (Some(_), _) => "apiVersion",
                    (None, Some(_)) => "kind",
                    (None, None) => return Ok(()),
                };
                let (field, message) = (field.to_owned(), "is required".to_owned());
                return Err(self.refused(fields, kind.unwrap_or("object"), Refused { field, message }));
            }
            _ => return Ok(()),
        };
        if let Some(items) = fields.get("items").and_then(Value::as_array)
            && let Some(item_kind) = kind.strip_suffix("List")
        {
            if self.trail.len() > MAX_LIST_DEPTH {
                return Err(ParseError::TooLarge {
                    source_name: None,
                    limit: MAX_LIST_DEPTH,
                    unit: "nested lists",
                });
            }
            let inner = (!item_kind.is_empty()).then_some((version, item_kind));
            for (index, item) in items.iter().enumerate() {
                self.trail.push(format!("items[{index}]"));
                self.collect(item, inner)?;
                self.trail.pop();
            }
            return Ok(());
        }
        if self.objects.len() >= MAX_OBJECTS {
            return Err(ParseError::TooLarge { source_name: None, limit: MAX_OBJECTS, unit: "objects" });
        }
        let misread = Misread::default();
        let object = read(&Node::root(value, &misread), version, kind, self.options)
            .and_then(|object| misread.take().map_or(Ok(object), Err))
            .map_err(|refused| self.refused(fields, kind, refused))?;
        (self.each)(&object, value);
        self.objects.push(object);
        Ok(())
    }

    /// Names the object, and where in the input it stands unless it is all of it.
    fn refused(&self, fields: &serde_json::Map<String, Value>, kind: &str, refused: Refused) -> ParseError {
        let metadata = fields.get("metadata").and_then(Value::as_object);
        let named = |name: &str| metadata.and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
        let mut object = match (named("namespace"), named("name")) {
            (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
            (None, Some(name)) => format!("{kind} {name}"),
            _ => kind.to_owned(),
        };
        let trail: Vec<&str> =
            self.trail.iter().map(String::as_str).filter(|place| !place.is_empty()).collect();
        if !trail.is_empty() {
            object = format!("{object} ({})", trail.join(", "));
        }
        let Refused { field, message } = refused;
        ParseError::InvalidObject { source_name: None, object, field, message }
    }
}

/// Kinds of Kubernetes' own groups that the analysis rests on.
const KNOWN_KINDS: [(&str, &str); 14] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "Pod"),
    ("", "Service"),
    ("", "ReplicationController"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "Ingress"),
    ("policy.networking.k8s.io", "AdminNetworkPolicy"),
];

/// Refuses a kind that Kubernetes' own groups do not have but that is clearly meant: a slip of the pen would otherwise
/// pass for an object without a say.
fn mistaken(root: &Node<'_>, group: &str, kind: &str) -> Read<()> {
    let own = KNOWN_KINDS.iter().any(|(known, _)| *known == group);
    let meant = KNOWN_KINDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(kind));
    match meant.filter(|_| own) {
        Some((group, meant)) => {
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            let version = if *meant == "AdminNetworkPolicy" { format!("{group}/v1alpha1") } else { version };
            root.require("kind")?.refuse(format!("no kind of that apiVersion; {meant} is of {version}"))
        }
        None => Ok(()),
    }
}

/// Groups whose objects are policies of other engines.
const FOREIGN_POLICIES: [(&str, &str); 24] = [
    ("cilium.io", "CiliumNetworkPolicy"),
    ("cilium.io", "CiliumClusterwideNetworkPolicy"),
    ("crd.projectcalico.org", "NetworkPolicy"),
    ("crd.projectcalico.org", "GlobalNetworkPolicy"),
    ("crd.projectcalico.org", "Tier"),
    ("projectcalico.org", "NetworkPolicy"),
    ("projectcalico.org", "GlobalNetworkPolicy"),
    ("projectcalico.org", "Tier"),
    ("security.istio.io", "AuthorizationPolicy"),
    ("security.istio.io", "PeerAuthentication"),
    ("networking.istio.io", "Sidecar"),
    ("policy.linkerd.io", "AuthorizationPolicy"),
    ("policy.linkerd.io", "ServerAuthorization"),
    ("kuma.io", "MeshTrafficPermission"),
    ("consul.hashicorp.com", "ServiceIntentions"),
    ("crd.antrea.io", "NetworkPolicy"),
    ("crd.antrea.io", "ClusterNetworkPolicy"),
    ("crd.antrea.io", "Tier"),
    ("k8s.cni.cncf.io", "MultiNetworkPolicy"),
    ("k8s.ovn.org", "EgressFirewall"),
    ("network.openshift.io", "EgressNetworkPolicy"),
    ("networking.gke.io", "FQDNNetworkPolicy"),
    ("networking.k8s.aws", "ApplicationNetworkPolicy"),
    ("networking.k8s.aws", "ClusterNetworkPolicy"),
];

/// API group and kind of what counts by being there alone: policies of other engines, and ways in that are not read.
pub fn unread_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    FOREIGN_POLICIES.into_iter().chain(foreign::UNREAD)
}

fn read(root: &Node<'_>, version: &str, kind: &str, options: ParseOptions) -> Read<Object> {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if let Some(workload_kind) = WorkloadKind::of(group, kind) {
        return Ok(Object::Workload(workload::read(meta(root, true)?, workload_kind, root, options)?));
    }
    let object = match (group, kind) {
        ("", "Namespace") => Object::Namespace(Namespace { meta: meta(root, false)? }),
        ("", "Node") => Object::Node(cluster_node::read(meta(root, false)?, root)?),
        ("", "Service") => Object::Service(entry::service(meta(root, true)?, root)?),
        ("networking.k8s.io" | "extensions", "NetworkPolicy") => {
            Object::NetworkPolicy(policy::read(meta(root, true)?, root)?)
        }
        ("networking.k8s.io" | "extensions", "Ingress") => {
            Object::Ingress(entry::ingress(meta(root, true)?, root)?)
        }
        ("policy.networking.k8s.io", "AdminNetworkPolicy") => {
            Object::AdminNetworkPolicy(admin::read(meta(root, false)?, AdminFlavor::Admin, root, options)?)
        }
        ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy") => Object::BaselineAdminNetworkPolicy(
            admin::read(meta(root, false)?, AdminFlavor::Baseline, root, options)?,
        ),
        ("policy.networking.k8s.io", "ClusterNetworkPolicy") => Object::ClusterNetworkPolicy(admin::read(
            meta(root, false)?,
            AdminFlavor::Cluster,
            root,
            options,
        )?),
        ("route.openshift.io", "Route") | ("", "Route") => {
            Object::Route(entry::openshift_route(meta(root, true)?, root)?)
        }
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" | "UDPRoute") => {
            Object::Route(entry::gateway_route(meta(root, true)?, kind, root)?)
        }
        ("gateway.networking.k8s.io", "ReferenceGrant") => {
            Object::ReferenceGrant(entry::reference_grant(meta(root, true)?, root)?)
        }
        ("gateway.networking.k8s.io", "Gateway") => Object::Gateway(entry::gateway(meta(root, true)?, root)?),
        _ => {
            mistaken(root, group, kind)?;
            let object = foreign::route(group, kind, root).map_or_else(
                || {
                    let name = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
                    let policy = FOREIGN_POLICIES.contains(&(group, kind));
                    Object::Other(Other { kind: name, meta: loose_meta(root), policy })
                },
                Object::Route,
            );
            // Their schemas are not known here.
            root.forgive();
            object
        }
    };
    Ok(object)
}

/// Metadata of an object that is not analysed: taken where it can be, never refused.
pub(super) fn loose_meta(root: &Node<'_>) -> Meta {
    let metadata = root.get("metadata");
    let field = |name: &str| metadata.as_ref().and_then(|node| node.text_at(name).ok().flatten());
    Meta {
        namespace: field("namespace").unwrap_or_default(),
        name: field("name").unwrap_or_default(),
        uid: field("uid"),
        resource_version: field("resourceVersion"),
        ..Meta::default()
    }
}

fn meta(root: &Node<'_>, namespaced: bool) -> Read<Meta> {
    let metadata = root.require("metadata")?;
    metadata.object()?;
    if let Some(spec) = root.get("spec") {
        spec.object()?;
    }
    let name = match metadata.text_at("name")? {
        Some(name) => name,
        None => match metadata.text_at("generateName")? {
            Some(prefix) => prefix,
            None => return metadata.require("name").map(|_| Meta::default()),
        },
    };
    if name.is_empty() || name.len() > 253 {
        return metadata.require("name")?.refuse("must have 1 to 253 characters");
    }
    let namespace = metadata.text_at("namespace")?.filter(|namespace| !namespace.is_empty());
    let mut owners = Vec::new();
    for owner in metadata.list("ownerReferences")? {
        owners.push(OwnerRef {
            kind: owner.text_at("kind")?.unwrap_or_default(),
            name: owner.text_at("name")?.unwrap_or_default(),
            controller: owner.flag_at("controller")?,
        });
    }
    Ok(Meta {
        namespace: if namespaced { namespace.unwrap_or_else(|| "default".into()) } else { String::new() },
        name,
        labels: metadata.labels_at("labels")?,
        uid: metadata.text_at("uid")?,
        resource_version: metadata.text_at("resourceVersion")?,
        owners,
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(yaml: &str) -> String {
        parse_documents(yaml.as_bytes(), Format::Yaml).expect_err("must be refused").to_string()
    }

    fn policy(rule: &str) -> String {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: ns1}}\nspec:\n  \
             podSelector: {{}}\n  ingress: [{rule}]\n"
        )
    }

    #[test]
    fn names_the_field_that_kubernetes_refuses() {
        let cases = [
            ("{from: [{}]}", "spec.ingress[0].from[0]"),
            ("{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}", "spec.ingress[0].from[0]"),
            ("{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}", "spec.ingress[0].from[0].ipBlock.cidr"),
            ("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}", "ipBlock.except[0]"),
            (
                "{from: [{podSelector: {matchExpressions: [{key: a, operator: Is}]}}]}",
                "matchExpressions[0].operator",
            ),
            ("{ports: [{port: 0}]}", "spec.ingress[0].ports[0].port"),
            ("{ports: [{port: web, endPort: 90}]}", "spec.ingress[0].ports[0].endPort"),
            ("{ports: [{port: 80, endPort: 79}]}", "spec.ingress[0].ports[0].endPort"),
            ("{ports: [{protocol: ICMP}]}", "spec.ingress[0].ports[0].protocol"),
        ];
        for (rule, field) in cases {
            let message = refused(&policy(rule));
            assert!(message.contains("NetworkPolicy ns1/p") && message.contains(field), "{rule}: {message}");
        }
    }

    #[test]
    fn names_document_and_entry() {
        let fine = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n";
        let said = refused(&format!("{fine}{}", policy("{ports: [{port: 0}]}")));
        assert!(said.starts_with("NetworkPolicy ns1/p (document 2): spec.ingress[0]"), "{said}");
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, \
                    kind: Pod, metadata: {name: yes}}\n";
        let said = refused(list);
        assert!(
            said.starts_with("Pod (items[1]): metadata.name: must be a string, not true; put it in quotes"),
            "{said}"
        );
        let said = refused("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {n: 1}}\n");
        assert_eq!(said, "Pod a: metadata.labels.n: must be a string, not 1; put it in quotes");
    }

    #[test]
    fn slips_of_the_pen_are_no_other_kinds() {
        for (version, kind, field) in [
            (
                "apiVersion: v1\n",
                "kind: NetworkPolicy\n",
                "kind: no kind of that apiVersion; NetworkPolicy is of networking.k8s.io/v1",
            ),
            ("apiVersion: networking.k8s.io/v1\n", "kind: Networkpolicy\n", "kind"),
            (
                "apiVersion: v1\n",
                "kind: Deployment\n",
                "kind: no kind of that apiVersion; Deployment is of apps/v1",
            ),
            ("", "kind: NetworkPolicy\n", "apiVersion: is required"),
            ("apiVersion: v1\n", "", "kind: is required"),
        ] {
            let said = refused(&format!("{version}{kind}metadata: {{name: p}}\n"));
            assert!(said.contains(field), "{said}");
        }
        let other = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}\n---\nkind: DaemonSet\nimage: i\n";
        assert_eq!(parse_documents(other.as_bytes(), Format::Yaml).expect("not ours").len(), 1);
    }

    #[test]
    fn json_is_read_as_json() {
        let text = "\t{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\", \"labels\": {\"x\": \"\\ud83d\\ude00\"}}}\n";
        assert_eq!(parse_documents(text.as_bytes(), Format::Yaml).expect("valid").len(), 1);
    }

    #[test]
    fn flattens_lists_and_documents() {
        let yaml = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: ns1}}\n---\n\
                    just: values\n";
        let objects = parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid");
        let keys: Vec<_> = objects.iter().map(|object| object.key().to_string()).collect();
        assert_eq!(keys, ["Pod default/a", "Pod default/b", "Namespace ns1"]);
    }

    #[test]
    fn bombs_end_early() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let deep = "[".repeat(100_000);
        for text in [bomb, deep.clone(), format!("a: {deep}")] {
            let error = parse_documents(text.as_bytes(), Format::Yaml).expect_err("must be refused");
            assert_eq!(error.code(), "invalid_yaml");
        }
        let error = parse_documents(deep.as_bytes(), Format::Json).expect_err("must be refused");
        assert_eq!(error.code(), "invalid_yaml");
    }

    #[test]
    fn policy_types_default() {
        let yaml = policy("") + "  egress: []\n";
        let objects = parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid");
        let Some(Object::NetworkPolicy(read)) = objects.first() else { panic!("a policy") };
        assert!(read.ingress.as_ref().is_some_and(Vec::is_empty) && read.egress.is_none());
    }
}
