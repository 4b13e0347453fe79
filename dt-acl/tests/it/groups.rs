//! Groups by roles of the ledger: who comes and goes with them.

use std::collections::{BTreeMap, BTreeSet};

use dt_acl::testing::{Shelf, member, role, sign_acl};
use dt_acl::{
    Acl, Change, ChangeError, Grant, Group, GroupGrant, History, Keyring, MAX_GROUPS, Member, Rights,
};
use dt_dht::Refusal;
use dt_model::testing::{SeedRng, identity};
use dt_model::{Signer as _, Timestamp};
use proptest::prelude::*;

use crate::common::{at, first, grantee};
use crate::forge::{RawAcl, raw_next, shelf};
use crate::lists::next;

fn group(number: u64, rights: Rights) -> Group {
    Group { role: role(number), rights }
}

fn members(seeds: &[u64]) -> Vec<Member> {
    seeds.iter().map(|seed| member(&identity(*seed))).collect()
}

fn sync<'a>(group: &'a Group, members: &'a [Member]) -> Change<'a> {
    Change::SyncGroup { group, members, history: History::Full }
}

/// Who is on the list besides the owner, and what each may do at time 0.
fn rights(acl: &Acl) -> Vec<(u64, Rights)> {
    let known = |seed| Some((seed, acl.rights_at(&identity(seed).party(), at(0))?));
    (1..10).filter_map(known).collect()
}

#[test]
fn a_group_adds_and_removes_exactly_its_own() {
    let (owner, mut rng) = (identity(0), SeedRng::new(1));
    let acl = first(&[grantee(1, Rights::READ), grantee(2, Rights::WRITE)], &mut rng);
    let (writers, readers) = (group(1, Rights::WRITE), group(0, Rights::READ));
    let mut shelf = shelf(&acl);
    let mut acl = acl;
    let mut step = |shelf: &mut Shelf, change: &Change<'_>, epoch, expected: &[(u64, Rights)]| {
        acl = next(&acl, &owner, change, &mut rng);
        assert_eq!(shelf.offer(acl.signed(), at(0)), Ok(()));
        assert_eq!((acl.epoch(), rights(&acl).as_slice()), (epoch, expected));
        for (seed, _) in expected {
            assert!(Keyring::open(&acl, &identity(*seed)).unwrap().key(1).is_ok());
        }
    };
    let (read, write) = (Rights::READ, Rights::WRITE);
    // 1 is on the list by name and by the group, 3 by the group alone; 0 owns the item, and is in the role as well.
    step(&mut shelf, &sync(&writers, &members(&[0, 1, 3])), 1, &[(1, write), (2, write), (3, write)]);
    step(&mut shelf, &sync(&readers, &members(&[3, 4])), 1, &[(1, write), (2, write), (3, write), (4, read)]);
    // One version takes 3 out of one group and 5 in; 3 stays by the other.
    step(
        &mut shelf,
        &sync(&writers, &members(&[1, 5])),
        1,
        &[(1, write), (2, write), (3, read), (4, read), (5, write)],
    );
    // The group becomes one of readers, and loses 5: a removal begins an epoch.
    let fewer = group(1, Rights::READ);
    step(&mut shelf, &sync(&fewer, &members(&[1])), 2, &[(1, read), (2, write), (3, read), (4, read)]);
    step(&mut shelf, &sync(&readers, &[]), 3, &[(1, read), (2, write)]);
    step(&mut shelf, &sync(&fewer, &[]), 3, &[(1, read), (2, write)]);
    assert!(shelf.acl().unwrap().groups().is_empty());
    // Who is revoked is off by whatever it was on; and comes back if it is named again.
    step(&mut shelf, &sync(&writers, &members(&[1, 5])), 3, &[(1, write), (2, write), (5, write)]);
    step(&mut shelf, &Change::Revoke { party: identity(1).party() }, 4, &[(2, write), (5, write)]);
    step(&mut shelf, &Change::Revoke { party: identity(5).party() }, 5, &[(2, write)]);
    assert!(shelf.acl().unwrap().groups().is_empty(), "nobody is in it");
    step(&mut shelf, &sync(&writers, &members(&[1])), 5, &[(1, write), (2, write)]);
}

