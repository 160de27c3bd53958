//! Small things that every room shares. Nothing here imports another module.

pub(crate) mod abandoned;
pub(crate) mod regular_file;
