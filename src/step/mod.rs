//! The step: its schema, its rendering, and the typed form that the rest of the program works with.

pub mod model;
