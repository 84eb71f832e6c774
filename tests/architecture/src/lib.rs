//! Holds the house to its plan: arrows point downward, and `ARCHITECTURE.md` names every room. See `tests/`.
