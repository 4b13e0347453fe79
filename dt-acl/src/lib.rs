//! k-rAC: per-item access control lists stored with the data, keys wrapped for each reader, revocation that re-keys.