#[test]
fn members_have_an_end_and_new_keys() {
    let (owner, mut rng) = (identity(0), SeedRng::new(2));
    let acl = first(&[], &mut rng);
    let readers = group(0, Rights::READ);
    let until = [Member { not_after: at(10), ..member(&identity(1)) }, member(&identity(2))];
    let two = next(&acl, &owner, &sync(&readers, &until), &mut rng);
    assert_eq!(two.rights_at(&identity(1).party(), at(10)), Some(Rights::READ));
    assert_eq!(two.rights_at(&identity(1).party(), at(11)), None);
    // The next change clears away whose time is over, whatever else it does.
    let (keys, other) = (Keyring::open(&two, &owner).unwrap(), [grantee(3, Rights::READ)]);
    let change = Change::Grant { grantees: &other, history: History::Full };
    let cleared = two.change(&owner, &keys, &change, at(11), &mut rng).unwrap();
    assert!(cleared.entry(&identity(1).party()).is_none());
    assert_eq!((cleared.epoch(), cleared.groups().len()), (2, 1));
    // And it wraps for the key that a member has now.
    let mut rotated = identity(2);
    let key = rotated.rotate_encryption_key(&mut rng);
    let keys = Keyring::open(&two, &owner).unwrap();
    let now = [member(&rotated)];
    let three = two.change(&owner, &keys, &sync(&readers, &now), at(11), &mut rng).unwrap();
    let three = Acl::open(&sign_acl(&three, &owner)).unwrap();
    assert_eq!((three.epoch(), three.entries().len()), (2, 2));
    assert_eq!(three.entry(&rotated.party()).unwrap().encryption_key, key);
    assert!(Keyring::open(&three, &rotated).unwrap().key(1).is_ok());
    assert!(Keyring::open(&three, &identity(2)).is_err());
}

#[test]
fn newcomers_of_a_group_are_given_the_past_or_not() {
    let (owner, mut rng) = (identity(0), SeedRng::new(3));
    let acl = first(&[grantee(1, Rights::READ)], &mut rng);
    let readers = group(0, Rights::READ);
    let with = members(&[1, 2]);
    let change = Change::SyncGroup { group: &readers, members: &with, history: History::Omitted };
    let two = next(&acl, &owner, &change, &mut rng);
    assert_eq!(two.epoch(), 2);
    assert!(Keyring::open(&two, &identity(1)).unwrap().key(1).is_ok());
    assert!(Keyring::open(&two, &identity(2)).unwrap().key(1).is_err());
}

#[test]
fn groups_do_not_manage_and_are_few() {
    let (owner, manager, mut rng) = (identity(0), identity(1), SeedRng::new(4));
    let mut acl = first(&[grantee(1, Rights::MANAGE)], &mut rng);
    let keys = Keyring::open(&acl, &owner).unwrap();
    let (managers, twice) = (group(0, Rights::MANAGE), members(&[2, 2]));
    let refused = acl.change(&owner, &keys, &sync(&managers, &twice[..1]), at(0), &mut rng);
    assert!(matches!(refused, Err(ChangeError::GroupCannotManage)));
    let readers = group(0, Rights::READ);
    let refused = acl.change(&owner, &keys, &sync(&readers, &twice), at(0), &mut rng);
    assert!(matches!(refused, Err(ChangeError::Repeated(_))));
    // A manager may bring in a group, himself and other managers included, who are what they were before.
    let with = members(&[1, 2]);
    acl = next(&acl, &manager, &sync(&group(0, Rights::WRITE), &with), &mut rng);
    let stored = first(&[grantee(1, Rights::MANAGE)], &mut SeedRng::new(4));
    assert_eq!(shelf(&stored).offer(acl.signed(), at(0)), Ok(()));
    assert_eq!(acl.rights_at(&manager.party(), at(0)), Some(Rights::ALL));
    for number in 1..MAX_GROUPS as u64 {
        acl = next(&acl, &owner, &sync(&group(number, Rights::READ), &with), &mut rng);
    }
    let keys = Keyring::open(&acl, &owner).unwrap();
    let one_more = group(MAX_GROUPS as u64, Rights::READ);
    let refused = acl.change(&owner, &keys, &sync(&one_more, &with), at(0), &mut rng);
    assert!(matches!(refused, Err(ChangeError::TooManyGroups)));
    assert!(acl.change(&owner, &keys, &sync(&group(3, Rights::WRITE), &with), at(0), &mut rng).is_ok());
}

#[test]
fn groups_that_break_an_invariant_do_not_decode() {
    type Spoil = &'static dyn Fn(&mut RawAcl);
    let (owner, mut rng) = (identity(0), SeedRng::new(5));
    let acl = first(&[], &mut rng);
    let one = next(&acl, &owner, &sync(&group(0, Rights::READ), &members(&[1, 2])), &mut rng);
    let two = raw_next(&one, &sync(&group(1, Rights::WRITE), &members(&[2])), &mut rng);
    assert!(Acl::open(&two.sign(&owner)).is_ok());
    let spoils: [(&str, Spoil); 10] = [
        ("groups out of order", &|raw| raw.groups.swap(0, 1)),
        ("a group twice", &|raw| raw.groups[1] = raw.groups[0].clone()),
        ("a group that manages", &|raw| raw.groups[0].rights = Rights::MANAGE),
        ("a group without members", &|raw| raw.groups.push(Group { role: role(2), rights: Rights::READ })),
        ("no such group", &|raw| raw.entry(1).groups[0].group = 2),
        ("far beyond", &|raw| raw.entry(1).groups[0].group = 255),
        ("in a group twice", &|raw| {
            let again = raw.entry(1).groups[0];
            raw.entry(1).groups.push(again);
        }),
        ("in groups out of order", &|raw| raw.entry(2).groups.reverse()),
        ("there for nothing", &|raw| raw.entry(1).groups.clear()),
        ("an owner by a group", &|raw| {
            raw.entry(0).groups = vec![GroupGrant { group: 0, not_after: Timestamp::MAX }];
        }),
    ];
    for (what, spoil) in spoils {
        let mut raw = two.clone();
        spoil(&mut raw);
        assert_eq!(Acl::open(&raw.sign(&owner)).err(), Some(Refusal::Malformed), "{what}");
    }
}

