//! The aggregator role: configuration and wiring
