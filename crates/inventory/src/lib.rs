//! What runs what: tags, digests, platforms, holders, workloads
