//! Tests from outside: the real binary against the simulator. One file a topic.

mod backend_fleet;
mod backend_osctrl;
mod cases;
mod dry_run;
mod faults_access;
mod faults_answers;
mod faults_dispatch;
mod faults_input;
mod faults_network;
mod faults_output;
mod faults_readers;
mod faults_scale;
mod faults_secrets;
mod faults_stream;
mod faults_time;
mod fleet_answers;
mod harness;
mod layers;
mod lies;
mod osctrl_answers;
mod osctrl_ended_early;
mod osctrl_restarts;
mod policy;
mod templates;
mod two_at_once;
mod verbs;
