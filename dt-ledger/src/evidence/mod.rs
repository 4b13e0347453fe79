//! What somebody can check who trusts no replica: the log of all transactions, checkpoints of it, and proofs under what validators certify.

pub(crate) mod checkpoint;
pub(crate) mod log;
pub(crate) mod note;
pub(crate) mod proof;
pub(crate) mod split_view;
pub(crate) mod verifier;
