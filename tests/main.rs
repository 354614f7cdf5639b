//! Tests from outside: the real binary against the simulator. One file a topic.

mod backend_fleet;
mod backend_osctrl;
mod cases;
mod dry_run;
mod harness;
