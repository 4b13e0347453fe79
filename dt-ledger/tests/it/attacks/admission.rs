//! What is no transaction of the chain: forged, replayed, late, too large, damaged, or by somebody who does not take part.

use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Call, Certificate, CreateTwin, MAX_CALL_BYTES, MAX_CALLS, MemoryStore, Policy,
    State as _, Transaction, TwinCall,
};
use dt_model::testing::identity;
use dt_model::{DecodeError, Identity, Message as _, OpenError, Signed, Signer as _, Timestamp, codec};

use super::{admission, offered, sign};
use crate::support::*;

#[test]
fn nobody_signs_for_another() {
    let plant = Plant::new();
    let Plant { chain, owner, outsider, .. } = &plant;
    let bytes = codec::encode(&chain.sign(outsider, vec![plant.on(TwinCall::Decommission)]));
    let mut forged = bytes.clone();
    forged[..32].copy_from_slice(owner.party().as_bytes());
    assert!(matches!(admission(chain, forged), Some(AdmissionError::Open(OpenError::Signature(_)))));
    let owners = codec::encode(&chain.sign(owner, vec![plant.on(TwinCall::Decommission)]));
    let mut grafted = owners.clone();
    grafted[100..].copy_from_slice(
        &codec::encode(&chain.sign(outsider, vec![plant.on(TwinCall::Decommission)]))[100..],
    );
    assert!(admission(chain, grafted.clone()).is_some() || grafted == owners);
    // A signature of another kind is none: a certificate's bytes signed as a certificate, offered as a transaction.
    let certificate = codec::encode(&chain.certificate(0, owner));
    assert!(admission(chain, certificate).is_some());
}

#[test]
fn nothing_is_replayed() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let transaction = chain.sign(owner, vec![plant.on(add_document(None))]);
    chain.commit(std::slice::from_ref(&transaction));
    let refused = offered(chain, &transaction);
    assert!(matches!(refused, Some(AdmissionError::Nonce { expected, found }) if expected == found + 1));
    // A refused transaction uses its nonce too.
    let refused = chain.sign(owner, vec![plant.on(TwinCall::RemoveDocument { document: [9; 32].into() })]);
    chain.commit(std::slice::from_ref(&refused));
    assert!(matches!(offered(chain, &refused), Some(AdmissionError::Nonce { .. })));
    for ahead in [1, 2, u64::MAX - 100] {
        let gap = chain.sign_ahead(owner, vec![plant.on(add_document(None))], ahead);
        assert!(matches!(offered(chain, &gap), Some(AdmissionError::Nonce { .. })));
    }
    // Another chain with the same parties.
    let other = Plant::over(Fixture::new(std::sync::Arc::new(MemoryStore::default()), 3, 1));
    let there = other.chain.sign(&other.owner, vec![other.on(TwinCall::Decommission)]);
    assert!(matches!(offered(chain, &there), Some(AdmissionError::WrongChain)));
}

#[test]
fn what_is_over_is_over() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let next = chain.replica().tip().height + 1;
    let until = |valid_until| {
        let nonce = chain.state().nonce(&owner.party()).unwrap();
        let calls = vec![plant.on(add_document(None))];
        sign(Transaction { chain: chain.replica().chain(), nonce, valid_until, calls }, owner)
    };
    for valid_until in [0, next - 1] {
        let refused = offered(chain, &until(valid_until));
        assert!(matches!(refused, Some(AdmissionError::Expired { valid_until: v }) if v == valid_until));
    }
    assert!(offered(chain, &until(next)).is_none());
    assert!(offered(chain, &until(u64::MAX)).is_none());
}

#[test]
fn a_transaction_has_its_size() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let size = |calls| offered(chain, &chain.sign(owner, calls));
    assert!(matches!(size(vec![]), Some(AdmissionError::Size)));
    let many = |count| (0..count).map(|_| Call::RetireNode).collect();
    assert!(matches!(size(many(MAX_CALLS + 1)), Some(AdmissionError::Size)));
    assert!(size(many(MAX_CALLS)).is_none());
    let long = |bytes: usize| {
        vec![plant.on(edit([dt_aml::Edit::Insert {
            fragment: "x".repeat(bytes),
            parent: "/".into(),
            after: None,
        }]))]
    };
    assert!(size(long(MAX_CALL_BYTES / 2)).is_none());
    assert!(matches!(size(long(MAX_CALL_BYTES)), Some(AdmissionError::Size)));
    assert!(matches!(size(long(10 << 20)), Some(AdmissionError::Size)));
    // Nor is anything else long under the cover of a specification that may be.
    let create = |aml: Vec<u8>| {
        let device_id = name("cover");
        let (policy, roles) = (Policy::none(), [].into());
        Call::CreateTwin(CreateTwin {
            device_name: name("cover"),
            device_id,
            aml,
            policy,
            roles,
            agent: None,
        })
    };
    let covered = |aml: usize, bytes: usize| [vec![create(vec![b' '; aml])], long(bytes)].concat();
    assert!(size(covered(3 << 20, MAX_CALL_BYTES / 2)).is_none());
    for aml in [0, 10, 3 << 20] {
        assert!(matches!(size(covered(aml, MAX_CALL_BYTES)), Some(AdmissionError::Size)));
    }
    let beyond = vec![0; Transaction::MAX_BYTES + 1024];
    assert!(matches!(admission(chain, beyond), Some(AdmissionError::Decode(DecodeError::TooLarge { .. }))));
    assert!(matches!(admission(chain, vec![0xff; 10 << 20]), Some(AdmissionError::Decode(_))));
}

