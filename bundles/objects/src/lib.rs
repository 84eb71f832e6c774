//! Typed service model rendered to Kubernetes objects per environment.
