//! Kubernetes objects become connectivity, exposure and the difference of two states
