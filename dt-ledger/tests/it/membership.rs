//! Who takes part (section 4.5): certificates, keys, DHT nodes.

use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Approval, Call, Certificate, Credential, EventKind, Genesis, GenesisError, Organisation,
    Resource, State as _,
};
use dt_model::testing::identity;
use dt_model::{Identity, Name, PartyId, Signed, Signer as _, Timestamp};

use crate::support::*;

#[test]
fn the_calls_of_membership() {
    let plant = Plant::new();
    let Plant { chain, owner, outsider, .. } = &plant;
    let rule = |who: &Identity, call: Call| chain.apply(who, vec![call]).unwrap_err().rule();
    let register = |party: &Identity| Call::Register { certificate: chain.certificate(0, party) };
    assert_eq!(rule(owner, register(owner)), "membership.already-registered");
    assert_eq!(rule(owner, register(outsider)), "membership.bad-certificate");

    let key = identity(42).encryption_key();
    chain.apply(outsider, vec![Call::RotateEncryptionKey { key }]).unwrap();
    assert_eq!(chain.state().party(&outsider.party()).unwrap().unwrap().encryption_key, key);
    let authority = chain.authority(0);
    assert_eq!(rule(&authority, Call::RotateEncryptionKey { key }), "membership.unknown-party");

    let node = |endpoint: &str| Call::RegisterNode { endpoints: vec![uri(endpoint)] };
    chain.apply(outsider, vec![node("/ip4/192.0.2.1/tcp/4001")]).unwrap();
    chain.apply(outsider, vec![node("/ip4/192.0.2.2/tcp/4001")]).unwrap();
    let nodes = chain.state().nodes().unwrap();
    assert_eq!((nodes.head.registered, nodes.nodes.len()), (1, 1));
    assert_eq!(rule(outsider, Call::RegisterNode { endpoints: vec![] }), "form.not-canonical");
    let long = vec![uri(&"x".repeat(1024)), uri("y")];
    assert_eq!(rule(outsider, Call::RegisterNode { endpoints: long }), "form.not-canonical");
    assert_eq!(rule(&authority, node("/ip4/192.0.2.3/tcp/4001")), "membership.unknown-party");
    assert_eq!(rule(owner, Call::RetireNode), "membership.unknown-party");
    chain.apply(outsider, vec![Call::RetireNode]).unwrap();
    assert_eq!(chain.state().nodes().unwrap().head.registered, 0);

    chain.apply(outsider, vec![node("/ip4/192.0.2.1/tcp/4001")]).unwrap();
    let revoke = || Call::RevokeCertificate { party: outsider.party() };
    assert_eq!(rule(owner, revoke()), "authorization.not-yours");
    // Party 5 is one of organisation 1.
    assert_eq!(rule(&chain.authority(0), revoke()), "authorization.not-yours");
    chain.apply(&chain.authority(1), vec![revoke()]).unwrap();
    assert_eq!(rule(&chain.authority(1), revoke()), "membership.unknown-party");
    assert!(chain.state().nodes().unwrap().nodes.is_empty(), "a revoked party's node is retired");
}

#[test]
fn a_node_belongs_to_the_authority_that_certified_its_party() {
    let plant = Plant::new();
    let Plant { chain, owner, outsider, .. } = &plant;
    let node = || vec![Call::RegisterNode { endpoints: vec![uri("/ip4/192.0.2.1/tcp/4001")] }];
    chain.apply(owner, node()).unwrap();
    chain.apply(outsider, node()).unwrap();
    let state = chain.state();
    assert_eq!(state.node(&owner.party()).unwrap().unwrap().endpoints.len(), 1);
    assert_eq!((state.nodes_head().unwrap().registered, state.nodes().unwrap().nodes.len()), (2, 2));
    // Its certificate ends; another authority's enrols it again, but the node stays behind.
    let short = identity(77);
    let certificate = lasting(chain, 0, &short, 5);
    chain.apply(&short, vec![Call::Register { certificate }]).unwrap();
    chain.apply(&short, node()).unwrap();
    chain.wait(5);
    let other = chain.certificate(1, &short);
    chain.apply(&short, vec![Call::Register { certificate: other }]).unwrap();
    assert_eq!(chain.state().node(&short.party()).unwrap(), None);
    chain.apply(&short, node()).unwrap();
    chain.apply(&short, vec![Call::RetireNode]).unwrap();
    assert_eq!(chain.state().nodes_head().unwrap().registered, 2);
}

