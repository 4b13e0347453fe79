//! Where ledger and lists have drifted apart, whoever manages the lists brings them together again.

use std::sync::Arc;

use dt_acl::{AclError, History, Revocation, Rights};
use dt_ledger::{Call, Policy, Subject, TwinCall};
use dt_model::testing::{SeedRng, identity};
use dt_model::{DataClass, Identity, Operation, Permission, Signer as _};
use dt_sync::{ClientError, DeviceError};

use crate::world::Who::*;
use crate::world::{Who, World, component, name, party};

/// A world with a reading by the agent and a document by the maintainer.
async fn shared() -> (World, dt_ledger::DocumentId) {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    (world, document)
}

/// The keys of a party after it has rotated its encryption key, on the ledger and at home.
async fn rotated(world: &World, who: Who) -> Arc<Identity> {
    let mut keys = identity(who as u64);
    let key = keys.rotate_encryption_key(&mut SeedRng::new(99));
    let ledger = world.client(who);
    ledger.ledger().execute(vec![Call::RotateEncryptionKey { key }]).await.unwrap();
    Arc::new(keys)
}

#[tokio::test]
async fn keys_are_wrapped_again_for_whoever_has_rotated_his() {
    let (world, document) = shared().await;
    let (manual, feed) = (world.item(document), world.keys_item());
    // The maintainer owns one of the lists and is a reader on the other; the auditor reads both.
    let [maintainer, auditor] = [rotated(&world, Maintainer).await, rotated(&world, Auditor).await];
    let owner = world.client(Owner);
    let mut aligned = owner.align(world.twin, History::Full, world.now()).await.unwrap();
    aligned.sort();
    let mut both = vec![manual, feed];
    both.sort();
    assert_eq!(aligned, both);
    for item in both {
        let list = world.list(Owner, item).await;
        for keys in [&maintainer, &auditor] {
            assert_eq!(list.entry(&keys.party()).unwrap().encryption_key, keys.encryption_key());
        }
        assert_eq!(
            list.epoch(),
            1 + u64::from(item == manual) + 1,
            "whoever has the old secret opens nothing new"
        );
        assert_eq!(world.anchored(Owner, item), list.version());
    }
    for keys in [maintainer, auditor] {
        let client = world.client_of(keys);
        assert_eq!(
            client.items().read(manual, None, world.now()).await.unwrap().plaintext.as_slice(),
            b"text"
        );
    }
    let height = world.height();
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap(), []);
    assert_eq!(world.height(), height, "nothing is left to do");
}

#[tokio::test]
async fn a_new_owner_of_the_twin_manages_what_others_share() {
    let (world, document) = shared().await;
    let manual = world.item(document);
    let role = name(dt_ledger::MAINTAINER);
    world.call(Owner, TwinCall::AssignRole { party: party(Owner), role }).await.unwrap();
    world.call(Owner, TwinCall::TransferOwnership { to: party(Manufacturer) }).await.unwrap();
    // The former owner manages lists that are not its own: it cannot appoint, and cannot dismiss itself.
    world.client(Owner).align(world.twin, History::Full, world.now()).await.unwrap();
    let now = world.now();
    let rights = |list: &dt_acl::Acl, who| list.rights_at(&party(who), now);
    let list = world.list(Maintainer, manual).await;
    assert_eq!(rights(&list, Manufacturer), Some(Rights::WRITE));
    assert_eq!(rights(&list, Owner), Some(Rights::ALL));
    // Whose item it is does both.
    world.client(Maintainer).align(world.twin, History::Full, world.now()).await.unwrap();
    let list = world.list(Maintainer, manual).await;
    assert_eq!(rights(&list, Manufacturer), Some(Rights::ALL));
    assert_eq!(rights(&list, Owner), Some(Rights::READ), "it maintains the machine from now on");
    let owner = world.client(Manufacturer);
    let revoked = owner.revoke(world.twin, party(Auditor), Revocation::Lazy, world.now()).await.unwrap();
    assert_eq!(revoked, [manual]);
}

#[tokio::test]
async fn roles_that_somebody_else_gave_and_took_reach_the_lists() {
    let (world, document) = shared().await;
    let role = name(dt_ledger::MAINTAINER);
    let owner = world.client(Owner);
    world.call(Owner, TwinCall::AssignRole { party: party(Stranger), role: role.clone() }).await.unwrap();
    assert!(matches!(world.read(Stranger, document).await, Err(ClientError::Item(AclError::NotAReader(_)))));
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap().len(), 2);
    assert_eq!(world.read(Stranger, document).await.unwrap(), "text");
    assert_eq!(world.temperatures(Stranger).await.unwrap().len(), 1);
    world.call(Owner, TwinCall::UnassignRole { party: party(Stranger), role }).await.unwrap();
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap().len(), 2);
    assert!(matches!(world.read(Stranger, document).await, Err(ClientError::Item(AclError::NotAReader(_)))));
    // A party that manages nothing changes nothing.
    assert_eq!(world.client(Auditor).align(world.twin, History::Full, world.now()).await.unwrap(), []);
}

