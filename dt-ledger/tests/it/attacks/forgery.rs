//! Forged, grafted, repeated and misspelt transactions, and what a replica remembers of those that it has verified.

use bytes::Bytes;
use curve25519_dalek::{EdwardsPoint, Scalar};
use dt_ledger::testing::Fixture;
use dt_ledger::{AdmissionError, BlockError, Call, MAX_CALL_BYTES, Transaction, TwinCall};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Message as _, OpenError, Signer as _, codec, merkle};
use sha2::{Digest as _, Sha512};

use super::{barred, bytes_of, next_block, votes_for};
use crate::support::*;

/// An envelope as bytes: `signer`, `signature` and body, none of which needs to be any good.
fn envelope(signer: &[u8; 32], signature: &[u8], body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [signer.as_slice(), signature, &length, body].concat().into()
}

/// What an Ed25519 signature of a transaction is over.
fn preimage(signer: &[u8; 32], body: &[u8]) -> Vec<u8> {
    [Transaction::DOMAIN.prefix().as_slice(), signer, body].concat()
}

/// Bytes that are no transaction's, or another spelling of one, signed as if they were.
fn signed(by: &Identity, body: &[u8]) -> Bytes {
    let party = by.party();
    let signature = by.sign(&preimage(party.as_bytes(), body)).unwrap();
    envelope(party.as_bytes(), signature.as_ref(), body)
}

/// A signature by the party of `seed` that differs from the usual one: nothing but custom makes a signer take the nonce of RFC 8032.
fn signed_otherwise(seed: u64, body: &[u8]) -> Bytes {
    let party = *identity(seed).party().as_bytes();
    let secret = Sha512::digest(blake3::hash(&seed.to_le_bytes()).as_bytes());
    let mut clamped: [u8; 32] = secret[..32].try_into().unwrap();
    clamped[0] &= 248;
    clamped[31] = clamped[31] & 127 | 64;
    let secret = Scalar::from_bytes_mod_order(clamped);
    let nonce = Scalar::from(77u64);
    let point = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let message = preimage(&party, body);
    let challenge: [u8; 64] =
        Sha512::new_with_prefix(point).chain_update(party).chain_update(&message).finalize().into();
    let answer = nonce + Scalar::from_bytes_mod_order_wide(&challenge) * secret;
    envelope(&party, &[point, answer.to_bytes()].concat(), body)
}

fn is_open(error: &AdmissionError) -> bool {
    matches!(error, AdmissionError::Open(OpenError::Signature(_)))
}

#[test]
fn what_is_signed_for_one_twin_serves_no_other() {
    let plant = Plant::new();
    let Plant { chain, owner, twin, .. } = &plant;
    let other = chain.twin(owner, None, &[]);
    let bytes = bytes_of(&chain.sign(owner, vec![plant.on(TwinCall::Decommission)])).to_vec();
    let at = bytes.windows(32).position(|window| window == twin.as_bytes()).unwrap();
    let mut redirected = bytes;
    redirected[at..at + 32].copy_from_slice(other.as_bytes());
    assert!(is_open(&barred(chain, redirected)));
    // Nor does what is signed for one chain, with the name of the other in it.
    let elsewhere = Fixture::new(std::sync::Arc::new(dt_ledger::MemoryStore::default()), 3, 1);
    let there = elsewhere.enrol(1);
    let call = Call::RotateEncryptionKey { key: owner.encryption_key() };
    let bytes = bytes_of(&elsewhere.sign(&there, vec![call])).to_vec();
    assert!(matches!(barred(chain, bytes.clone()), AdmissionError::WrongChain));
    let mut renamed = bytes;
    renamed[100..132].copy_from_slice(chain.replica().chain().as_bytes());
    assert!(is_open(&barred(chain, renamed)));
}