/// By a group nobody becomes what only the owner can make him.
#[test]
fn a_manager_cannot_hide_an_appointment_in_a_group() {
    let mut rng = SeedRng::new(6);
    let acl = first(&[grantee(1, Rights::MANAGE)], &mut rng);
    let mut raw = raw_next(&acl, &sync(&group(0, Rights::WRITE), &members(&[1, 2])), &mut rng);
    assert_eq!(shelf(&acl).offer(&raw.sign(&identity(1)), at(0)), Ok(()));
    let mandate = raw.entry(1).mandate;
    (raw.entry(2).grant, raw.entry(2).mandate) = (Some(Grant::OWNER), mandate);
    assert_eq!(shelf(&acl).offer(&raw.sign(&identity(1)), at(0)), Err(Refusal::NotPermitted));
    // Nor does a group keep a manager who has lost his grant.
    let mut raw = raw_next(&acl, &sync(&group(0, Rights::WRITE), &members(&[1, 2])), &mut rng);
    (raw.entry(1).grant, raw.entry(1).mandate) = (None, None);
    assert_eq!(shelf(&acl).offer(&raw.sign(&identity(1)), at(0)), Err(Refusal::NotPermitted));
    assert_eq!(shelf(&acl).offer(&raw.sign(&identity(0)), at(0)), Ok(()));
}

#[derive(Debug, Clone)]
enum Step {
    Name(u64, Rights),
    Sync(u64, Rights, BTreeSet<u64>),
    Revoke(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 1u64..6;
    let reading = any::<bool>().prop_map(|write| Rights { write, manage: false });
    prop_oneof![
        2 => (who(), dt_acl::testing::rights()).prop_map(|(who, rights)| Step::Name(who, rights)),
        4 => (0u64..3, reading, prop::collection::btree_set(who(), 0..4))
            .prop_map(|(role, rights, members)| Step::Sync(role, rights, members)),
        1 => who().prop_map(Step::Revoke),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The list says what plain maps of names and groups say, and every version is admitted.
    #[test]
    fn lists_with_groups_do_what_maps_do(steps in prop::collection::vec(step(), 1..12)) {
        let (owner, mut rng) = (identity(0), SeedRng::new(7));
        let mut acl = first(&[], &mut rng);
        let mut shelf = shelf(&acl);
        let mut names: BTreeMap<u64, Rights> = BTreeMap::new();
        let mut groups: BTreeMap<u64, (Rights, BTreeSet<u64>)> = BTreeMap::new();
        for step in steps {
            let (group, with, grantees);
            let change = match &step {
                Step::Name(who, rights) => {
                    names.insert(*who, *rights);
                    grantees = [grantee(*who, *rights)];
                    Change::Grant { grantees: &grantees, history: History::Full }
                }
                Step::Sync(role, rights, seeds) => {
                    groups.insert(*role, (*rights, seeds.clone()));
                    group = self::group(*role, *rights);
                    with = members(&seeds.iter().copied().collect::<Vec<_>>());
                    sync(&group, &with)
                }
                Step::Revoke(who) => {
                    let was = names.remove(who).is_some();
                    let groups = groups.values_mut().filter(|(_, members)| members.contains(who));
                    let in_groups = groups.map(|(_, members)| members.remove(who)).count();
                    if !was && in_groups == 0 {
                        continue;
                    }
                    Change::Revoke { party: identity(*who).party() }
                }
            };
            groups.retain(|_, (_, members)| !members.is_empty());
            acl = next(&acl, &owner, &change, &mut rng);
            prop_assert_eq!(shelf.offer(acl.signed(), at(0)), Ok(()));
            let roles: Vec<_> = groups.keys().map(|number| role(*number)).collect();
            prop_assert_eq!(acl.groups().iter().map(|group| group.role.clone()).collect::<Vec<_>>(), roles);
            for who in 1..6 {
                let by_group = groups.values().filter(|(_, of)| of.contains(&who)).map(|(rights, _)| *rights);
                let expected = names.get(&who).copied().into_iter().chain(by_group).reduce(Rights::union);
                prop_assert_eq!(acl.rights_at(&identity(who).party(), at(0)), expected);
                prop_assert_eq!(Keyring::open(&acl, &identity(who)).is_ok(), expected.is_some());
            }
        }
    }
}
