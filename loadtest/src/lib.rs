//! Load generator, fault injection and benches against peers and limits
