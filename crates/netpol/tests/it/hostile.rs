//! Objects with anything anywhere: refused with a place, or read and analysed, but never a crash.

use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::exposure::exposures;
use plimsoll_netpol::objects::{Format, ParseError, parse_documents};
use plimsoll_netpol::state::ClusterState;
use proptest::prelude::*;
use serde_json::{Value, json};

fn objects() -> Vec<Value> {
    let rule = json!({"from": [{"podSelector": {"matchLabels": {"app": "a"}}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
        "ports": [{"port": 80, "endPort": 90}, {"port": "web", "protocol": "UDP"}]});
    let admin = json!({"name": "r", "action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}, {"namespaces": {}}],
        "ports": [{"portNumber": {"port": 1, "protocol": "TCP"}}]});
    vec![
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "ns1"},
            "spec": {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}, "policyTypes": ["Ingress"], "ingress": [rule]}}),
        json!({"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": "p"},
            "spec": {"priority": 3, "subject": {"namespaces": {}}, "egress": [admin]}}),
        json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"},
            "spec": {"tier": "Admin", "priority": 3, "subject": {"pods": {"namespaceSelector": {}, "podSelector": {}}},
                "ingress": [{"action": "Accept", "from": [{"pods": {"namespaceSelector": {}, "podSelector": {}}}], "protocols": [{"tcp": {"destinationPort": {"number": 5}}}]}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "ns1", "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "a", "controller": true}]},
            "spec": {"hostNetwork": false, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80, "name": "web"}]}]},
            "status": {"podIP": "10.0.0.1", "containerStatuses": [{"name": "c", "imageID": "r/i@sha256:00"}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "ns1"},
            "spec": {"type": "NodePort", "selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "web", "nodePort": 30000}], "externalIPs": ["1.2.3.4"]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "ns1"},
            "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "h", "namespace": "ns1"},
            "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]}}),
    ]
}

/// Replaces the value at a place, counted in order of a walk.
fn replace(value: &mut Value, place: &mut usize, with: &Value) {
    if *place == 0 {
        *value = with.clone();
        *place = usize::MAX;
        return;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| step(item, place, with)),
        Value::Object(fields) => fields.values_mut().for_each(|field| step(field, place, with)),
        _ => {}
    }
}

fn step(value: &mut Value, place: &mut usize, with: &Value) {
    if *place != usize::MAX {
        replace(value, place, with);
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!([{}])),
        Just(json!(true)),
        Just(json!("")),
        Just(json!("::ffff:0:0/1")),
        Just(json!({"matchLabels": {"": null}})),
        any::<i64>().prop_map(|number| json!(number)),
        "[a-z0-9/:.*-]{0,12}".prop_map(|text| json!(text)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn anything_anywhere(which in 0usize..7, places in proptest::collection::vec((1usize..40, anything()), 1..4)) {
        let mut all = objects();
        for (place, with) in places {
            step(&mut all[which], &mut place.clone(), &with);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string();
        match parse_documents(list.as_bytes(), Format::Json) {
            Ok(objects) => {
                let state = ClusterState::from(objects);
                let options = Options::default();
                let connectivity = Connectivity::build(&state, &options);
                for exposure in exposures(&state, &connectivity, &options) {
                    prop_assert!(exposure.at_most >= exposure.level && !exposure.paths.is_empty());
                }
                let _ = connectivity.rows();
            }
            Err(ParseError::InvalidObject { object, message, .. }) => {
                prop_assert!(!object.is_empty() && !message.is_empty());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn text_that_looks_like_yaml(text in "[a-z:\\-\\n \\[\\]{}&*|>\"'#,0-9!]{0,200}") {
        let _ = parse_documents(text.as_bytes(), Format::Yaml);
    }
}

/// As Kubernetes refuses them: text, numbers and lists where fields are asked for.
#[test]
fn what_is_no_object_has_no_fields() {
    let of = |kind: &str, spec: &str| {
        let version = match kind {
            "Pod" | "Service" => "v1",
            "Ingress" | "NetworkPolicy" => "networking.k8s.io/v1",
            _ => "apps/v1",
        };
        format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: a, namespace: ns1}}, spec: {spec}}}"
        )
    };
    for (kind, spec, place) in [
        ("Deployment", "{template: oops}", Some("spec.template")),
        ("Deployment", "{template: {metadata: 1}}", Some("spec.template.metadata")),
        ("Pod", "{containers: [oops]}", Some("spec.containers[0]")),
        ("Pod", "{containers: [{securityContext: [1]}]}", Some("spec.containers[0].securityContext")),
        ("Ingress", "{rules: [oops]}", Some("spec.rules[0]")),
        ("Ingress", "{rules: [{http: 1}]}", Some("spec.rules[0].http")),
        ("Ingress", "{rules: [{http: {paths: [x]}}]}", Some("spec.rules[0].http.paths[0]")),
        (
            "Ingress",
            "{defaultBackend: {service: {name: s, port: 80}}}",
            Some("spec.defaultBackend.service.port"),
        ),
        ("Service", "{ports: [80]}", Some("spec.ports[0]")),
        ("NetworkPolicy", "{podSelector: {}, ingress: [x]}", Some("spec.ingress[0]")),
        // Null and what is missing are defaults.
        ("Deployment", "{template: null}", None),
        ("Ingress", "{rules: [{http: null}, null]}", None),
    ] {
        let told = match parse_documents(of(kind, spec).as_bytes(), Format::Yaml) {
            Ok(_) => None,
            Err(ParseError::InvalidObject { field, .. }) => Some(field),
            Err(other) => panic!("{kind} {spec}: {other}"),
        };
        let told = told.as_deref();
        assert!(
            told == place || told.zip(place).is_some_and(|(told, place)| told.starts_with(place)),
            "{kind} {spec}: {told:?}"
        );
    }
    // Other groups have schemas of their own.
    let other =
        "{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: a}, spec: {routes: [x]}}";
    assert!(parse_documents(other.as_bytes(), Format::Yaml).is_ok());
}

/// What is wrong with a file is said in the words of who wrote it.
#[test]
fn files_that_are_no_yaml_by_table() {
    let twice = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nmetadata: {name: b}\n";
    let aliases: String = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, n| {
        format!("{all}a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))
    });
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ";
    let cases = [
        ("metadata:\n  name: {{ .Release.Name }}\n".to_owned(), "render it first"),
        ("{{- if .Values.on }}\nkind: Pod\n{{- end }}\n".to_owned(), "render it first"),
        (twice.to_owned(), "duplicate mapping key: metadata at line 4"),
        (aliases, "aliases or nesting make more of it"),
        (format!("{policy}{{ingress: [{{ports: [{{port: '80'}}]}}]}}"), "a number is written without quotes"),
        (format!("{policy}{{ingress: [{{ports: [{{port: 80, protocol: tcp}}]}}]}}"), "not \"tcp\""),
        (
            format!("{policy}{{ingress: [{{from: [{{podSelectr: {{}}}}]}}]}}"),
            "from[0].podSelectr is none of them",
        ),
    ];
    for (text, words) in cases {
        let error =
            parse_documents(text.as_bytes(), Format::Yaml).unwrap_err().in_source("a.yaml").to_string();
        assert!(error.starts_with("a.yaml: ") && error.contains(words), "{error}");
        assert!(!error.contains("Policy in Options") && !error.contains("budget"), "{error}");
    }
}
