//! Whose policy decides where: the authorization contract (section 4.4) on the tree of the specification.

use dt_aml::{Edit, RemovePolicy};
use dt_ledger::{MAINTAINER, Policy, State as _, Subject, TwinCall};
use dt_model::{DataClass, Identity, Operation, Permission, Signer as _};

use crate::support::*;

const WRITE: Operation = Operation::Write;
const SPECIFICATION: Permission = Permission::new(WRITE, DataClass::Specification);
const DOCUMENT: Permission = Permission::new(WRITE, DataClass::Document);

fn role(text: &str) -> Subject {
    Subject::Role(name(text))
}

fn at(text: &str, policy: Policy) -> TwinCall {
    TwinCall::SetPolicy { component: Some(component(text)), policy }
}

/// Only the owner does anything.
fn closed() -> Policy {
    Policy::none().allow(role("owner"), [SPECIFICATION, DOCUMENT])
}

fn writes(plant: &Plant, who: &Identity, at: &str) -> bool {
    plant.may(who, WRITE, DataClass::Document, Some(at))
}

#[test]
fn the_nearest_policy_above_decides_alone() {
    let plant = Plant::new();
    let Plant { owner, maintainer, auditor, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let auditors = Policy::none().allow(role("auditor"), [DOCUMENT]);
    plant.call(owner, at("level", auditors)).unwrap();
    assert!(
        writes(&plant, maintainer, "line") && writes(&plant, maintainer, "motor"),
        "the root's elsewhere"
    );
    assert!(
        !writes(&plant, maintainer, "tank") && !writes(&plant, maintainer, "valve"),
        "a stricter one below"
    );
    assert!(writes(&plant, owner, "valve"));
    assert!(writes(&plant, auditor, "level") && !writes(&plant, auditor, "valve"), "the one below that");
    assert!(!writes(&plant, owner, "level"), "nothing is inherited from further up");
    assert!(!plant.may(auditor, Operation::Read, DataClass::Document, Some("tank")));
    plant.call(owner, TwinCall::RemovePolicy { component: component("level") }).unwrap();
    assert!(
        writes(&plant, owner, "level") && !writes(&plant, auditor, "level"),
        "removed: the next one above"
    );
}

#[test]
fn an_element_is_judged_by_what_it_is_not_by_what_it_is_called() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let path = "/InstanceHierarchy[Plant]/InternalElement[Line]/InternalElement[Tank]";
    assert!(
        plant.chain.state().specification(&plant.twin).unwrap().find(path).is_ok(),
        "another way to the tank"
    );
    assert!(!writes(&plant, maintainer, path));
    assert!(!writes(&plant, maintainer, &format!("{path}/InternalElement[Valve]")));
    assert_eq!(plant.refused(maintainer, add_document(Some(path))), "authorization.not-permitted");
    assert_eq!(plant.refused(owner, add_document(Some(path))), "specification.unknown-component");
    assert_eq!(plant.refused(maintainer, edit([insert("x", path)])), "authorization.not-permitted");
    assert_eq!(plant.refused(maintainer, edit([remove(path)])), "authorization.not-permitted");
}

#[test]
fn a_sibling_of_the_same_name_changes_nobody_s_scope() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let double = Edit::Insert {
        fragment: r#"<InternalElement Name="Tank"/>"#.into(),
        parent: "line".into(),
        after: None,
    };
    plant.call(maintainer, edit([double])).unwrap();
    assert!(!writes(&plant, maintainer, "tank") && !writes(&plant, maintainer, "valve"));
}

#[test]
fn an_insertion_is_judged_at_its_parent() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    assert_eq!(plant.refused(maintainer, edit([insert("x", "tank")])), "authorization.not-permitted");
    assert_eq!(plant.refused(maintainer, edit([insert("x", "valve")])), "authorization.not-permitted");
    let smuggled = edit([insert("x", "line"), insert("y", "x"), insert("z", "tank")]);
    assert_eq!(plant.refused(maintainer, smuggled), "authorization.not-permitted");
    plant.call(maintainer, edit([insert("x", "line"), insert("y", "x")])).unwrap();
    plant.call(owner, edit([insert("z", "valve")])).unwrap();
    assert!(!writes(&plant, maintainer, "z"), "what is inserted there has that scope");
}

