//! What keeps a node's rows alive, complete and bounded.
//!
//! ```text
//!   Policy ─┬─ lease ────▶ Replica::sweep: what nobody renewed is removed
//!           ├─ Quotas ───▶ books: every row is charged to somebody, in the batch that writes it
//!           └─ limits ───▶ Gate: Busy, before a signature is checked
//!
//!   Upkeep::step ─▶ Summarise ─▶ List ─▶ Fetch      node by node: what differs is fetched and judged (anti-entropy, repair)
//!        │                                          a lost shard is made anew from k + 1 others, and the proof of it taken over
//!        └── in a joint epoch ─▶ HandOver           signed by a node that has compared itself with all but k others
//! ```
//!
//! # Leases
//! Everything at one address has one lease: whatever is put there renews it as a whole, so that a list never outlives its data nor a head
//! its segments. Once it has ended, a sweep removes the address. A node then has no memory of it, and somebody who kept an old record may
//! put it again: a reader's floor (see [`crate::Check`]) catches that, and nothing else does. So leases MUST be longer than any reader
//! goes without a floor that is renewed, or owners renew.
//!
//! Anybody registered can renew anything by putting it again. So nodes believe each other's leases: a liar gains nothing by it.

mod answer;
mod audit;
mod books;
mod bucket;
mod fetch;
mod handover;
mod limits;
mod link;
mod listing;
mod local;
mod message;
mod own;
mod past;
mod policy;
mod quota;
mod remake;
mod sweep;
mod task;
mod visit;

pub(crate) use audit::BooksAudit;
pub(crate) use books::{Batch, address_in, address_key, read};
pub use bucket::Rate;
pub use handover::{HandOver, HandOverCertificate, HandOverError};
pub use limits::RequestLimits;
pub(crate) use limits::{Gate, Pass};
pub use listing::{Holding, LISTING_HOLDINGS, Listing, Place, Summary};
pub(crate) use local::own_indexes;
pub use message::{FoundPast, FoundShard, UpkeepReply, UpkeepRequest};
pub use policy::{LEASE, Policy};
pub use quota::{Amount, Quotas, ROW_BYTES, Usage};
pub use sweep::Swept;
pub use task::{Pace, Step, Upkeep, UpkeepReport};
