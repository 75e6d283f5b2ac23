//! Ordeal puts a replicated system through an ordeal and says whether it kept its promises.
//!
//! The library behind the one binary, `ordeal`. A run goes straight through these rooms:
//! a playbook is read, the runner takes its phases to a cluster, the interpreter drives clients
//! while the nemesis does its worst, the recorder writes the history, the checker (a crate of its
//! own) judges it, and the report shows what broke, where and why.

pub mod by_hand;
pub mod cli;
pub mod cluster;
pub mod control;
pub mod doctor;
pub mod generator;
pub mod http;
pub mod interpreter;
pub mod journal;
pub mod nemesis;
pub mod operator;
pub mod playbook;
pub mod recorder;
pub mod remembered;
pub mod report;
pub mod runner;
pub mod store;
pub mod system;
pub mod tally;
pub mod verdict;
pub mod workload;