#[test]
fn a_revoked_party_comes_back_only_with_a_later_certificate() {
    let plant = Plant::new();
    let Plant { chain, outsider, .. } = &plant;
    let old = chain.certificate(1, outsider);
    chain.wait(1000);
    chain.apply(outsider, vec![Call::RevokeCertificate { party: outsider.party() }]).unwrap();
    let come_back = |certificate| {
        let transaction = chain.sign(outsider, vec![Call::Register { certificate }]);
        chain.admit(&transaction)
    };
    assert!(come_back(old).is_err(), "what was revoked stays revoked");
    assert!(come_back(chain.certificate(1, outsider)).is_err(), "not later than the revocation");
    chain.wait(1);
    let anew = chain.certificate(1, outsider);
    come_back(anew.clone()).unwrap();
    chain.apply(outsider, vec![Call::Register { certificate: anew }]).unwrap();
    assert!(chain.state().active_party(&outsider.party(), chain.now()).unwrap().is_some());
}

/// A certificate that ends in so many milliseconds.
fn lasting(chain: &Fixture, organisation: u64, party: &Identity, millis: u64) -> Credential {
    let certificate = Certificate {
        chain: chain.replica().chain(),
        party: party.party(),
        name: Name::new(format!("for {millis}")).unwrap(),
        encryption_key: identity(99).encryption_key(),
        not_before: chain.now(),
        not_after: Timestamp::from_millis(chain.now().as_millis() + millis),
    };
    Signed::new(certificate, &chain.authority(organisation)).unwrap().into_envelope().into()
}

#[test]
fn a_certificate_is_renewed_without_a_gap() {
    let chain = Fixture::default();
    let party = identity(50);
    let register = |certificate| chain.apply(&party, vec![Call::Register { certificate }]);
    register(lasting(&chain, 0, &party, 100)).unwrap();
    let key = identity(51).encryption_key();
    chain.apply(&party, vec![Call::RotateEncryptionKey { key }]).unwrap();
    let rule = |certificate| register(certificate).unwrap_err().rule();
    assert_eq!(rule(lasting(&chain, 0, &party, 100)), "membership.already-registered", "ends no later");
    assert_eq!(rule(lasting(&chain, 0, &party, 99)), "membership.already-registered");
    assert_eq!(
        rule(lasting(&chain, 1, &party, 300)),
        "membership.already-registered",
        "of another authority"
    );
    assert_eq!(rule(lasting(&chain, 0, &identity(52), 300)), "membership.bad-certificate");
    chain.wait(99);
    // With other calls, for it takes part already.
    let certificate = lasting(&chain, 0, &party, 200);
    let calls = vec![Call::Register { certificate }, Call::RegisterNode { endpoints: vec![uri("x")] }];
    let receipt = chain.apply(&party, calls).unwrap();
    chain.wait(1);
    let record = chain.state().active_party(&party.party(), chain.now()).unwrap().expect("takes part on");
    assert_eq!((record.name.as_str(), record.encryption_key), ("for 200", key), "the rotated key stays");
    let (header, ..) = chain.replica().transaction(&receipt.transaction).unwrap().unwrap();
    let event = chain.replica().block(header.height).unwrap().unwrap().events[0].kind.clone();
    assert_eq!(event, EventKind::CertificateRenewed(party.party(), record.not_after));
    assert_eq!(chain.replica().trace(&Resource::Party(party.party())).unwrap().len(), 3);

    // Expired, it is enrolled anew, by whatever authority, and with the key that was certified.
    chain.wait(200);
    register(lasting(&chain, 1, &party, 100)).unwrap();
    let record = chain.state().party(&party.party()).unwrap().unwrap();
    assert_eq!(record.authority, chain.authority(1).party());
    assert_eq!(record.encryption_key, identity(99).encryption_key());
}

