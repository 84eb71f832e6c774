//! Kubernetes adapter: custom resources, apply, watch, prune, lease, Jobs.
