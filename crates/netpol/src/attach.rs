//! Which routes of the Gateway API are served: by which listeners, and to Services of which namespaces.

use crate::objects::{Gateway, GatewayListener, Namespaces, Object, ObjectKey, Route};
use crate::state::ClusterState;

/// Whether a route is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Some listener admits it, or may.
    pub(crate) attached: bool,
    /// Every gateway that admits it asks for an internal load balancer.
    pub(crate) internal: bool,
    /// Why it is not certain.
    pub(crate) caveat: Option<String>,
}

/// Looks the listeners of a route up; a gateway that is not in view counts as admitting.
pub(crate) fn attachment(route: &Route, state: &ClusterState) -> Attachment {
    let own = route.meta.namespace.as_str();
    let mut unseen = None;
    let (mut admitted, mut public) = (false, false);
    for parent in &route.parents {
        let namespace = parent.namespace.as_deref().unwrap_or(own);
        let key = ObjectKey {
            kind: "gateway.networking.k8s.io/Gateway".into(),
            namespace: namespace.to_owned(),
            name: parent.name.clone(),
        };
        let Some(Object::Gateway(gateway)) = state.get(&key) else {
            unseen = Some(format!(
                "gateway {namespace}/{} is not in view and is taken to admit the route",
                parent.name
            ));
            continue;
        };
        let named = |listener: &&GatewayListener| {
            parent.section.as_ref().is_none_or(|section| *section == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
        };
        if gateway.listeners.iter().filter(named).any(|listener| admits(listener, gateway, route, state)) {
            admitted = true;
            public |= !gateway.internal;
        }
    }
    // What a gateway in view admits is certain, whatever the others do.
    let caveat = unseen.filter(|_| !admitted || !public);
    Attachment {
        attached: admitted || caveat.is_some(),
        internal: admitted && !public && caveat.is_none(),
        caveat,
    }
}

fn admits(listener: &GatewayListener, gateway: &Gateway, route: &Route, state: &ClusterState) -> bool {
    let own = &route.meta.namespace;
    let namespace = match &listener.namespaces {
        Namespaces::All => true,
        Namespaces::Same => gateway.meta.namespace == *own,
        Namespaces::Select(selector) => selector.matches(&state.namespace_labels(own).0),
    };
    namespace && takes(listener, route) && shares_host(listener, route)
}

/// True when the listener takes routes of the kind.
fn takes(listener: &GatewayListener, route: &Route) -> bool {
    let kind = route.kind.rsplit('/').next().unwrap_or(&route.kind);
    if !listener.kinds.is_empty() {
        return listener.kinds.iter().any(|known| known == kind);
    }
    match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => matches!(kind, "HTTPRoute" | "GRPCRoute"),
        "TLS" => matches!(kind, "TLSRoute" | "TCPRoute"),
        "TCP" => kind == "TCPRoute",
        "UDP" => kind == "UDPRoute",
        // A protocol of an implementation.
        _ => true,
    }
}

/// True when some host is both the listener's and the route's. A wildcard stands for any number of labels.
fn shares_host(listener: &GatewayListener, route: &Route) -> bool {
    let Some(ours) = &listener.hostname else { return true };
    let ours = ours.to_ascii_lowercase();
    let under = |name: &str, wildcard: &str| {
        wildcard.strip_prefix('*').is_some_and(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
    };
    route.hosts.is_empty()
        || route.hosts.iter().any(|theirs| {
            let theirs = theirs.to_ascii_lowercase();
            ours == theirs || under(&ours, &theirs) || under(&theirs, &ours)
        })
}
