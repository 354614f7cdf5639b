//! One execution of one step.

pub mod drive;
pub mod failure;
pub mod prepare;
