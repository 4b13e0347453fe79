//! The specification contract and the authorization contract as one deterministic, authenticated, audited state machine, with seams for consensus and storage.