#[test]
fn an_authority_that_was_a_party_remains_an_authority() {
    let chain = Fixture::default();
    let authority = chain.authority(0);
    let certificate = lasting(&chain, 0, &authority, 100);
    chain.apply(&authority, vec![Call::Register { certificate }]).unwrap();
    chain.apply(&authority, vec![Call::RegisterNode { endpoints: vec![uri("x")] }]).unwrap();
    chain.wait(100);
    let rule = |call| chain.apply(&authority, vec![call]).unwrap_err().rule();
    assert_eq!(rule(Call::RegisterNode { endpoints: vec![uri("y")] }), "membership.unknown-party");
    let key = identity(51).encryption_key();
    assert_eq!(rule(Call::RotateEncryptionKey { key }), "membership.unknown-party");
    let party = chain.enrol(2);
    chain.apply(&authority, vec![Call::RevokeCertificate { party: party.party() }]).unwrap();
    let transaction = chain.sign(&party, vec![Call::RetireNode]);
    let refused = chain.admit(&transaction);
    assert!(matches!(refused, Err(AdmissionError::UnknownSender(_))));
}

#[test]
fn a_genesis_is_whole_or_none() {
    let good = Fixture::genesis(3, 4);
    good.check().unwrap();
    let sorted = good.validators();
    assert!(sorted.is_sorted() && sorted.len() == 4);
    let changed = |change: &dyn Fn(&mut Genesis)| {
        let mut genesis = good.clone();
        change(&mut genesis);
        assert_ne!(genesis.chain(), good.chain());
        genesis.check()
    };
    let validator = |number: u64| identity(1000 + number).party();
    let some = |count: u64| (0..count).map(validator).collect::<Vec<_>>();
    let none =
        |genesis: &mut Genesis| genesis.organisations.iter_mut().for_each(|one| one.validators.clear());
    assert_eq!(changed(&|g| g.organisations.clear()), Err(GenesisError::Empty));
    assert_eq!(changed(&none), Err(GenesisError::Empty), "no validator");
    let authority: PartyId = good.organisations[1].authority;
    let twice = good.organisations[0].validators[0];
    assert_eq!(
        changed(&|g| g.organisations[2].authority = authority),
        Err(GenesisError::Repeated(authority))
    );
    assert_eq!(changed(&|g| g.organisations[1].validators.push(twice)), Err(GenesisError::Repeated(twice)));
    assert_eq!(changed(&|g| g.organisations[1].validators = vec![twice]), Err(GenesisError::Repeated(twice)));
    let seats = |authority, seats| Err(GenesisError::Seats { authority, seats });
    assert_eq!(changed(&|g| g.organisations[1].validators = some(3)), seats(authority, 2));
    assert_eq!(changed(&|g| g.seats = 1), seats(good.organisations[0].authority, 1));
    assert_eq!(changed(&|g| g.seats = 0), seats(good.organisations[0].authority, 0));
    let many = |g: &mut Genesis| {
        g.seats = 255;
        g.organisations[1].validators = some(255);
    };
    assert_eq!(changed(&many), Err(GenesisError::TooMany));
    let crowd = |g: &mut Genesis| {
        let member = |number| Organisation { authority: validator(number), ..g.organisations[1].clone() };
        g.organisations = (0..257).map(member).collect();
    };
    assert_eq!(changed(&crowd), Err(GenesisError::TooMany));
    changed(&|g| g.approval = Approval::Unanimous).expect("may be, but is another chain");
    let store = std::sync::Arc::new(dt_ledger::MemoryStore::default());
    let mut genesis = good.clone();
    none(&mut genesis);
    assert!(dt_ledger::Replica::open(store, &genesis).is_err());
}
