//! The JSON Schemas, and what breaks them in words.

pub mod texts;
