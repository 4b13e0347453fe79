//! The catalogue of what a malicious node does. Each has its node's own key: nothing that it says is given away by the signature.
//!
//! Most of it is done by *masks*: real replicas with the node's key over other rows, or with other validators. So a malicious node
//! equivocates, forgets and votes twice in every protocol that replicas speak, whether or not this file knows its messages.

use std::sync::Arc;

use bytes::Bytes;
use dt_model::{PartyId, Signed, Signer, Timestamp};

use super::Dice;
use super::disk::{Disk, Image};
use crate::testing::Fault;
use crate::testing::liar::{Conduct, Liar, Past, read_reply, read_request, sign_reply};
use crate::{
    Kind, Membership, Order, Parcel, Record, RecordStore, Refusal, Replica, ReplyBody, Request, RequestBody,
    Site, Validator,
};

/// How a node misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// It lies in what it says. ([`Fault::Hanging`] is as [`Fault::Silent`] here: the simulated transport gives up.)
    Says(Fault),
    /// It answers from what it held when it turned bad, and forgets everything since: also what it has just receipted or promised.
    Frozen,
    /// It answers as if it held nothing, and stores nothing of what it receipts.
    Amnesiac,
    /// It is two nodes with one key: every party sees one of the two, which know nothing of each other.
    TwoFaced,
    /// It accepts everything, and serves everybody.
    Lenient,
    /// It accepts everything, as if it held nothing, and stores nothing.
    YesMan,
    /// It accepts everything, on top of what is really stored, and forgets at once what it has promised and voted for.
    VotesForAll,
    /// It signs as its answer to one request what it answered to the one before.
    AnswersAnother,
    /// It shows records that an accomplice among the writers signed and never put: different ones to different readers.
    Phantoms,
    /// It does all of this, and its duty, by turns.
    Fickle,
}

/// Everything that a node can be up to.
pub const MISDEEDS: [Misdeed; 22] = [
    Misdeed::Says(Fault::Silent),
    Misdeed::Says(Fault::Garbage),
    Misdeed::Says(Fault::Zeros),
    Misdeed::Says(Fault::Replay),
    Misdeed::Says(Fault::ForgedNewer),
    Misdeed::Says(Fault::NothingStored),
    Misdeed::Says(Fault::Stale),
    Misdeed::Says(Fault::CorruptShards),
    Misdeed::Says(Fault::WithheldShards),
    Misdeed::Says(Fault::DeniedProofs),
    Misdeed::Says(Fault::Pretend),
    Misdeed::Says(Fault::Refuse(Refusal::NotPermitted)),
    Misdeed::Says(Fault::Refuse(Refusal::Stale { stored: u64::MAX })),
    Misdeed::Frozen,
    Misdeed::Amnesiac,
    Misdeed::TwoFaced,
    Misdeed::Lenient,
    Misdeed::YesMan,
    Misdeed::VotesForAll,
    Misdeed::AnswersAnother,
    Misdeed::Phantoms,
    Misdeed::Fickle,
];

/// What every malicious node has at hand.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) membership: Membership,
    pub(super) validators: Vec<Arc<dyn Validator>>,
    /// What the accomplice signed.
    pub(super) phantoms: Arc<[Signed<Record>]>,
}

/// A malicious node.
pub(super) struct Villain {
    means: Means,
    misdeed: Misdeed,
    dice: Dice,
    past: Past,
    mask: Option<Mask>,
    last_reply: Option<ReplyBody>,
}

/// A replica with the node's key beside the real one.
struct Mask {
    replica: Replica,
    disk: Arc<Disk>,
    /// What it holds before every request, if it forgets.
    forgets_to: Option<Image>,
}

impl Villain {
    /// A node that held `rows` when it turned bad.
    pub(super) fn new(means: Means, misdeed: Misdeed, rows: Image, dice: Dice) -> Self {
        let lenient = || means.validators.iter().map(|validator| lenient(validator.clone())).collect();
        let mask = match misdeed {
            Misdeed::Frozen => Some(Mask::new(&means, means.validators.clone(), rows, true)),
            Misdeed::Amnesiac => Some(Mask::new(&means, means.validators.clone(), Image::new(), true)),
            Misdeed::TwoFaced => Some(Mask::new(&means, means.validators.clone(), rows, false)),
            Misdeed::Lenient | Misdeed::Fickle => Some(Mask::new(&means, lenient(), rows, false)),
            Misdeed::YesMan | Misdeed::VotesForAll => Some(Mask::new(&means, lenient(), Image::new(), true)),
            Misdeed::Says(_) | Misdeed::AnswersAnother | Misdeed::Phantoms => None,
        };
        Self { means, misdeed, dice, past: Past::default(), mask, last_reply: None }
    }

    /// Goes by another membership.
    pub(super) fn follow(&mut self, membership: &Membership) {
        self.means.membership = membership.clone();
        if let Some(mask) = &self.mask {
            mask.replica.update_membership(membership.clone());
        }
    }

