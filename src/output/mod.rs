//! What a run, a campaign or an event becomes on stdout: values in, bytes out.

pub mod document;
