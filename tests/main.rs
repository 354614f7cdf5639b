//! Tests from outside: the real binary against the simulator. One file a topic.

mod cases;
mod faults_access;
mod faults_dispatch;
mod faults_network;
mod harness;
