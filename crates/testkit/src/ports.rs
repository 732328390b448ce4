//! Ports for children.
//!
//! They are taken from below the kernel's range for outgoing connections: a client that reconnects to a
//! closed port *inside* that range can be given the same port as its own source and then talks to itself,
//! and the server cannot bind again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Lowest port handed out.
const LOWEST: u16 = 12_000;
/// Where the outgoing range starts when the kernel does not say.
const USUAL_OUTGOING: u16 = 32_768;
/// Ports looked at before giving up.
const TRIES: u32 = 4_000;

/// No port could be had.
#[derive(Debug, thiserror::Error)]
#[error("find {wanted} free ports on the loopback address: only {found} after {TRIES} tries")]
pub struct PortsError {
    wanted: usize,
    found: usize,
}

/// `count` different ports that were free on 127.0.0.1 a moment ago. Another process may still take one
/// before it is used, so whoever passes them on must be ready to try again.
pub fn free(count: usize) -> Result<Vec<u16>, PortsError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let top = outgoing_range_start();
    let (low, span) = if top > LOWEST.saturating_add(1_000) {
        (LOWEST, u32::from(top.saturating_sub(LOWEST)))
    } else {
        (LOWEST, u32::from(u16::MAX.saturating_sub(LOWEST)))
    };
    // Processes start far apart, so that test binaries that run side by side seldom meet.
    let origin = std::process::id().wrapping_mul(2_654_435_761);
    let mut held: Vec<TcpListener> = Vec::new();
    let mut found = BTreeSet::new();
    for _ in 0..TRIES {
        if found.len() >= count {
            break;
        }
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = u16::try_from(origin.wrapping_add(step) % span).unwrap_or(0);
        let port = low.saturating_add(offset);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
            found.insert(port);
        }
    }
    if found.len() < count {
        return Err(PortsError { wanted: count, found: found.len() });
    }
    Ok(found.into_iter().collect())
}

fn outgoing_range_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next().and_then(|low| low.parse().ok()))
        .unwrap_or(USUAL_OUTGOING)
}