/// Where a policy names roles, the lists hold them as groups: who gets a role, or loses it, comes and goes in one version with the others.
#[tokio::test]
async fn roles_that_a_policy_names_are_groups_of_the_list() {
    let (world, document) = shared().await;
    let (manual, owner) = (world.item(document), world.client(Owner));
    let read = Permission::new(Operation::Read, DataClass::Document);
    let policy = ["inspector", dt_ledger::OWNER, dt_ledger::MAINTAINER]
        .into_iter()
        .fold(Policy::none(), |policy, role| policy.allow(Subject::Role(name(role)), [read]));
    let component = Some(component("press"));
    world.call(Owner, TwinCall::SetPolicy { component, policy }).await.unwrap();
    let inspector = name("inspector");
    for who in [Stranger, Auditor] {
        let (party, role) = (party(who), inspector.clone());
        world.call(Owner, TwinCall::AssignRole { party, role }).await.unwrap();
    }
    owner.align(world.twin, History::Full, world.now()).await.unwrap();
    let list = world.list(Owner, manual).await;
    let group = list.groups().iter().find(|group| group.role.name == inspector).expect("the role is a group");
    assert_eq!((group.role.twin, group.rights), (world.twin, Rights::READ));
    assert!(list.entry(&party(Stranger)).unwrap().grant.is_none(), "it is there by its role alone");
    assert!(list.entry(&party(Manufacturer)).is_none(), "its role is not named");
    for who in [Stranger, Auditor] {
        assert_eq!(world.read(who, document).await.unwrap(), "text");
    }
    assert_eq!(
        owner.align(world.twin, History::Full, world.now()).await.unwrap(),
        [],
        "nothing is left to do"
    );
    // A key that is rotated is wrapped for, in the group as well.
    let stranger = rotated(&world, Stranger).await;
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap(), [manual]);
    let key = world.list(Owner, manual).await.entry(&party(Stranger)).unwrap().encryption_key;
    assert_eq!(key, stranger.encryption_key());
    // The role ends for one of them.
    let before = world.list(Owner, manual).await;
    let call = TwinCall::UnassignRole { party: party(Stranger), role: inspector };
    world.call(Owner, call).await.unwrap();
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap(), [manual]);
    let after = world.list(Owner, manual).await;
    assert_eq!((after.version(), after.epoch()), (before.version() + 1, before.epoch() + 1));
    let refused = world.client_of(stranger).items().read(manual, None, world.now()).await;
    assert!(matches!(refused, Err(AclError::NotAReader(_))), "{refused:?}");
    assert_eq!(world.read(Auditor, document).await.unwrap(), "text");
}

/// A list begins as the ledger has it: by role where the policy names roles, and by name where everyone may read.
#[tokio::test]
async fn what_was_just_shared_needs_no_alignment() {
    let world = World::new().await;
    let all = [Operation::Read, Operation::Write].into_iter().flat_map(|operation| {
        [DataClass::Document, DataClass::Sensor].map(|class| Permission::new(operation, class))
    });
    let roles = ["inspector", dt_ledger::OWNER, dt_ledger::MAINTAINER, dt_ledger::AGENT];
    let policy = roles
        .into_iter()
        .fold(Policy::none(), |policy, role| policy.allow(Subject::Role(name(role)), all.clone()));
    let component = Some(component("press"));
    world.call(Owner, TwinCall::SetPolicy { component, policy }).await.unwrap();
    for who in [Stranger, Auditor] {
        let (party, role) = (party(who), name("inspector"));
        world.call(Owner, TwinCall::AssignRole { party, role }).await.unwrap();
    }
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let manual = world.item(document);
    let before = world.list(Owner, manual).await;
    assert_eq!(before.version(), 1);
    let inspectors = before.groups().iter().position(|group| group.role.name == name("inspector")).unwrap();
    for who in [Stranger, Auditor] {
        let entry = before.entry(&party(who)).unwrap();
        assert!(entry.grant.is_none(), "by its role alone");
        assert_eq!(entry.groups.iter().map(|by| usize::from(by.group)).collect::<Vec<_>>(), [inspectors]);
        assert_eq!(world.read(who, document).await.unwrap(), "text");
        assert_eq!(world.temperatures(who).await.unwrap().len(), 1);
    }
    for who in [Owner, Maintainer, Agent] {
        let aligned = world.client(who).align(world.twin, History::Full, world.now()).await.unwrap();
        assert_eq!(aligned, [], "{who:?} finds nothing to do");
    }
    assert_eq!(world.list(Owner, manual).await, before);
}

/// Two managers align at once, and a third party's change comes between: each tries again, and the lists end as the ledger says.
#[tokio::test]
async fn two_that_align_at_once_both_succeed() {
    let (world, document) = shared().await;
    let role = name(dt_ledger::MAINTAINER);
    world.call(Owner, TwinCall::AssignRole { party: party(Stranger), role }).await.unwrap();
    let (owner, maintainer, now) = (world.client(Owner), world.client(Maintainer), world.now());
    let both = tokio::join!(
        owner.align(world.twin, History::Full, now),
        maintainer.align(world.twin, History::Full, now)
    );
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert_eq!(world.read(Stranger, document).await.unwrap(), "text");
}

#[tokio::test]
async fn a_sensor_that_is_out_of_order_silences_no_other() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    let [pressure, temperature] = [component("pressure"), component("temperature")];
    agent.connect(&[pressure.clone(), temperature.clone()], world.now()).await.unwrap();
    for broken in [&pressure, &temperature] {
        let now = world.wait(1);
        world.asset.measures("pressure", now, "1", Some("bar"));
        world.asset.measures("temperature", now, "20", Some("degC"));
        world.asset.breaks(broken.as_str(), DeviceError::Lost);
        let pulled = agent.pull(now).await.unwrap();
        assert_eq!((pulled.readings, pulled.failed), (1, vec![(broken.clone(), DeviceError::Lost)]));
        world.asset.mends(broken.as_str());
        let pulled = agent.pull(world.wait(1)).await.unwrap();
        assert_eq!((pulled.readings, pulled.failed.len()), (1, 0), "what it measured meanwhile is not lost");
    }
    assert_eq!((agent.published(&pressure), agent.published(&temperature)), (Some(2), Some(2)));
}
