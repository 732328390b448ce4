//! The netpol role: configuration and wiring
