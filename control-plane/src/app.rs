//! Puts the control plane together.
