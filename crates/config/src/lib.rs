//! The configuration file: registries, tokens, limits, assumptions
