//! Tests from outside: the real binary against the simulator. One file a topic.

mod backend_fleet;
mod cases;
mod harness;
