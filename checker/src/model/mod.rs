//! What objects promise: each model says what its operations do, one at a time.

pub(crate) mod register;
