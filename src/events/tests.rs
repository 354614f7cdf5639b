//! Properties of the two names, and the tables of every kind of SQL.

mod names;
mod sql;
