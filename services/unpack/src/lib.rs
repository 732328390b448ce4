//! The unpack role: configuration and wiring
