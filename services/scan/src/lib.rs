//! The scan role: configuration and wiring
