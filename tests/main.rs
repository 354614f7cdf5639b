//! Tests from outside: the real binary against the simulator. One file a topic.

mod cases;
mod harness;
