//! What somebody can check who has nothing but a set of validators: no store, no network. Everything reaches him as bytes.

use std::sync::Arc;

use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Certified, CommitCertificate, ElementProof, Header, MemoryStore, Resource, Specification,
    State as _, StateKey, StateProof, TraceProof, Twin, Verifier, VerifyError,
};
use dt_model::testing::identity;
use dt_model::{Signer as _, codec};

use crate::support::*;

/// A plant with four validators.
fn plant() -> Plant {
    Plant::over(Fixture::new(Arc::new(MemoryStore::default()), 2, 4))
}

/// A header and its votes, as somebody else gets them: of a block that follows on all that has happened so far.
fn next_header(plant: &Plant) -> Vec<u8> {
    let next = plant.chain.commit(&[]);
    codec::encode(&(&next.block.header, &next.certificate))
}

fn certified(verifier: &Verifier, header: &[u8]) -> Result<Certified, VerifyError> {
    let (header, certificate): (Header, CommitCertificate) = codec::decode(header, 1 << 16).unwrap();
    verifier.header(&header, &certificate)
}

#[test]
fn an_element_is_proven_from_its_bytes_up_to_the_votes() {
    let plant = plant();
    let (chain, twin) = (&plant.chain, plant.twin);
    plant.call(&plant.owner, edit([insert("gauge", "tank")])).unwrap();
    let (source, proof) = chain.state().prove_element(&twin, "tank").unwrap();
    assert!(source.contains(r#"<InternalElement Name="gauge" ID="gauge"/>"#));
    let proof = codec::encode(&proof);
    let header = next_header(&plant);

    let verifier = Verifier::new(chain.replica().genesis());
    let certified = certified(&verifier, &header).unwrap();
    let proof: ElementProof = codec::decode(&proof, 1 << 16).unwrap();
    certified.element(&twin, &source, &proof).unwrap();
    let tags: Vec<&str> = proof.element.ancestors().collect();
    assert!(tags[0].contains(r#"ID="line""#), "and its place with it: {tags:?}");

    let other = source.replace("gauge", "gouge");
    assert_eq!(certified.element(&twin, &other, &proof), Err(VerifyError::Proof));
    assert_eq!(certified.element(&[9; 32].into(), &source, &proof), Err(VerifyError::Proof));
    let specification = Specification { version: 99, ..proof.specification };
    let forged = ElementProof { specification, ..proof.clone() };
    assert_eq!(certified.element(&twin, &source, &forged), Err(VerifyError::Proof));
    // The element is gone: what was true is not true any more.
    plant.call(&plant.owner, edit([remove("gauge")])).unwrap();
    let later = self::certified(&verifier, &next_header(&plant)).unwrap();
    assert_eq!(later.element(&twin, &source, &proof), Err(VerifyError::Proof));
}

#[test]
fn a_value_is_read_or_shown_to_be_absent() {
    let plant = plant();
    let state = plant.chain.state();
    let key = StateKey::Twin(plant.twin);
    let (value, proof) = (state.raw(&key).unwrap().unwrap(), codec::encode(&state.prove(&key).unwrap()));
    let gone = StateKey::Call(plant.twin, 1);
    let absence = state.prove(&gone).unwrap();
    let certified = certified(&Verifier::new(plant.chain.replica().genesis()), &next_header(&plant)).unwrap();
    assert_eq!(certified.height() + 1, plant.chain.replica().tip().height);

    let proof: StateProof = codec::decode(&proof, 1 << 14).unwrap();
    let twin: Twin = certified.value(&key, Some(&value), &proof).unwrap().expect("is there");
    assert_eq!(twin.owner, plant.owner.party());
    assert_eq!(certified.value::<Twin>(&key, None, &proof), Err(VerifyError::Proof));
    assert_eq!(certified.value::<Twin>(&gone, None, &absence), Ok(None));
    assert_eq!(certified.value::<Twin>(&gone, Some(&value), &absence), Err(VerifyError::Proof));
}

#[test]
fn a_trace_is_shown_to_be_all_there_is() {
    let plant = plant();
    let document = plant.document(&plant.owner, Some("tank"));
    let tank = Resource::Element(plant.twin, component("tank"));
    plant.call(&plant.maintainer, add_document(Some("tank"))).unwrap();
    let proof = plant.chain.replica().prove_trace(&tank).unwrap();
    let never = Resource::Element(plant.twin, component("motor"));
    let nothing = plant.chain.replica().prove_trace(&never).unwrap();
    let certified = certified(&Verifier::new(plant.chain.replica().genesis()), &next_header(&plant)).unwrap();

    let proof: TraceProof = codec::decode(&codec::encode(&proof), 1 << 16).unwrap();
    let entries = certified.trace(&tank, &proof).unwrap();
    let authors: Vec<_> = entries.iter().map(|entry| entry.author).collect();
    assert_eq!(authors, [plant.owner.party(), plant.maintainer.party()]);
    assert_eq!(certified.trace(&never, &nothing).unwrap(), [], "that nothing was written is proven, too");

    let latest = TraceProof { entries: proof.entries[1..].to_vec(), ..proof.clone() };
    assert_eq!(certified.trace(&tank, &latest).unwrap()[0].number, 2, "the last ones alone");
    let mut forged = vec![TraceProof { entries: Vec::new(), ..proof.clone() }];
    forged.push(TraceProof { entries: proof.entries[..1].to_vec(), ..proof.clone() });
    forged.push(TraceProof { head: None, entries: Vec::new(), ..proof.clone() });
    let mut other = proof.clone();
    other.entries[0].author = plant.outsider.party();
    forged.push(other);
    for forged in forged {
        assert_eq!(certified.trace(&tank, &forged), Err(VerifyError::Proof), "{forged:?}");
    }
    assert_eq!(certified.trace(&Resource::Document(plant.twin, document), &proof), Err(VerifyError::Proof));
}

#[test]
fn whom_to_trust_is_the_verifiers_alone() {
    let plant = plant();
    let chain = &plant.chain;
    let header = next_header(&plant);
    let trusted = chain.replica().genesis().validators();
    let few = Verifier::trusting(chain.replica().chain(), trusted[..3].to_vec());
    assert!(
        matches!(certified(&few, &header), Err(VerifyError::Uncertified { .. })),
        "a vote of somebody who is not trusted condemns the rest"
    );
    let strangers = (50..54).map(|seed| identity(seed).party()).collect();
    let strangers = Verifier::trusting(chain.replica().chain(), strangers);
    assert_eq!(certified(&strangers, &header), Err(VerifyError::Uncertified { votes: 0, needed: 3 }));
    let elsewhere = Verifier::trusting(digest(1), trusted);
    assert_eq!(certified(&elsewhere, &header), Err(VerifyError::WrongChain));

    let block = chain.block(&[chain.sign(&plant.owner, vec![Call::RetireNode])]);
    let mut votes = chain.certify(&block.header);
    votes.votes.truncate(2);
    let verifier = Verifier::new(chain.replica().genesis());
    assert_eq!(verifier.header(&block.header, &votes), Err(VerifyError::Uncertified { votes: 2, needed: 3 }));
    let mut other = verifier.clone();
    let strangers = vec![identity(50).party()];
    let all = chain.certify(&block.header);
    assert_eq!(other.advance(&block.header, &all, strangers), Err(VerifyError::OtherValidators));
    assert_eq!(other, verifier, "after an error the trusted set is as it was");
}

/// A change in block h is told by the header of h + 1, under the votes of those who go, and counts from h + 2 on.
#[test]
fn validators_hand_over_in_public() {
    let plant = plant();
    let chain = &plant.chain;
    let mut verifier = Verifier::new(chain.replica().genesis());
    let begun = verifier.clone();
    let old = chain.replica().tip().validators;
    let [named, kept] = [9, 0].map(|number| chain.validator(number).party());
    let change = Call::SetValidators { validators: vec![kept, named] };
    chain.apply(&chain.authority(0), vec![change]).unwrap();
    let height = chain.replica().tip().height;
    let new = chain.state().validators().unwrap();
    assert_ne!(old, new);
    assert_eq!(chain.replica().tip().validators, old, "those who go commit one block more");

    let telling = chain.commit(&[]);
    let (header, votes) = (&telling.block.header, &telling.certificate);
    assert_eq!(chain.replica().tip().validators, new);
    let next = chain.block(&[]);
    let mut theirs = chain.certify(&header.clone());
    theirs.votes.retain(|vote| vote.signer() != named);
    assert!(chain.replica().commit(next.clone(), theirs).is_err(), "the votes are for another block");
    let last = chain.commit(&[]);
    for (at, validators) in [(height, &old), (height + 1, &old), (height + 2, &new), (height + 3, &new)] {
        assert_eq!(chain.replica().validators(at).unwrap().as_ref(), Some(validators), "at {at}");
    }
    assert_eq!(chain.replica().validators(1).unwrap(), Some(old.clone()));
    assert_eq!(chain.replica().validators(0).unwrap(), None);
    assert_eq!(chain.replica().validators(height + 4).unwrap(), None);

    assert!(matches!(
        verifier.header(&last.block.header, &last.certificate),
        Err(VerifyError::Uncertified { .. })
    ));
    verifier.advance(header, votes, new.clone()).unwrap();
    let certified = verifier.header(&last.block.header, &last.certificate).unwrap();
    assert_eq!(certified.height(), height + 1);
    assert!(begun.header(&last.block.header, &last.certificate).is_err());

    let again = Fixture::new(Arc::new(MemoryStore::default()), 2, 4);
    for height in 1..=chain.replica().tip().height {
        let block = chain.replica().block(height).unwrap().unwrap();
        again.replica().commit(block.block, block.certificate).unwrap();
    }
    assert_eq!(again.replica().tip(), chain.replica().tip());
}
