//! What somebody can check who has nothing but a set of validators: no store, no network. Everything reaches him as bytes.

use std::sync::Arc;

use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Certified, Checkpoint, CheckpointError, CommitCertificate, DocumentId, ElementProof, Header,
    LogHead, MemoryStore, Outcome, Receipt, Resource, SignedNote, Specification, State as _, StateKey,
    StateProof, TraceProof, Transaction, Twin, TwinCall, Verifier, VerifyError,
};
use dt_model::testing::identity;
use dt_model::{Envelope, Identity, Signer as _, codec};

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
    assert_eq!(certified.height + 1, plant.chain.replica().tip().height);

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
fn a_document_s_trace_ends_where_its_record_says() {
    let plant = plant();
    let [document, other] = [(); 2].map(|()| plant.document(&plant.owner, Some("tank")));
    let before = plant.chain.replica().prove_trace(&Resource::Document(plant.twin, document)).unwrap();
    let add = |byte| TwinCall::AddDocumentVersion { document, version: version(byte) };
    for (who, change) in [
        (&plant.maintainer, add(2)),
        (&plant.owner, add(3)),
        (&plant.owner, TwinCall::RemoveDocument { document }),
    ] {
        plant.call(who, change).unwrap();
    }
    let proven = |document| {
        let resource = Resource::Document(plant.twin, document);
        (plant.chain.replica().prove_trace(&resource).unwrap(), resource)
    };
    let ((proof, resource), (of_other, _)) = (proven(document), proven(other));
    let unknown = proven(DocumentId::from([9; 32]));
    let certified = certified(&Verifier::new(plant.chain.replica().genesis()), &next_header(&plant)).unwrap();

    let entries = certified.trace(&resource, &proof).unwrap();
    let [owner, maintainer] = [&plant.owner, &plant.maintainer].map(|who| who.party());
    let authors: Vec<_> = entries.iter().map(|entry| entry.author).collect();
    assert_eq!(authors, [owner, maintainer, owner, owner]);
    assert_eq!(certified.trace(&unknown.1, &unknown.0).unwrap(), [], "a document that nobody added");

    let cut = TraceProof { entries: proof.entries[..1].to_vec(), ..proof.clone() };
    let earlier = TraceProof { head: before.head.clone(), ..cut.clone() };
    let bare = proof.head.as_ref().map(|record| record[record.len() - 40..].to_vec());
    let no_record = TraceProof { head: bare, ..proof.clone() };
    for forged in [cut, earlier, before, of_other, no_record, TraceProof { head: None, ..proof }] {
        assert_eq!(certified.trace(&resource, &forged), Err(VerifyError::Proof), "{forged:?}");
    }
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
    assert_eq!(certified.height, height + 1);
    assert!(begun.header(&last.block.header, &last.certificate).is_err());

    let again = Fixture::new(Arc::new(MemoryStore::default()), 2, 4);
    for height in 1..=chain.replica().tip().height {
        let block = chain.replica().block(height).unwrap().unwrap();
        again.replica().commit(block.block, block.certificate).unwrap();
    }
    assert_eq!(again.replica().tip(), chain.replica().tip());
}

/// The validators' checkpoint of the chain as it stands, as a text that reaches somebody.
fn checkpoint(plant: &Plant) -> String {
    let checkpoint = plant.chain.replica().checkpoint();
    let signatures = (0..3).map(|number| checkpoint.sign(&plant.chain.validator(number)).unwrap());
    checkpoint.note(signatures.collect()).unwrap().to_string()
}

fn certified_by_note(plant: &Plant, note: &str) -> Result<Certified, VerifyError> {
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    Verifier::new(plant.chain.replica().genesis()).checkpoint(&note)
}

