//! How the daemon's own pods are locked down: as the strictest pod security standard asks.

use serde_json::{Value, json};

/// The security context of a pod: no root, the system calls that the runtime allows by default.
pub fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The security context of a container: no capability, nothing to write to but its volumes.
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}