    /// What it replies, if it does; `honest` is its real replica.
    pub(super) fn serve(&mut self, honest: &Replica, request: &[u8], now: Timestamp) -> Option<Bytes> {
        let misdeed = match self.misdeed {
            Misdeed::Fickle => *self.dice.choose(&MISDEEDS),
            misdeed => misdeed,
        };
        match misdeed {
            Misdeed::Says(fault) => self.lie(fault, honest, request, now),
            Misdeed::TwoFaced if !shows_mask(request) => Some(honest.handle(request, now)),
            // It has forgotten the shard, and says that it keeps the proof nevertheless.
            Misdeed::Amnesiac | Misdeed::YesMan if read_request(request).is_some_and(is_certificate) => {
                let content = read_request(request)?;
                Some(sign_reply(&*self.means.signer, &content, request, ReplyBody::CertificateKept))
            }
            Misdeed::Frozen | Misdeed::Amnesiac | Misdeed::TwoFaced | Misdeed::Lenient | Misdeed::YesMan => {
                Some(
                    self.mask
                        .as_ref()
                        .map_or_else(|| honest.handle(request, now), |mask| mask.serve(request, now)),
                )
            }
            Misdeed::VotesForAll => Some(self.vote_for_all(honest, request, now)),
            Misdeed::AnswersAnother => self.answer_another(honest, request, now),
            Misdeed::Phantoms => {
                Some(self.show_phantom(request).unwrap_or_else(|| honest.handle(request, now)))
            }
            Misdeed::Fickle => Some(honest.handle(request, now)),
        }
    }

    fn lie(&mut self, fault: Fault, honest: &Replica, request: &[u8], now: Timestamp) -> Option<Bytes> {
        let liar = Liar { signer: self.means.signer.clone(), fault };
        match liar.conduct(&self.past, request) {
            Conduct::Silence | Conduct::Hang => None,
            Conduct::Say(reply) => Some(reply),
            Conduct::Ask => {
                self.past.note_request(request);
                let reply = honest.handle(request, now);
                self.past.note_reply(&reply);
                Some(liar.alter(&self.past, request, reply))
            }
        }
    }

    /// Only what is decided gets stored, so that its votes are for what comes next.
    fn vote_for_all(&self, honest: &Replica, request: &[u8], now: Timestamp) -> Bytes {
        let is_decided =
            |request: Request| matches!(request.body, RequestBody::Put { .. } | RequestBody::Adopt { .. });
        match (&self.mask, honest.store().scan(&[], None, usize::MAX)) {
            (Some(mask), Ok(rows)) if !read_request(request).is_some_and(is_decided) => {
                mask.disk.restore(rows.into_iter().collect());
                mask.serve(request, now)
            }
            _ => honest.handle(request, now),
        }
    }

    fn answer_another(&mut self, honest: &Replica, request: &[u8], now: Timestamp) -> Option<Bytes> {
        let reply = honest.handle(request, now);
        let body = core::mem::replace(&mut self.last_reply, read_reply(&reply));
        match (read_request(request), body) {
            (Some(content), Some(body)) => Some(sign_reply(&*self.means.signer, &content, request, body)),
            _ => Some(reply),
        }
    }

    fn show_phantom(&mut self, request: &[u8]) -> Option<Bytes> {
        let content: Request = read_request(request)?;
        let RequestBody::Get { key } = content.body else { return None };
        let phantoms: Vec<_> = self.means.phantoms.iter().filter(|record| record.key == key).collect();
        if phantoms.is_empty() {
            return None;
        }
        let record = Some(self.dice.choose(&phantoms).envelope().clone());
        Some(sign_reply(&*self.means.signer, &content, request, ReplyBody::Record { record }))
    }
}

impl Mask {
    fn new(means: &Means, validators: Vec<Arc<dyn Validator>>, rows: Image, forgets: bool) -> Self {
        let disk = Arc::new(Disk::with(rows.clone()));
        let store: Arc<dyn RecordStore> = disk.clone();
        let replica = Replica::new(means.signer.clone(), store, means.membership.clone(), validators);
        Self { replica, disk, forgets_to: forgets.then_some(rows) }
    }

    fn serve(&self, request: &[u8], now: Timestamp) -> Bytes {
        let reply = self.replica.handle(request, now);
        if let Some(rows) = &self.forgets_to {
            self.disk.restore(rows.clone());
        }
        reply
    }
}

fn is_certificate(request: Request) -> bool {
    matches!(request.body, RequestBody::KeepCertificate { .. })
}

/// Whether the sender of `request` sees the second face.
fn shows_mask(request: &[u8]) -> bool {
    Parcel::<Request>::decode(request).is_ok_and(|parcel| parcel.signer().as_bytes()[0] & 1 == 1)
}

/// A validator of the same kind that allows everything.
fn lenient(validator: Arc<dyn Validator>) -> Arc<dyn Validator> {
    Arc::new(Lenient(validator))
}

struct Lenient(Arc<dyn Validator>);

impl Validator for Lenient {
    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn order(&self) -> Order {
        self.0.order()
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        self.0.rank(site, party).or(Some(u8::MAX))
    }

    fn admit(&self, _: &Site<'_>, _: &Signed<Record>) -> Result<(), Refusal> {
        Ok(())
    }

    fn serve(&self, _: &Site<'_>, _: &PartyId, _: &Signed<Record>) -> Result<(), Refusal> {
        Ok(())
    }
}