#[test]
fn a_chain_that_stands_still_is_certified_by_a_checkpoint() {
    let plant = plant();
    let receipt = plant.call(&plant.owner, add_document(Some("tank"))).unwrap();
    let refused = plant.chain.sign(&plant.auditor, vec![plant.on(add_document(None))]);
    plant.chain.commit(std::slice::from_ref(&refused));
    let replica = plant.chain.replica();
    let now = certified_by_note(&plant, &checkpoint(&plant)).unwrap();
    assert_eq!((now.height, now.state_root), (replica.tip().height, replica.tip().state_root));

    // What became of the last transaction, and that both are in the log.
    let (found, proof) = replica.prove_receipt(&refused.digest()).unwrap().unwrap();
    now.receipt(&found, &proof).unwrap();
    assert_eq!(found.result().unwrap_err().rule(), "authorization.not-permitted");
    let forged = Receipt { outcome: Outcome::Applied, ..found };
    assert_eq!(now.receipt(&forged, &proof), Err(VerifyError::Proof));
    for transaction in [receipt.transaction, refused.digest()] {
        let proof = replica.prove_transaction(&transaction).unwrap().unwrap();
        let (_, sent, _) = replica.transaction(&transaction).unwrap().unwrap();
        let bytes = codec::encode(&sent);
        let index = now.transaction(&bytes, &proof).unwrap();
        assert_eq!(replica.prove_leaf(index).unwrap(), Some(proof.clone()));
        let sent: Envelope<Transaction> = codec::decode(&bytes, bytes.len()).unwrap();
        assert_eq!(sent.digest(), transaction, "and its author's signature is in these bytes");
        assert_eq!(now.transaction(&bytes[1..], &proof), Err(VerifyError::Proof));
    }
    assert_eq!(replica.prove_transaction(&digest(1)).unwrap(), None);
    assert_eq!(replica.prove_leaf(now.log.size).unwrap(), None);

    // A header that comes later says the same of this height.
    let header = next_header(&plant);
    assert_eq!(certified(&Verifier::new(replica.genesis()), &header).unwrap(), now);
}

#[test]
fn the_log_only_grows() {
    let plant = plant();
    let mut seen = vec![certified_by_note(&plant, &checkpoint(&plant)).unwrap()];
    for _ in 0..5 {
        plant.chain.commit(&[]);
        plant.call(&plant.owner, add_document(None)).unwrap();
        seen.push(certified_by_note(&plant, &checkpoint(&plant)).unwrap());
    }
    let now = seen.last().unwrap();
    for earlier in &seen {
        let proof = plant.chain.replica().prove_extension(earlier.log.size).unwrap().unwrap();
        now.extends(&earlier.log, &proof).unwrap();
        let other = LogHead { root: digest(1), ..earlier.log };
        assert_eq!(now.extends(&other, &proof), Err(VerifyError::Proof));
    }
    let proof = plant.chain.replica().prove_extension(seen[0].log.size).unwrap().unwrap();
    assert_eq!(now.extends(&seen[1].log, &proof), Err(VerifyError::Proof), "each size has its proof");
    assert_eq!(seen[0].extends(&now.log, &proof), Err(VerifyError::Proof), "nothing shrinks");
    assert_eq!(plant.chain.replica().prove_extension(now.log.size + 1).unwrap(), None);
}

#[test]
fn a_checkpoint_needs_the_trusted_validators() {
    let plant = plant();
    let good = plant.chain.replica().checkpoint();
    let sign = |checkpoint: &Checkpoint, by: &[Identity]| {
        let signatures = by.iter().map(|who| checkpoint.sign(who).unwrap()).collect();
        checkpoint.note(signatures).unwrap().to_string()
    };
    let validators: Vec<Identity> = (0..4).map(|number| plant.chain.validator(number)).collect();
    certified_by_note(&plant, &sign(&good, &validators)).unwrap();
    let too_few = certified_by_note(&plant, &sign(&good, &validators[..2]));
    assert!(matches!(
        too_few,
        Err(VerifyError::Checkpoint(CheckpointError::TooFew { signers: 2, needed: 3 }))
    ));
    let forged = Checkpoint { state_root: digest(1), ..good };
    let strangers: Vec<Identity> = (50..54).map(identity).collect();
    assert!(certified_by_note(&plant, &sign(&forged, &strangers)).is_err());
    let elsewhere = Checkpoint { chain: digest(1), ..good };
    assert!(certified_by_note(&plant, &sign(&elsewhere, &validators)).is_err());
    let text = sign(&good, &validators).replacen(&format!("height {}", good.height), "height 1", 1);
    assert!(certified_by_note(&plant, &text).is_err());
}
