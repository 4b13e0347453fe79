//! What the participants submit: enough to make blocks, each of which depends on the ones before.

use bytes::Bytes;
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Signed, Signer as _, codec};

use super::dice::Dice;
use super::scenario::Scenario;
use crate::testing::Fixture;
use crate::{Call, Transaction};

/// A transaction as it travels, and its digest.
pub(super) type Submission = (Digest, Bytes);

/// Parties' seeds start here.
const PARTIES: u64 = 1;

/// Each party's transactions in their order: it joins, and then rotates its key again and again. All of them are admissible, once those
/// before are committed.
pub(super) fn transactions(scenario: &Scenario, chain: &Fixture) -> Vec<Submission> {
    let of = |party: u64| {
        let party = identity(PARTIES + party);
        (0..scenario.transactions).map(move |nonce| sign(chain, &party, nonce))
    };
    (0..scenario.parties).flat_map(of).collect()
}

fn sign(chain: &Fixture, party: &Identity, nonce: u64) -> Submission {
    let call = match nonce {
        0 => Call::Register { certificate: chain.certificate(nonce, party) },
        _ => Call::RotateEncryptionKey { key: party.encryption_key() },
    };
    let transaction =
        Transaction { chain: chain.replica().chain(), nonce, valid_until: u64::MAX, calls: vec![call] };
    let envelope = Signed::new(transaction, party).expect("keys in memory sign").into_envelope();
    (envelope.digest(), codec::encode(&envelope).into())
}

/// What must never be committed: rubbish, a stranger's transaction, and one that is altered on its way.
pub(super) fn inadmissible(chain: &Fixture, dice: &mut Dice) -> Vec<Bytes> {
    let rubbish: Vec<u8> = (0..dice.below(200)).map(|_| dice.below(256).to_le_bytes()[0]).collect();
    let (_, stranger) = sign(chain, &identity(u64::MAX), 1);
    let (_, good) = sign(chain, &identity(PARTIES), 1);
    let mut altered = good.to_vec();
    let place = dice.place(altered.len());
    altered[place] ^= 1;
    vec![rubbish.into(), stranger, altered.into()]
}
