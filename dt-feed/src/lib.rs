//! Single-owner, signed, chained, encrypted sensor streams whose replicas witness that they only ever grow.

mod driver;
mod entry;
mod head;
mod manifest;
mod policy;
mod proof;
mod publisher;
mod reader;
mod segment;
#[cfg(feature = "testing")]
pub mod testing;
mod tree;
mod validator;

pub use driver::{MAX_CATCH_UP, PublishError, repair};
pub use entry::{Entry, MAX_PAYLOAD_BYTES};
pub use head::{
    Contradiction, Floor, Fork, ForkError, Head, HeadError, MAX_FORK_BYTES, MAX_HEAD_BYTES, SignedHead,
};
pub use manifest::{FeedId, HEAD, MANIFEST, MAX_MANIFEST_BYTES, Manifest, SEGMENT};
pub use policy::{BatchPolicy, EpochKey, Keys, PolicyError};
pub use proof::{EntryProof, MAX_PROOF_BYTES, ProofError};
pub use publisher::{
    AppendError, Batch, BatchError, EpochError, MAX_AHEAD, MAX_PENDING_BYTES, Publisher,
};
pub use reader::{Latest, MAX_READ_BYTES, ReadError, Reader, Run};
pub use segment::{MAX_SEGMENT_BYTES, MAX_SEGMENT_ENTRIES, Segment, SegmentError, SignedSegment};
pub use tree::Tree;
pub use validator::{HeadValidator, ManifestValidator, SegmentValidator, validators};
