//! What the tests inside the crate share.

pub(crate) mod scratch;
