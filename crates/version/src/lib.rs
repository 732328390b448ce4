//! The version orders of package ecosystems
