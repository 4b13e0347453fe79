//! Single-owner, signed, chained, encrypted sensor streams whose replicas witness that they only ever grow.
