//! The feeds role: configuration and wiring
