//! The gateway role: configuration and wiring