#[test]
fn a_removal_needs_every_stricter_policy_beneath() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("valve", closed())).unwrap();
    for above in ["valve", "tank", "line"] {
        assert_eq!(
            plant.refused(maintainer, edit([remove(above)])),
            "authorization.not-permitted",
            "{above}"
        );
    }
    plant.call(maintainer, edit([remove("level")])).unwrap();
    plant.call(owner, edit([remove("tank")])).unwrap();
}

/// Each kind of edit that would reach into the tank, where only the owner writes.
#[test]
fn no_edit_reaches_into_a_stricter_policy() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let link = Edit::Insert {
        fragment: r#"<InternalLink Name="l" RefPartnerSideA="motor" RefPartnerSideB="valve"/>"#.into(),
        parent: "tank".into(),
        after: None,
    };
    plant.call(owner, edit([link])).unwrap();
    let source = |id: &str| {
        let state = plant.chain.state();
        let specification = state.specification(&plant.twin).unwrap();
        specification.find(id).unwrap().source().into_owned()
    };
    let policy = RemovePolicy::OpenLinks;
    let moved = |address: &str, parent: &str| Edit::Move {
        address: address.into(),
        parent: parent.into(),
        after: None,
    };
    let splice = |parent: &str| Edit::Splice {
        parent: parent.into(),
        after: None,
        before: None,
        content: String::new(),
        policy,
    };
    let retag = |id: &str| {
        let (start, end) = (format!(r#"<InternalElement Name="X" ID="{id}">"#), "</InternalElement>".into());
        Edit::Retag { address: id.into(), start, end, policy }
    };
    let attempts = [
        moved("valve", "line"),
        moved("motor", "tank"),
        moved("tank", "motor"),
        splice("tank"),
        splice("line"),
        retag("tank"),
        retag("valve"),
        Edit::Replace { address: "tank".into(), fragment: source("tank"), policy },
        Edit::Replace { address: "line".into(), fragment: source("line"), policy },
        Edit::Remove { address: "tank/InternalLink[l]".into(), policy },
        // The link in the tank would go with the motor.
        Edit::Remove { address: "motor".into(), policy: RemovePolicy::Cascade },
    ];
    let before = source("/");
    for attempt in attempts {
        let refused = plant.refused(maintainer, edit([attempt.clone()]));
        assert_eq!(refused, "authorization.not-permitted", "{attempt:?}");
    }
    assert_eq!(source("/"), before);
    let cascade = Edit::Remove { address: "motor".into(), policy: RemovePolicy::Cascade };
    plant.call(owner, edit([cascade])).unwrap();
    assert!(!source("tank").contains("InternalLink"));
}

#[test]
fn what_was_removed_keeps_its_scope() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let document = plant.document(owner, Some("valve"));
    let remove_document = || TwinCall::RemoveDocument { document };
    assert_eq!(plant.refused(maintainer, remove_document()), "authorization.not-permitted");
    // With the whole line, so that the tank's policy stands between the valve and what is left.
    plant.call(owner, edit([remove("line")])).unwrap();
    assert_eq!(plant.refused(maintainer, remove_document()), "authorization.not-permitted");
    assert!(!writes(&plant, maintainer, "valve") && !writes(&plant, maintainer, "tank"));
    assert!(writes(&plant, maintainer, "motor"), "what had the root's policy still has it");
    plant.call(owner, remove_document()).unwrap();
}

#[test]
fn nobody_takes_over_what_was_removed_by_inserting_it_elsewhere() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    let document = plant.document(owner, Some("valve"));
    plant.call(owner, edit([remove("tank")])).unwrap();
    let hierarchy = "/InstanceHierarchy[Plant]";
    for id in ["valve", "tank"] {
        assert_eq!(
            plant.refused(maintainer, edit([insert(id, "line")])),
            "authorization.not-permitted",
            "{id}"
        );
        assert_eq!(
            plant.refused(maintainer, edit([insert(id, hierarchy)])),
            "authorization.not-permitted",
            "{id}"
        );
    }
    plant.call(owner, edit([insert("tank", "line")])).unwrap();
    assert!(!writes(&plant, maintainer, "tank"), "back again, under its old policy");
    assert_eq!(
        plant.refused(maintainer, TwinCall::RemoveDocument { document }),
        "authorization.not-permitted"
    );
    // The owner may: it is he who gives up the guard.
    plant.call(owner, edit([insert("valve", "line")])).unwrap();
    assert!(writes(&plant, maintainer, "valve"));
}

