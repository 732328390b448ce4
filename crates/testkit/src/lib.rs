//! What tests, the demo and the load generator stand on: real servers as children, images built in
//! memory, a registry that misbehaves on request, and a proxy that cuts the wire.
//!
//! | module | gives |
//! |---|---|
//! | [`nats`] | a real `nats-server` with JetStream, alone or as a cluster of three |
//! | [`registry`] | CNCF Distribution as a child, an embedded registry with faults, a webhook sink, a push client |
//! | [`kubernetes`] | lists and watches of a Kubernetes API server, whose objects the test changes |
//! | [`upstream`] | an upstream of feeds, which answers conditional requests |
//! | [`image`] | deterministic OCI images, realistic package databases, hostile layers |
//! | [`proxy`] | a TCP proxy that cuts, delays, stalls and captures |
//! | [`wait`] | waiting for a condition with a bound |
//! | [`process`], [`ports`] | children that do not outlive us, and ports for them |
//!
//! Nothing here panics: every failure is a typed error, because the demo uses the same code as the tests.

pub mod image;
pub mod kubernetes;
pub mod nats;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod upstream;
pub mod wait;