#[test]
fn no_flipped_bit_or_cut_of_a_transaction_passes() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let call = plant.on(TwinCall::CallProgram(set_speed("30", "slow")));
    let bytes = codec::encode(&chain.sign(owner, vec![call]));
    assert!(admission(chain, bytes.clone()).is_none());
    for at in 0..bytes.len() {
        assert!(admission(chain, bytes[..at].to_vec()).is_some(), "cut at {at}");
        for bit in [at % 8, (at + 3) % 8] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(admission(chain, flipped).is_some(), "byte {at}, bit {bit}");
        }
    }
    assert!(admission(chain, [bytes, vec![0]].concat()).is_some());
}

#[test]
fn only_a_proper_certificate_enrols() {
    let plant = Plant::new();
    let chain = &plant.chain;
    let candidate = identity(50);
    chain.wait(1000);
    let now = chain.now();
    let earlier = |millis| Timestamp::from_millis(now.as_millis() - millis);
    let proper = Certificate {
        chain: chain.replica().chain(),
        party: candidate.party(),
        name: name("candidate"),
        encryption_key: candidate.encryption_key(),
        not_before: earlier(100),
        not_after: Timestamp::from_millis(now.as_millis() + 1),
    };
    let by = |authority: &Identity, certificate: Certificate| {
        let certificate = Signed::new(certificate, authority).unwrap().into_envelope().into();
        offered(chain, &chain.sign(&candidate, vec![Call::Register { certificate }]))
    };
    let authority = chain.authority(0);
    let improper = [
        ("expired", Certificate { not_after: now, ..proper.clone() }),
        (
            "not yet valid",
            Certificate { not_before: Timestamp::from_millis(now.as_millis() + 1), ..proper.clone() },
        ),
        ("for another chain", Certificate { chain: digest(1), ..proper.clone() }),
        ("for another key", Certificate { party: plant.owner.party(), ..proper.clone() }),
    ];
    for (what, certificate) in improper {
        assert!(matches!(by(&authority, certificate), Some(AdmissionError::UnknownSender(_))), "{what}");
    }
    for (who, what) in [(&candidate, "himself"), (&plant.owner, "a party"), (&identity(51), "a stranger")] {
        assert!(by(who, proper.clone()).is_some(), "signed by {what}");
    }
    assert!(by(&authority, proper.clone()).is_none());
    // With it comes nothing else: who is not enrolled yet does nothing besides.
    let certificate = || Signed::new(proper.clone(), &authority).unwrap().into_envelope().into();
    let more =
        vec![Call::Register { certificate: certificate() }, Call::RegisterNode { endpoints: vec![uri("x")] }];
    assert!(offered(chain, &chain.sign(&candidate, more)).is_some());
    chain.apply(&candidate, vec![Call::Register { certificate: certificate() }]).unwrap();
    chain.apply(&candidate, vec![Call::RegisterNode { endpoints: vec![uri("x")] }]).unwrap();
    chain.wait(1);
    let late = chain.sign(&candidate, vec![Call::RetireNode]);
    assert!(matches!(offered(chain, &late), Some(AdmissionError::UnknownSender(_))), "its time is over");
}

#[test]
fn a_revoked_party_does_nothing_and_reads_nothing() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, agent, .. } = &plant;
    plant.call(maintainer, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    let revoke = Call::RevokeCertificate { party: maintainer.party() };
    // Party 2 is one of organisation 0.
    chain.apply(&chain.authority(0), vec![revoke]).unwrap();
    let transaction = chain.sign(maintainer, vec![plant.on(add_document(None))]);
    assert!(matches!(offered(chain, &transaction), Some(AdmissionError::UnknownSender(_))));
    assert!(!plant.may(maintainer, dt_model::Operation::Read, dt_model::DataClass::Document, None));
    assert_eq!(plant.refused(agent, TwinCall::StartCall { call: 1, epoch: 1 }), "membership.unknown-party");
    let give = TwinCall::TransferOwnership { to: maintainer.party() };
    assert_eq!(plant.refused(owner, give), "membership.unknown-party");
}
