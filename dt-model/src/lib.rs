//! The vocabulary every crate shares: identities, keys, digests, ids, time, the canonical codec, signed envelopes.