/// A key of small order would let one signature stand for many messages. It is nobody's: neither as sender nor anywhere in a call.
#[test]
fn a_key_of_small_order_is_nobody() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let ours = codec::encode(&chain.sign(owner, vec![plant.on(TwinCall::Decommission)]))[100..].to_vec();
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    // The neutral point as R and zero as S satisfy the equation for a neutral key, whatever the message is.
    let signature = [neutral, [0; 32]].concat();
    let mut signs = neutral;
    signs[31] |= 0x80;
    for key in [[0; 32], neutral, signs, minus_one, [0xff; 32]] {
        assert!(matches!(barred(chain, envelope(&key, &signature, &ours)), AdmissionError::Decode(_)));
        let give = |to: Digest| {
            let call = TwinCall::TransferOwnership { to: owner.party() };
            let body = chain.sign(owner, vec![plant.on(call)]).body().to_vec();
            let at = body.windows(32).rposition(|window| window == owner.party().as_bytes()).unwrap();
            [&body[..at], to.as_bytes(), &body[at + 32..]].concat()
        };
        let refused = barred(chain, signed(owner, &give(Digest::from(key))));
        assert!(matches!(refused, AdmissionError::Open(OpenError::Decode(_))), "{refused:?}");
    }
}

/// The order of the group, which added to a signature's scalar makes a second form of the same signature.
const ORDER: [u8; 32] = {
    let mut order = [0; 32];
    let low =
        [0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14];
    let mut at = 0;
    while at < low.len() {
        order[at] = low[at];
        at += 1;
    }
    order[31] = 0x10;
    order
};

#[test]
fn a_signature_has_one_form() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let bytes = bytes_of(&chain.sign(owner, vec![plant.on(add_document(None))])).to_vec();
    let mut other = bytes.clone();
    let mut carry = 0;
    for (byte, order) in other[64..96].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    // Whether the true one is known already makes no difference.
    assert!(is_open(&barred(chain, other.clone())));
    chain.replica().authenticate(&bytes.into()).unwrap();
    assert!(is_open(&barred(chain, other)));
}

/// A signer can make many signatures of one body: many envelopes of one digest. One of them is committed, and only one.
#[test]
fn of_many_signatures_of_one_body_one_counts() {
    for first in [0, 1] {
        let plant = Plant::new();
        let Plant { chain, owner, .. } = &plant;
        let usual = chain.sign(owner, vec![plant.on(add_document(None))]);
        let forms = [bytes_of(&usual), signed_otherwise(1, usual.body())];
        assert_ne!(forms[0], forms[1]);
        for form in &forms {
            assert_eq!(
                chain.replica().admit(form, chain.now()).unwrap(),
                usual.digest(),
                "both are authentic"
            );
        }
        let both = next_block(chain, forms.to_vec());
        let refused = chain.replica().verify(&both, dt_model::Timestamp::MAX);
        assert!(matches!(
            refused,
            Err(BlockError::Transaction { index: 1, error: AdmissionError::Nonce { .. } })
        ));
        let (block, left) = chain.replica().assemble(vec![forms[first].clone()], chain.now()).unwrap();
        assert!(left.is_empty());
        let votes = votes_for(chain, &block);
        // The other one in its place, under the header of the first and its votes.
        let mut swapped = block.clone();
        swapped.transactions[0] = forms[1 - first].clone();
        let refused = chain.replica().commit(swapped, votes.clone());
        assert!(matches!(refused, Err(BlockError::WrongTransactions)));
        chain.replica().commit(block, votes).unwrap();
        assert!(matches!(barred(chain, forms[1 - first].clone()), AdmissionError::Nonce { .. }));
        let proof = chain.replica().prove_transaction(&usual.digest()).unwrap().unwrap();
        let root = chain.replica().tip().log.root;
        assert!(proof.verify(&merkle::leaf_hash(&[&forms[first]]), &root), "the committed bytes are proven");
        assert!(!proof.verify(&merkle::leaf_hash(&[&forms[1 - first]]), &root), "and no others");
    }
}

