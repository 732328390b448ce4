//! Declared values become needs: which Service an address names, and which pods and ports are behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::conn::{ConnSet, Protocol};
use crate::engine::{Connectivity, Endpoint, Peer};
use crate::entries::{Source, controllers, entries, pod_ports, selects};
use crate::ip::Family;
use crate::objects::{Object, Service, ServicePort};
use crate::selector::Labels;
use crate::state::ClusterState;

use super::address::{Hint, Host, Mention, PortWord, hint, mentions, number, port_keys};
use super::declared::{Declared, Name, ServiceFacts, Setting};
use super::groups::Groups;
use super::needs::{Cause, End, Needs};

/// Services with the workloads behind them.
pub(super) struct Resolver<'a> {
    state: &'a ClusterState,
    connectivity: &'a Connectivity,
    declared: &'a Declared,
    groups: &'a Groups,
    /// External names become public addresses on their port.
    external: bool,
    services: BTreeMap<Name, (&'a Service, Vec<usize>)>,
    namespaces: BTreeSet<&'a str>,
    by_address: BTreeMap<IpAddr, Name>,
}

/// What a host name stands for.
enum Found {
    Service(Name),
    /// The form of a Service's name, but no such Service in view.
    Missing(Name),
    External,
    /// One word that no Service has.
    Word,
}