#[test]
fn a_removed_element_s_policy_can_still_be_lifted() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    plant.call(owner, at("tank", closed())).unwrap();
    plant.call(owner, edit([remove("tank")])).unwrap();
    let lift = || TwinCall::RemovePolicy { component: component("tank") };
    assert_eq!(plant.refused(maintainer, lift()), "authorization.not-permitted");
    plant.call(owner, lift()).unwrap();
    assert!(writes(&plant, maintainer, "valve"));
}

#[test]
fn everyone_is_whoever_has_a_part_in_the_twin() {
    let plant = Plant::new();
    let Plant { owner, auditor, outsider, .. } = &plant;
    let reads = |who: &Identity| {
        DataClass::ALL.into_iter().filter(|class| plant.may(who, Operation::Read, *class, None)).count()
    };
    assert_eq!((reads(auditor), reads(outsider)), (DataClass::ALL.len(), 0));
    let assign = |role| TwinCall::AssignRole { party: outsider.party(), role: name(role) };
    plant.call(owner, assign("visitor")).unwrap();
    assert_eq!(reads(outsider), DataClass::ALL.len());
    plant.call(owner, TwinCall::UnassignRole { party: outsider.party(), role: name("visitor") }).unwrap();
    assert_eq!(reads(outsider), 0);
}

#[test]
fn a_delegate_administers_his_part_and_no_more() {
    let plant = Plant::new();
    let Plant { owner, maintainer, auditor, .. } = &plant;
    let administer = Permission::new(Operation::Administer, DataClass::Policy);
    let delegated = Policy::none().allow(role(MAINTAINER), [administer, DOCUMENT, SPECIFICATION]);
    plant.call(owner, at("tank", delegated)).unwrap();
    let open = || Policy::none().allow(Subject::Everyone, [DOCUMENT]);
    plant.call(maintainer, at("valve", open())).unwrap();
    assert!(writes(&plant, auditor, "valve"));
    for above in ["line", "motor"] {
        assert_eq!(plant.refused(maintainer, at(above, open())), "authorization.not-permitted");
    }
    let root = TwinCall::SetPolicy { component: None, policy: open() };
    assert_eq!(plant.refused(maintainer, root), "authorization.not-permitted");
    let role = TwinCall::AssignRole { party: maintainer.party(), role: name("boss") };
    assert_eq!(plant.refused(maintainer, role), "authorization.not-permitted", "roles are the root's");
    // Nobody shuts the owner out for good.
    plant.call(maintainer, at("tank", Policy::none())).unwrap();
    assert!(!writes(&plant, owner, "tank"));
    plant.call(owner, at("tank", Policy::paper_default())).unwrap();
    assert!(writes(&plant, owner, "tank"));
}

#[test]
fn the_owner_cannot_lock_himself_out() {
    let plant = Plant::new();
    let owner = &plant.owner;
    plant.call(owner, TwinCall::SetPolicy { component: None, policy: Policy::none() }).unwrap();
    assert_eq!(plant.refused(owner, add_document(None)), "authorization.not-permitted");
    plant.call(owner, TwinCall::SetPolicy { component: None, policy: Policy::paper_default() }).unwrap();
    plant.call(owner, add_document(None)).unwrap();
}

#[test]
fn permissions_are_what_the_paper_says_by_default() {
    let plant = Plant::new();
    let Plant { owner, maintainer, auditor, agent, .. } = &plant;
    let of = |who: &Identity| -> Vec<Permission> {
        let all = [Operation::Read, Operation::Write, Operation::Execute, Operation::Administer];
        let all =
            all.iter().flat_map(|operation| DataClass::ALL.map(|class| Permission::new(*operation, class)));
        all.filter(|p| plant.may(who, p.operation, p.class, Some("motor"))).collect()
    };
    use DataClass::{Document, ExternalSource, Policy, Program, Sensor, Specification};
    let read = || Permission::read_all().collect::<Vec<_>>();
    let write =
        [Specification, Document, ExternalSource, Sensor].map(|c| Permission::new(Operation::Write, c));
    let execute = Permission::new(Operation::Execute, Program);
    assert_eq!(of(auditor), read());
    assert_eq!(of(maintainer), [read(), write.to_vec(), vec![execute]].concat());
    let administer = Permission::new(Operation::Administer, Policy);
    assert_eq!(of(owner), [read(), write.to_vec(), vec![execute, administer]].concat());
    let observe = [Specification, Sensor].map(|class| Permission::new(Operation::Write, class));
    assert_eq!(of(agent), [read(), observe.to_vec()].concat());
}
