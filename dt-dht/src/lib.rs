//! Quorum-replicated and erasure-coded records among registered nodes, of which k may be malicious, with seams for network and storage.
