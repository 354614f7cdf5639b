//! `--simulate`.
