//! Nodes: the machines that pods run on, as far as addresses depend on them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use super::node::{Node, Read};
use crate::ip::Family;

/// Most entries of `status.addresses`; kubelets and cloud controllers write a handful.
const MAX_ADDRESSES: usize = 256;

/// A v1 Node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    pub meta: Meta,
    /// `spec.podCIDRs`, or `spec.podCIDR` alone: at most one of each family. Not every network plugin gives pods their
    /// addresses out of them.
    pub pod_cidrs: Vec<IpNet>,
    /// Addresses of type `InternalIP`, sorted.
    pub internal: Vec<IpAddr>,
    /// Addresses of type `ExternalIP`, sorted.
    pub external: Vec<IpAddr>,
}

/// Reads what the analysis depends on. Conditions, taints and readiness are none of it: a node that is not ready has its
/// addresses all the same.
pub(super) fn read(meta: Meta, root: &Node<'_>) -> Read<ClusterNode> {
    let pod_cidrs = match root.get("spec") {
        Some(spec) => pod_cidrs(&spec)?,
        None => Vec::new(),
    };
    let (mut internal, mut external) = (Vec::new(), Vec::new());
    if let Some(status) = root.get("status") {
        status.object()?;
        let addresses = status.list("addresses")?;
        if addresses.len() > MAX_ADDRESSES {
            return status.require("addresses")?.refuse(format!("has more than {MAX_ADDRESSES} entries"));
        }
        for entry in addresses {
            entry.object()?;
            // Host names are of the other types.
            let into = match entry.require("type")?.text()? {
                "InternalIP" => &mut internal,
                "ExternalIP" => &mut external,
                _ => continue,
            };
            let address = entry.require("address")?;
            match address.address() {
                Some(found) => into.push(found),
                None => return address.refuse("must be an IP address"),
            }
        }
    }
    for addresses in [&mut internal, &mut external] {
        addresses.sort();
        addresses.dedup();
    }
    Ok(ClusterNode { meta, pod_cidrs, internal, external })
}

fn pod_cidrs(spec: &Node<'_>) -> Read<Vec<IpNet>> {
    let first =
        spec.get("podCIDR").filter(|node| node.text() != Ok("")).map(|node| node.block()).transpose()?;
    let mut found: Vec<IpNet> = Vec::new();
    for entry in spec.list("podCIDRs")? {
        let block = entry.block()?.trunc();
        if found.iter().any(|known| Family::of(*known) == Family::of(block)) {
            return entry.refuse("may have no more than one block of each IP family");
        }
        found.push(block);
    }
    match (first.map(|block| block.trunc()), found.first()) {
        (Some(first), None) => found.push(first),
        (Some(first), Some(other)) if first != *other => {
            return spec.require("podCIDRs")?.refuse("must begin with the block of podCIDR");
        }
        _ => {}
    }
    Ok(found)
}