/// A value as it is judged.
struct Place<'a> {
    group: usize,
    workload: usize,
    source: &'a str,
    setting: &'a Setting,
    hint: Hint,
    /// Port of another variable that belongs to this one.
    beside: Option<u16>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        state: &'a ClusterState,
        connectivity: &'a Connectivity,
        declared: &'a Declared,
        groups: &'a Groups,
        external: bool,
    ) -> Self {
        let mut local: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, endpoint) in connectivity.endpoints().iter().enumerate() {
            if !endpoint.assumed {
                local.entry(&endpoint.namespace).or_default().push(index);
            }
        }
        let mut services = BTreeMap::new();
        let mut namespaces: BTreeSet<&str> = local.keys().copied().collect();
        for object in state.objects() {
            namespaces.insert(&object.meta().namespace);
            if let Object::Namespace(namespace) = object {
                namespaces.insert(&namespace.meta.name);
            }
            let Object::Service(service) = object else { continue };
            let name = (service.meta.namespace.clone(), service.meta.name.clone());
            let behind = |index: &&usize| {
                connectivity.endpoints().get(**index).is_some_and(|endpoint| selects(service, endpoint))
            };
            let members = local.get(name.0.as_str()).into_iter().flatten().filter(behind).copied().collect();
            services.insert(name, (service, members));
        }
        let addresses = |(name, facts): (&Name, &ServiceFacts)| {
            facts.addresses.iter().map(|address| (*address, name.clone())).collect::<Vec<_>>()
        };
        let by_address = declared.services.iter().flat_map(addresses).collect();
        Self { state, connectivity, declared, groups, external, services, namespaces, by_address }
    }

    fn endpoint(&self, workload: usize) -> Option<&'a Endpoint> {
        self.connectivity.endpoints().get(workload)
    }

    fn add(&self, needs: &mut Needs, ends: (End, End), ports: &ConnSet, evidence: &str) {
        needs.add(ends, ports, evidence, (self.groups, self.connectivity));
    }

    /// Everything that manifests declare.
    pub(super) fn declared(&self, needs: &mut Needs) {
        for (workload, endpoint) in self.connectivity.endpoints().iter().enumerate() {
            if let Some(group) = self.groups.group_of(workload).filter(|_| !endpoint.assumed) {
                self.of_workload(workload, group, endpoint, needs);
            }
        }
        self.entries(needs);
        self.hooks(needs);
    }

    fn of_workload(&self, workload: usize, group: usize, endpoint: &Endpoint, needs: &mut Needs) {
        let source = endpoint.to_string();
        let namespace = endpoint.namespace.as_str();
        let expand = |name: &str| self.service_variable(namespace, name);
        for key in &endpoint.objects {
            let (settings, unread) = self.declared.values(key, &expand);
            for missing in unread {
                let whole = missing.key.is_empty();
                if whole || hint(&missing.key) == Hint::Address {
                    let detail = format!("{} is in {}, which is not read", missing.place, missing.holder);
                    needs.gap(Cause::Unread, &source, "", detail);
                }
            }
            let ports: BTreeMap<(usize, &str), u16> = settings
                .iter()
                .filter(|setting| setting.key.ends_with("PORT"))
                .filter_map(|setting| {
                    Some(((setting.container, setting.key.as_str()), number(&setting.text)?))
                })
                .collect();
            for setting in settings.iter().filter(|setting| !setting.key.ends_with("NO_PROXY")) {
                let beside = || {
                    let keys = port_keys(&setting.key);
                    keys.iter().find_map(|key| ports.get(&(setting.container, key.as_str())).copied())
                };
                let beside = if setting.key.is_empty() { None } else { beside() };
                let place =
                    Place { group, workload, source: &source, setting, hint: hint(&setting.key), beside };
                for mention in mentions(&setting.text) {
                    self.mention(&place, &mention, needs);
                }
            }
            if let Some(Object::Workload(object)) = self.state.get(key) {
                let account = object.service_account.clone().unwrap_or_else(|| "default".into());
                if let Some(words) = self.declared.accounts.get(&(namespace.to_owned(), account.clone())) {
                    self.api_server(group, &source, &format!("service account {account} has {words}"), needs);
                }
            }
            if let Some(port) = self.declared.scraped.get(key) {
                self.scraped(endpoint, group, *port, needs);
            }
        }
    }

    /// `NAME_SERVICE_HOST` and `NAME_SERVICE_PORT`, which Kubernetes sets for each Service of the namespace.
    fn service_variable(&self, namespace: &str, variable: &str) -> Option<String> {
        let of = |stem: &str| {
            let name = (namespace.to_owned(), stem.to_ascii_lowercase().replace('_', "-"));
            self.services.get(&name).map(|(service, _)| *service)
        };
        if let Some(stem) = variable.strip_suffix("_SERVICE_HOST") {
            return of(stem).map(|service| service.meta.name.clone());
        }
        let port = of(variable.strip_suffix("_SERVICE_PORT")?)?.ports.first()?.port;
        Some(port.to_string())
    }

    fn lookup(&self, host: &str, namespace: &str) -> Found {
        let labels: Vec<&str> = host.split('.').collect();
        let known = |namespace: &str, name: &str| {
            let name = (namespace.to_owned(), name.to_owned());
            self.services.contains_key(&name).then_some(name)
        };
        // The pods of a StatefulSet have names of their own below a Service's.
        let numbered = |pod: &str| {
            pod.rsplit_once('-').is_some_and(|(_, number)| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        let service = labels.iter().position(|label| *label == "svc").filter(|place| *place >= 2);
        if let Some(place) = service
            && let Some([name, namespace]) = labels.get(place - 2..place)
        {
            let name = ((*namespace).to_owned(), (*name).to_owned());
            return if self.services.contains_key(&name) {
                Found::Service(name)
            } else {
                Found::Missing(name)
            };
        }
        let found = match labels.as_slice() {
            [name] => return known(namespace, name).map_or(Found::Word, Found::Service),
            [name, other] => {
                known(other, name).or_else(|| if numbered(name) { known(namespace, other) } else { None })
            }
            [pod, name, other] if numbered(pod) => known(other, name),
            _ => None,
        };
        match (found, labels.as_slice()) {
            (Some(name), _) => Found::Service(name),
            (None, [name, other]) if self.namespaces.contains(other) => {
                Found::Missing(((*other).to_owned(), (*name).to_owned()))
            }
            _ => Found::External,
        }
    }

    fn mention(&self, place: &Place<'_>, mention: &Mention, needs: &mut Needs) {
        let Some(endpoint) = self.endpoint(place.workload) else { return };
        let evidence = &place.setting.place;
        let host = match &mention.host {
            Host::Address(address) => return self.address(place, mention, *address, needs),
            Host::Name(name) if name == "localhost" => return,
            Host::Name(name) => name,
        };
        let numbered = matches!(mention.port, Some(PortWord::Number(_)));
        let firm = numbered || mention.url;
        let hinted = place.hint == Hint::Address || hint(&mention.before) == Hint::Address;
        match self.lookup(host, &endpoint.namespace) {
            Found::Service(name) | Found::Missing(name) if is_api_server(&name) => {
                self.api_server(place.group, place.source, evidence, needs);
            }
            Found::Service(name) => self.named(place, mention, &name, needs),
            Found::Missing(name) if firm || hinted || host.contains(".svc") => {
                let detail = format!("{evidence} names {host}, and no such Service is in view");
                needs.gap(
                    Cause::ServiceMissing,
                    place.source,
                    format!("Service {}/{}", name.0, name.1),
                    detail,
                );
            }
            Found::Word => {
                let elsewhere = || self.services.keys().any(|(_, name)| name == host);
                if firm && (hinted || mention.url || elsewhere()) {
                    let service = format!("Service {}/{host}", endpoint.namespace);
                    let detail = format!("{evidence} names {host}, and no such Service is in view");
                    needs.gap(Cause::ServiceMissing, place.source, service, detail);
                }
            }
            Found::External if firm || hinted && mention.alone => {
                self.external(place, mention, host, evidence, needs);
            }
            Found::External | Found::Missing(_) => {}
        }
    }

    fn external(&self, place: &Place<'_>, mention: &Mention, host: &str, evidence: &str, needs: &mut Needs) {
        let port = match &mention.port {
            Some(PortWord::Number(port)) => Some(*port),
            _ => place.beside.or(mention.usual),
        };
        match port {
            Some(port) if self.external => {
                let ports = ConnSet::range(Protocol::Tcp, port, port);
                needs.lookups.insert(place.group);
                for family in [Family::V4, Family::V6] {
                    let ends = (End::Group(place.group), End::World(family));
                    self.add(needs, ends, &ports, &format!("{evidence} names {host}"));
                }
            }
            _ => {
                let shown = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
                let detail = format!("{evidence} names a host outside the cluster");
                needs.gap(Cause::External, place.source, shown, detail);
            }
        }
    }

    /// A host name that is a Service's.
    fn named(&self, place: &Place<'_>, mention: &Mention, name: &Name, needs: &mut Needs) {
        let Some((service, members)) = self.services.get(name) else { return };
        let facts = self.declared.services.get(name);
        let shown = format!("Service {}/{}", name.0, name.1);
        let evidence = format!("{} names {shown}", place.setting.place);
        let has = |number: u16| service.ports.iter().any(|port| port.port == number);
        let bare = mention.port.is_none()
            && !mention.url
            && matches!(&mention.host, Host::Name(host) if !host.contains('.'));
        if bare {
            let own = members.contains(&place.workload);
            let hinted = hint(&mention.before) == Hint::Address;
            let followed = mention.next.is_some_and(has);
            if own || !(mention.alone || hinted || followed) {
                return;
            }
            if place.hint == Hint::Other && !hinted && !followed {
                let detail = format!("{} is a word that {shown} has for a name, too", place.setting.place);
                return needs.gap(Cause::Doubtful, place.source, shown, detail);
            }
        }
        if let Some(host) = facts.and_then(|facts| facts.external_name.as_ref()) {
            return self.external(place, mention, host, &evidence, needs);
        }
        let headless = facts.is_some_and(|facts| facts.headless);
        let by_name = |word: &str| {
            service.ports.iter().find(|port| port.name.as_deref() == Some(word)).map(|port| port.port)
        };
        let asked = match &mention.port {
            Some(PortWord::Number(number)) => Some(*number),
            Some(PortWord::Name(word)) => match by_name(word) {
                Some(number) => Some(number),
                // `redis:alpine` is an image, not an address.
                None => return,
            },
            None => {
                let open = |number: &u16| headless || has(*number);
                place.beside.or(mention.next).filter(open).or(mention.usual.filter(|usual| has(*usual)))
            }
        };
        if members.is_empty() {
            return needs.gap(
                Cause::ServiceEmpty,
                place.source,
                shown,
                format!("{evidence}, which selects no pods"),
            );
        }
        let ports: Vec<&ServicePort> =
            service.ports.iter().filter(|port| asked.is_none_or(|asked| port.port == asked)).collect();
        if ports.is_empty() && !headless {
            let number = asked.map(|port| format!(" {port}")).unwrap_or_default();
            return needs.gap(
                Cause::PortMissing,
                place.source,
                shown,
                format!("{evidence}, which has no port{number}"),
            );
        }
        needs.lookups.insert(place.group);
        for member in members {
            let Some((endpoint, group)) = self.endpoint(*member).zip(self.groups.group_of(*member)) else {
                continue;
            };
            let mut open = pod_ports(endpoint, &ports, false, false);
            // Without a virtual address, clients reach the pods at the port that they ask for.
            if headless {
                for port in &ports {
                    open = open.union(&ConnSet::range(port.protocol, port.port, port.port));
                }
                if let Some(asked) = asked.filter(|_| ports.is_empty()) {
                    open = ConnSet::range(Protocol::Tcp, asked, asked);
                }
            }
            if open.is_empty() {
                let detail = format!("{evidence}, whose port the containers of {endpoint} do not name");
                needs.gap(Cause::PortMissing, place.source, &shown, detail);
            }
            self.add(needs, (End::Group(place.group), End::Group(group)), &open, &evidence);
        }
    }

    fn address(&self, place: &Place<'_>, mention: &Mention, address: IpAddr, needs: &mut Needs) {
        let local = address.is_loopback() || address.is_unspecified() || address.is_multicast();
        if local {
            return;
        }
        let evidence = format!("{} names {address}", place.setting.place);
        if is_metadata(address) {
            return needs.gap(Cause::Metadata, place.source, address.to_string(), evidence);
        }
        if let Some(name) = self.by_address.get(&address) {
            return self.named(place, mention, name, needs);
        }
        let port = match mention.port {
            Some(PortWord::Number(port)) => Some(port),
            _ => place.beside.or(mention.usual),
        };
        match port {
            Some(port) => {
                let ports = ConnSet::range(Protocol::Tcp, port, port);
                let ends = (End::Group(place.group), End::Block(IpNet::from(address)));
                self.add(needs, ends, &ports, &evidence);
            }
            None if place.hint == Hint::Address => {
                needs.gap(Cause::PortUnknown, place.source, address.to_string(), evidence);
            }
            None => {}
        }
    }

    fn api_server(&self, group: usize, source: &str, evidence: &str, needs: &mut Needs) {
        if self.declared.api_server.is_empty() {
            let detail = format!("{evidence}: the address of the API server is not in view");
            return needs.gap(Cause::ApiServer, source, "kubernetes.default", detail);
        }
        for (net, port) in &self.declared.api_server {
            let ports = ConnSet::range(Protocol::Tcp, *port, *port);
            self.add(
                needs,
                (End::Group(group), End::Block(*net)),
                &ports,
                &format!("{evidence} (API server)"),
            );
        }
    }

    fn scraped(&self, endpoint: &Endpoint, group: usize, port: Option<u16>, needs: &mut Needs) {
        let ports = port.map_or_else(
            || {
                let declared = endpoint.containers.iter().flat_map(|container| &container.ports);
                declared.fold(ConnSet::none(), |all, port| {
                    all.union(&ConnSet::range(port.protocol, port.port, port.port))
                })
            },
            |port| ConnSet::range(Protocol::Tcp, port, port),
        );
        let scrapers = self.connectivity.endpoints().iter().enumerate().filter(|(_, endpoint)| {
            let is = |labels: &Labels, key: &str| labels.get(key).is_some_and(|value| value == "prometheus");
            endpoint.pod_labels.iter().any(|labels| is(labels, "app.kubernetes.io/name") || is(labels, "app"))
        });
        let mut found = false;
        for scraper in scrapers.filter_map(|(index, _)| self.groups.group_of(index)) {
            found = true;
            let ends = (End::Group(scraper), End::Group(group));
            self.add(needs, ends, &ports, "annotation prometheus.io/scrape");
        }
        if !found {
            let detail =
                format!("annotation prometheus.io/scrape, {ports}: no workload in view is Prometheus");
            needs.gap(Cause::Scrape, "", endpoint.to_string(), detail);
        }
    }

    /// Ways in from outside.
    fn entries(&self, needs: &mut Needs) {
        let (peers, in_view) = controllers(self.connectivity);
        let callers: Vec<End> = if in_view {
            let group = |peer: &Peer| match peer {
                Peer::Workload(index) => self.groups.group_of(*index),
                Peer::Range(_) => None,
            };
            let groups: BTreeSet<usize> = peers.iter().filter_map(group).collect();
            let end = |group: usize| {
                // A controller on the node's network has the node's address.
                let host = self.groups.get(group).is_some_and(|group| group.host_network);
                if host { End::Anyone } else { End::Group(group) }
            };
            groups.into_iter().map(end).collect()
        } else {
            vec![End::AnyPod]
        };
        for entry in entries(self.state, self.connectivity) {
            let Some(group) = self.groups.group_of(entry.workload) else { continue };
            if self.groups.get(group).is_some_and(|group| group.host_network) {
                continue;
            }
            let from = match entry.source {
                Source::Controller => callers.clone(),
                Source::Client | Source::Node => vec![End::Anyone],
            };
            for from in from {
                self.add(needs, (from, End::Group(group)), &entry.ports, &entry.via);
            }
        }
    }

    /// Services that the API server calls, from addresses that no selector matches.
    fn hooks(&self, needs: &mut Needs) {
        for hook in &self.declared.hooks {
            let Some((service, members)) = self.services.get(&hook.service) else { continue };
            let ports: Vec<&ServicePort> =
                service.ports.iter().filter(|port| port.port == hook.port).collect();
            for member in members {
                if let Some((endpoint, group)) = self.endpoint(*member).zip(self.groups.group_of(*member)) {
                    let open = pod_ports(endpoint, &ports, true, false);
                    let evidence = format!("{}, called by the API server", hook.place);
                    self.add(needs, (End::Anyone, End::Group(group)), &open, &evidence);
                }
            }
        }
    }

    /// Lets whoever looks names up reach the cluster's DNS.
    pub(super) fn dns(&self, needs: &mut Needs) {
        let both = |port: u16| {
            ConnSet::range(Protocol::Udp, port, port).union(&ConnSet::range(Protocol::Tcp, port, port))
        };
        let mut servers: Vec<(End, ConnSet)> = Vec::new();
        for (namespace, name) in [("kube-system", "kube-dns"), ("openshift-dns", "dns-default")] {
            let Some((service, members)) = self.services.get(&(namespace.to_owned(), name.to_owned())) else {
                continue;
            };
            let ports: Vec<&ServicePort> = service.ports.iter().filter(|port| port.port == 53).collect();
            for member in members {
                if let Some((endpoint, group)) = self.endpoint(*member).zip(self.groups.group_of(*member)) {
                    let open = pod_ports(endpoint, &ports, false, false);
                    servers.push((End::Group(group), if open.is_empty() { both(53) } else { open }));
                }
            }
        }
        if servers.is_empty() {
            let openshift = self.state.objects().any(|object| object.kind() == "route.openshift.io/Route");
            let (namespace, key, value, port) = if openshift {
                ("openshift-dns", "dns.operator.openshift.io/daemonset-dns", "default", 5353)
            } else {
                ("kube-system", "k8s-app", "kube-dns", 53)
            };
            let is_server = |endpoint: &Endpoint| {
                let labelled = |labels: &Labels| labels.get(key).is_some_and(|found| found == value);
                endpoint.namespace == namespace && endpoint.pod_labels.iter().any(labelled)
            };
            let in_view = self.connectivity.endpoints().iter().enumerate();
            let in_view = in_view.filter(|(_, endpoint)| is_server(endpoint));
            let groups: BTreeSet<usize> =
                in_view.filter_map(|(index, _)| self.groups.group_of(index)).collect();
            servers.extend(groups.into_iter().map(|group| (End::Group(group), both(port))));
            if servers.is_empty() {
                let labels = [(key.to_owned(), value.to_owned())].into();
                servers.push((pods_of(namespace, labels), both(port)));
            }
        }
        let cached =
            |endpoint: &Endpoint| endpoint.name == "node-local-dns" && endpoint.namespace == "kube-system";
        if self.connectivity.endpoints().iter().any(cached)
            && let Ok(address) = "169.254.20.10/32".parse()
        {
            servers.push((End::Block(address), both(53)));
        }
        for group in needs.lookups.clone() {
            for (server, ports) in &servers {
                if *server != End::Group(group) {
                    self.add(needs, (End::Group(group), server.clone()), ports, "names are looked up");
                }
            }
        }
    }

    /// Notes the Services that nothing was found to use.
    pub(super) fn unused(&self, needs: &mut Needs, is_subject: &dyn Fn(&str) -> bool) {
        let reached: BTreeSet<usize> = needs
            .map
            .keys()
            .filter(|(from, to)| from != to)
            .filter_map(|(_, to)| if let End::Group(group) = to { Some(*group) } else { None })
            .collect();
        for (name, (_, members)) in self.services.iter().filter(|(name, _)| is_subject(&name.0)) {
            let idle =
                |member: &usize| self.groups.group_of(*member).is_some_and(|group| !reached.contains(&group));
            if !members.is_empty() && members.iter().all(idle) {
                let detail = "nothing was found to use it, so nothing may reach its pods";
                needs.gap(Cause::Unused, "", format!("Service {}/{}", name.0, name.1), detail);
            }
        }
    }

    /// Workloads behind a Service, with their ports behind one of its ports.
    pub(super) fn behind(&self, name: &Name, port: u16, protocol: Protocol) -> Vec<(usize, ConnSet)> {
        let Some((service, members)) = self.services.get(name) else { return Vec::new() };
        let ports: Vec<&ServicePort> =
            service.ports.iter().filter(|found| found.port == port && found.protocol == protocol).collect();
        let open = |member: &usize| Some((*member, pod_ports(self.endpoint(*member)?, &ports, false, false)));
        members.iter().filter_map(open).collect()
    }

    /// The Service of a virtual address.
    pub(super) fn at_address(&self, address: IpAddr) -> Option<&Name> {
        self.by_address.get(&address)
    }
}

/// Pods outside the view by labels, and the namespace by name.
pub(super) fn pods_of(namespace: &str, pods: Labels) -> End {
    let key = "kubernetes.io/metadata.name".to_owned();
    End::Pods { namespace: [(key, namespace.to_owned())].into(), pods }
}

fn is_api_server(name: &Name) -> bool {
    name.0 == "default" && name.1 == "kubernetes"
}

/// Where clouds give credentials.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200"]
        .iter()
        .any(|known| known.parse() == Ok(address))
}
