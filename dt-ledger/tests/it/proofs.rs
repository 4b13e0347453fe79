//! What a reader can check for himself: state proofs under certified headers, traces, the place of a transaction, events.

use dt_ledger::{EventKind, Outcome, Resource, State as _, StateKey, StateProof, TwinCall, TwinEvent};
use dt_model::{Digest, Signer as _, codec};

use crate::support::*;

#[test]
fn a_value_is_proven_under_the_next_header() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, outsider, twin, .. } = &plant;
    let document = plant.document(owner, Some("tank"));
    plant.call(owner, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    let state = chain.state();
    let next = chain.commit(&[chain.sign(owner, vec![plant.on(add_document(None))])]);
    let root = next.block.header.state_root;
    assert_eq!(state.root().unwrap(), root);
    let there = [
        StateKey::Party(owner.party()),
        StateKey::Roles(*twin, maintainer.party()),
        StateKey::Document(*twin, document),
        StateKey::Specification(*twin),
        StateKey::Call(*twin, 1),
        StateKey::Policy(*twin, None),
        StateKey::Validators,
    ];
    let absent = [
        StateKey::Roles(*twin, outsider.party()),
        StateKey::Document(*twin, [9; 32].into()),
        StateKey::Call(*twin, 2),
        StateKey::Feed(*twin, component("level")),
    ];
    for key in there {
        let value = state.raw(&key).unwrap().expect("is there");
        let bytes = codec::encode(&state.prove(&key).unwrap());
        let proof: StateProof = codec::decode(&bytes, 20_000).expect("travels");
        let key = key.to_bytes();
        assert!(proof.verify(&root, &key, Some(&value)));
        assert!(!proof.verify(&root, &key, None), "what is there is not absent");
        assert!(!proof.verify(&root, &key, Some(b"another value")));
        assert!(!proof.verify(&root, b"another key", Some(&value)));
        assert!(!proof.verify(&Digest::ZERO, &key, Some(&value)));
        assert!(
            !proof.verify(&chain.replica().tip().state_root, &key, Some(&value)),
            "each root has its proofs"
        );
    }
    for key in absent {
        let proof = state.prove(&key).unwrap();
        let key = key.to_bytes();
        assert!(proof.verify(&root, &key, None));
        assert!(!proof.verify(&root, &key, Some(b"")), "what is absent has no value, not even an empty one");
        assert!(!proof.verify(&Digest::ZERO, &key, None));
    }
    let theirs = state.prove(&StateKey::Party(outsider.party())).unwrap();
    let mine = StateKey::Party(owner.party()).to_bytes();
    assert!(!theirs.verify(&root, &mine, None), "another's path shows nothing of this one's absence");
}

#[test]
fn a_trace_holds_every_write_chained() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, agent, twin, .. } = &plant;
    let document = plant.document(owner, Some("tank"));
    plant.call(maintainer, TwinCall::AddDocumentVersion { document, version: version(2) }).unwrap();
    assert_eq!(plant.refused(agent, TwinCall::RemoveDocument { document }), "authorization.not-permitted");
    plant.call(owner, TwinCall::RemoveDocument { document }).unwrap();
    plant.call(owner, edit([insert("pump", "tank")])).unwrap();

    let trace = chain.replica().trace(&Resource::Document(*twin, document)).unwrap();
    let authors: Vec<_> = trace.iter().map(|entry| entry.author).collect();
    assert_eq!(authors, [owner.party(), maintainer.party(), owner.party()], "writes only, refusals not");
    let mut previous = Digest::ZERO;
    for (number, entry) in (1..).zip(&trace) {
        assert_eq!((entry.number, entry.previous), (number, previous));
        previous = entry.digest();
    }
    let head = chain.state().trace_head(&Resource::Document(*twin, document)).unwrap().unwrap();
    assert_eq!((head.count, head.last), (3, previous), "the state holds the end of the chain");
    let element = chain.replica().trace(&Resource::Element(*twin, component("tank"))).unwrap();
    assert_eq!(element.len(), 4, "what is linked to an element is a write to it");
    assert_eq!(chain.replica().trace(&Resource::Element(*twin, component("pump"))).unwrap().len(), 1);
    assert!(chain.replica().trace(&Resource::Document(*twin, [9; 32].into())).unwrap().is_empty());
}

#[test]
fn a_change_beside_all_components_is_traced_at_the_root() {
    let plant = Plant::new();
    let description = dt_aml::Edit::Insert {
        fragment: "<Description>line one</Description>".into(),
        parent: "/InstanceHierarchy[Plant]".into(),
        after: None,
    };
    plant.call(&plant.owner, edit([description])).unwrap();
    let root = Resource::Element(plant.twin, component("/"));
    assert_eq!(plant.chain.replica().trace(&root).unwrap().len(), 1);
}

#[test]
fn a_transaction_is_found_with_its_outcome() {
    let plant = Plant::new();
    let Plant { chain, owner, auditor, .. } = &plant;
    let good = chain.sign(owner, vec![plant.on(add_document(None))]);
    let bad = chain.sign(auditor, vec![plant.on(add_document(None))]);
    let committed = chain.commit(&[good.clone(), bad.clone()]);
    for (transaction, applied) in [(good, true), (bad, false)] {
        let (header, found, receipt) = chain.replica().transaction(&transaction.digest()).unwrap().unwrap();
        assert_eq!((header, &found), (committed.block.header.clone(), &transaction));
        assert_eq!(matches!(receipt.outcome, Outcome::Applied), applied);
    }
    assert!(chain.replica().transaction(&digest(1)).unwrap().is_none());
    let next = chain.commit(&[]);
    assert_ne!(next.block.header.receipts_root, committed.block.header.receipts_root);
    assert_eq!(next.block.header.previous, committed.block.header.digest());
}

#[test]
fn events_tell_what_happened_and_who_did_it() {
    let plant = Plant::new();
    let Plant { chain, owner, auditor, twin, .. } = &plant;
    let transaction = chain.sign(
        owner,
        vec![
            plant.on(edit([insert("pump", "tank")])),
            plant.on(TwinCall::AssignRole { party: auditor.party(), role: name("inspector") }),
            plant.on(TwinCall::CallProgram(set_speed("30", "slow"))),
        ],
    );
    let refused = chain.sign(auditor, vec![plant.on(add_document(None))]);
    let committed = chain.commit(&[refused, transaction.clone()]);
    assert!(committed.events.iter().all(|event| event.by == owner.party()));
    assert!(committed.events.iter().all(|event| event.transaction == transaction.digest()));
    let kinds: Vec<EventKind> = committed.events.iter().map(|event| event.kind.clone()).collect();
    let expected = [
        TwinEvent::SpecificationChanged(plant.specification_root()),
        TwinEvent::RoleAssigned(auditor.party(), name("inspector")),
        TwinEvent::CallQueued(1),
    ];
    assert_eq!(kinds, expected.map(|event| EventKind::Twin(*twin, event)));
    assert_eq!(chain.replica().block(committed.block.header.height).unwrap().unwrap(), *committed);
}
