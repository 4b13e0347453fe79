//! Who takes part (section 4.5): certificates, keys, DHT nodes.

use dt_ledger::{Call, State as _};
use dt_model::testing::identity;
use dt_model::{Identity, Signer as _};

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
    assert_eq!((nodes.epoch, nodes.nodes.len()), (2, 1));
    assert_eq!(rule(outsider, Call::RegisterNode { endpoints: vec![] }), "form.not-canonical");
    let long = vec![uri(&"x".repeat(1024)), uri("y")];
    assert_eq!(rule(outsider, Call::RegisterNode { endpoints: long }), "form.not-canonical");
    assert_eq!(rule(&authority, node("/ip4/192.0.2.3/tcp/4001")), "membership.unknown-party");
    assert_eq!(rule(owner, Call::RetireNode), "membership.unknown-party");
    chain.apply(outsider, vec![Call::RetireNode]).unwrap();
    assert_eq!(chain.state().nodes().unwrap().epoch, 3);

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
fn a_revoked_party_comes_back_only_with_a_later_certificate() {
    let plant = Plant::new();
    let Plant { chain, outsider, .. } = &plant;
    let old = chain.certificate(1, outsider);
    chain.wait(1000);
    chain.apply(outsider, vec![Call::RevokeCertificate { party: outsider.party() }]).unwrap();
    let come_back = |certificate| {
        let transaction = chain.sign(outsider, vec![Call::Register { certificate }]);
        chain.replica().admit(&transaction.open().unwrap(), chain.now())
    };
    assert!(come_back(old).is_err(), "what was revoked stays revoked");
    assert!(come_back(chain.certificate(1, outsider)).is_err(), "not later than the revocation");
    chain.wait(1);
    let anew = chain.certificate(1, outsider);
    come_back(anew.clone()).unwrap();
    chain.apply(outsider, vec![Call::Register { certificate: anew }]).unwrap();
    assert!(chain.state().active_party(&outsider.party(), chain.now()).unwrap().is_some());
}
