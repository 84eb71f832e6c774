//! What a pod of a real Kubernetes leaves a sandbox. See `tests/`.
