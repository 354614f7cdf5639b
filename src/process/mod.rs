//! The only room with process-wide things: stdin, stdout, stderr, signals, panics.

pub mod panics;
pub mod signals;
pub mod stderr;
pub mod stdin;
pub mod stdout;
