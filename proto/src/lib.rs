//! What travels between processes and what is stored as an artifact