/// One value, one encoding: all others are refused though their signatures hold.
#[test]
fn a_body_has_one_spelling() {
    let plant = Plant::new();
    let Plant { chain, maintainer, .. } = &plant;
    let call = set_speed("30", "slow");
    let body = chain.sign(maintainer, vec![plant.on(TwinCall::CallProgram(call.clone()))]).body().to_vec();
    assert!(chain.replica().admit(&signed(maintainer, &body), chain.now()).is_ok());
    let entries: Vec<Vec<u8>> = call.parameters.iter().map(|entry| codec::encode(&entry)).collect();
    let [first, second] = &entries[..] else { panic!("two parameters") };
    let sorted = [first.as_slice(), second].concat();
    let at = body.windows(sorted.len()).position(|window| window == sorted).unwrap();
    let with =
        |parameters: &[&[u8]]| [&body[..at], &parameters.concat(), &body[at + sorted.len()..]].concat();
    assert_eq!(with(&[first, second]), body);
    let spellings = [
        ("out of order", with(&[second, first])),
        ("one twice", with(&[first, first])),
        ("a byte more", [body.as_slice(), &[0]].concat()),
        ("a byte less", body[..body.len() - 1].to_vec()),
        ("another kind of call", [&body[..at - 100], &[0xff; 100], &body[at..]].concat()),
        ("empty", Vec::new()),
    ];
    for (what, spelling) in spellings {
        let refused = barred(chain, signed(maintainer, &spelling));
        assert!(matches!(refused, AdmissionError::Open(OpenError::Decode(_))), "{what}: {refused:?}");
    }
    // Claimed lengths cost nothing: 4 GiB of calls, or of a body.
    let mut long = body.clone();
    long[48..52].copy_from_slice(&[0xff; 4]);
    assert!(matches!(barred(chain, signed(maintainer, &long)), AdmissionError::Open(OpenError::Decode(_))));
    let mut long = signed(maintainer, &body).to_vec();
    long[96..100].copy_from_slice(&[0xff; 4]);
    assert!(matches!(barred(chain, long), AdmissionError::Decode(_)));
    assert!(body.len() < MAX_CALL_BYTES);
}

/// That a signature was found good before says nothing of what its signer may do now.
#[test]
fn what_was_admissible_once_is_judged_again() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, auditor, .. } = &plant;
    let known = |who: &Identity, ahead| {
        let bytes = bytes_of(&chain.sign_ahead(who, vec![plant.on(add_document(None))], ahead));
        chain.replica().authenticate(&bytes).unwrap();
        bytes
    };
    let (revoked, used, unmade) = (known(maintainer, 0), known(owner, 0), known(owner, 5));
    chain.replica().admit(&revoked, chain.now()).unwrap();
    let nonce = 1 + dt_ledger::State::nonce(&chain.state(), &auditor.party()).unwrap();
    let height = chain.replica().tip().height;
    let late = Transaction {
        chain: chain.replica().chain(),
        nonce: nonce - 1,
        valid_until: height + 1,
        calls: vec![Call::RetireNode],
    };
    let late = bytes_of(&super::sign(late, auditor));
    chain.replica().admit(&late, chain.now()).unwrap();
    // A block that is ready, of which one transaction will not be admissible: it is worked out anew.
    let ready = next_block(chain, vec![revoked.clone()]);
    chain.replica().verify(&ready, dt_model::Timestamp::MAX).unwrap();

    let revoke = Call::RevokeCertificate { party: maintainer.party() };
    chain.apply(&chain.authority(0), vec![revoke]).unwrap();
    chain.apply(owner, vec![plant.on(add_document(None))]).unwrap();
    assert!(matches!(barred(chain, revoked), AdmissionError::UnknownSender(_)));
    assert!(matches!(barred(chain, used), AdmissionError::Nonce { .. }));
    assert!(matches!(barred(chain, unmade), AdmissionError::Nonce { .. }));
    assert!(matches!(barred(chain, late), AdmissionError::Expired { .. }));
    let votes = votes_for(chain, &ready);
    assert!(matches!(chain.replica().commit(ready, votes), Err(BlockError::WrongHeight { .. })));
}
