//! Real servers as children, an image builder, a registry that misbehaves, a fault proxy
