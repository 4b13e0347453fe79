//! Every call, accepted and refused; the paper's sensor swap; documents; the ends of a twin.

use std::cell::RefCell;
use std::collections::BTreeSet;

use dt_ledger::{
    AGENT, Call, CallResult, CallStatus, CreateTwin, MAINTAINER, OWNER, Outcome, Policy, Reason, Resource,
    State as _, Subject, TwinCall, Version,
};
use dt_model::testing::identity;
use dt_model::{DataClass, Identity, Operation, Signer as _, Text, codec};

use crate::support::*;

/// Notes which calls were accepted, and which refused.
struct Tried {
    plant: Plant,
    accepted: RefCell<BTreeSet<u8>>,
    refused: RefCell<BTreeSet<u8>>,
}

impl Tried {
    fn accepts(&self, who: &Identity, call: TwinCall) {
        let what = format!("{call:?}");
        self.accepted.borrow_mut().insert(codec::encode(&call)[0]);
        self.plant.call(who, call).unwrap_or_else(|reason| panic!("{what}: {}", reason.rule()));
    }

    fn refuses(&self, who: &Identity, call: TwinCall, rule: &str) {
        let what = format!("{call:?}");
        self.refused.borrow_mut().insert(codec::encode(&call)[0]);
        assert_eq!(self.plant.refused(who, call), rule, "{what}");
    }
}

/// The number of kinds of calls to a twin: the match has no arm for all others, so that a new kind does not compile until it is counted.
fn kinds(call: &TwinCall) -> u8 {
    match call {
        TwinCall::TransferOwnership { .. } | TwinCall::Decommission | TwinCall::SetAgent { .. } => 25,
        TwinCall::AssignRole { .. } | TwinCall::UnassignRole { .. } => 25,
        TwinCall::SetPolicy { .. } | TwinCall::RemovePolicy { .. } => 25,
        TwinCall::SetSafetyRules { .. } | TwinCall::ReportValues { .. } => 25,
        TwinCall::AddDocument(_) | TwinCall::AddDocumentVersion { .. } | TwinCall::RemoveDocument { .. } => {
            25
        }
        TwinCall::AddExternalSource { .. } | TwinCall::RemoveExternalSource { .. } => 25,
        TwinCall::AddSensorFeed { .. } | TwinCall::RemoveSensorFeed { .. } | TwinCall::EditAml { .. } => 25,
        TwinCall::CallProgram(_) | TwinCall::CancelCall { .. } | TwinCall::ClaimCalls { .. } => 25,
        TwinCall::StartCall { .. } | TwinCall::CompleteCall { .. } | TwinCall::RejectCall { .. } => 25,
        TwinCall::AnchorAcl { .. } | TwinCall::AnchorHead { .. } => 25,
    }
}

#[test]
fn every_call_to_a_twin_is_accepted_once_and_refused_once() {
    let tried = Tried { plant: Plant::new(), accepted: RefCell::default(), refused: RefCell::default() };
    rights(&tried);
    documents_and_sources(&tried);
    feeds_and_specification(&tried);
    programs(&tried);
    safety(&tried);
    anchors(&tried);
    ownership(&tried);
    let all: BTreeSet<u8> = (0..kinds(&TwinCall::Decommission)).collect();
    assert_eq!(*tried.accepted.borrow(), all);
    assert_eq!(*tried.refused.borrow(), all);
}

fn rights(tried: &Tried) {
    let Plant { owner, maintainer, auditor, .. } = &tried.plant;
    let role = |party: &Identity, role: &str| (party.party(), name(role));
    let assign = |(party, role)| TwinCall::AssignRole { party, role };
    let unassign = |(party, role)| TwinCall::UnassignRole { party, role };
    tried.accepts(owner, assign(role(auditor, "inspector")));
    tried.refuses(auditor, assign(role(auditor, MAINTAINER)), "authorization.not-permitted");
    tried.refuses(owner, assign(role(maintainer, OWNER)), "authorization.owner-role");
    tried.refuses(owner, assign(role(&identity(99), "x")), "membership.unknown-party");
    tried.accepts(owner, unassign(role(auditor, "inspector")));
    tried.refuses(owner, unassign(role(auditor, "inspector")), "authorization.role-not-held");
    tried.refuses(owner, unassign(role(owner, OWNER)), "authorization.owner-role");
    for number in 0..31 {
        tried.accepts(owner, assign(role(auditor, &format!("role {number}"))));
    }
    tried.refuses(owner, assign(role(auditor, "one too many")), "limits.full");

    let set = |at: &str, policy| TwinCall::SetPolicy { component: Some(component(at)), policy };
    tried.accepts(owner, set("tank", Policy::paper_default()));
    tried.refuses(maintainer, set("tank", Policy::none()), "authorization.not-permitted");
    tried.refuses(owner, set("nowhere", Policy::none()), "specification.unknown-component");
    tried.refuses(owner, set("/InstanceHierarchy[Plant]", Policy::none()), "specification.unknown-component");
    let roles = (0..=Policy::MAX_GRANTS).map(|number| Subject::Role(name(&format!("{number}"))));
    let large = roles.fold(Policy::none(), |policy, subject| policy.allow(subject, []));
    tried.refuses(owner, set("tank", large), "form.not-canonical");
    let remove = |at: &str| TwinCall::RemovePolicy { component: component(at) };
    tried.accepts(owner, remove("tank"));
    tried.refuses(owner, remove("tank"), "specification.unknown-component");
    tried.refuses(maintainer, remove("tank"), "authorization.not-permitted");
}

fn documents_and_sources(tried: &Tried) {
    let Plant { owner, maintainer, auditor, .. } = &tried.plant;
    tried.accepts(maintainer, add_document(Some("tank")));
    tried.refuses(auditor, add_document(None), "authorization.not-permitted");
    tried.refuses(owner, add_document(Some("nowhere")), "specification.unknown-component");
    let document = tried.plant.document(owner, None);
    let add = |document, version: Version| TwinCall::AddDocumentVersion { document, version };
    tried.accepts(maintainer, add(document, version(2)));
    tried.refuses(auditor, add(document, version(3)), "authorization.not-permitted");
    tried.refuses(owner, add([9; 32].into(), version(3)), "document.unknown");
    tried.refuses(auditor, TwinCall::RemoveDocument { document }, "authorization.not-permitted");
    tried.accepts(maintainer, TwinCall::RemoveDocument { document });
    tried.refuses(owner, TwinCall::RemoveDocument { document }, "document.unknown");
    tried.refuses(owner, add(document, version(3)), "document.unknown");

    let source = |at: &str| TwinCall::AddExternalSource {
        uri: uri("https://maintainer.example/log"),
        component: Some(component(at)),
    };
    let gone = || TwinCall::RemoveExternalSource { uri: uri("https://maintainer.example/log") };
    tried.refuses(owner, gone(), "source.unknown");
    tried.refuses(auditor, source("tank"), "authorization.not-permitted");
    tried.refuses(maintainer, source("nowhere"), "specification.unknown-component");
    tried.accepts(maintainer, source("tank"));
    tried.refuses(owner, source("tank"), "source.exists");
    tried.accepts(maintainer, gone());
    tried.accepts(owner, source("tank"));
    // The maintainer may write sources, but this one is the owner's.
    tried.refuses(maintainer, gone(), "authorization.not-yours");
}

fn feeds_and_specification(tried: &Tried) {
    let Plant { owner, maintainer, auditor, agent, .. } = &tried.plant;
    tried.accepts(maintainer, add_feed("level", agent));
    tried.refuses(owner, add_feed("level", agent), "feed.exists");
    tried.refuses(auditor, add_feed("valve", agent), "authorization.not-permitted");
    tried.refuses(owner, add_feed("nowhere", agent), "specification.unknown-component");
    tried.refuses(owner, add_feed("valve", &identity(99)), "membership.unknown-party");
    tried.refuses(auditor, remove_feed("level"), "authorization.not-permitted");
    tried.refuses(owner, edit([remove("tank")]), "feed.attached");
    tried.refuses(owner, edit([remove("level")]), "feed.attached");
    tried.accepts(owner, remove_feed("level"));
    tried.refuses(owner, remove_feed("level"), "feed.none");

    tried.accepts(agent, edit([insert("pump", "tank"), remove("valve")]));
    tried.refuses(auditor, edit([remove("pump")]), "authorization.not-permitted");
    tried.refuses(owner, edit([remove("nowhere")]), "specification.unknown-component");
    tried.refuses(owner, edit([insert("pump", "tank")]), "specification.bad-edit");
    tried.refuses(owner, edit([]), "limits.full");
    tried.refuses(owner, edit((0..1025).map(|_| remove("pump"))), "limits.full");
    let stale = TwinCall::EditAml { edits: vec![remove("pump")], expected: Some(digest(1)) };
    tried.refuses(owner, stale, "specification.changed");
    let expected = Some(tried.plant.specification_root());
    tried.accepts(owner, TwinCall::EditAml { edits: vec![remove("pump")], expected });
}

fn programs(tried: &Tried) {
    let Plant { owner, maintainer, auditor, agent, .. } = &tried.plant;
    let queue = || TwinCall::CallProgram(set_speed("30", "slow"));
    for _ in 0..3 {
        tried.accepts(maintainer, queue());
    }
    tried.refuses(auditor, queue(), "authorization.not-permitted");
    tried.refuses(auditor, TwinCall::CancelCall { call: 1 }, "authorization.not-the-owner");
    tried.refuses(owner, TwinCall::CancelCall { call: 9 }, "call.unknown");
    tried.accepts(owner, TwinCall::CancelCall { call: 1 });
    tried.refuses(owner, TwinCall::CancelCall { call: 1 }, "call.state");
    tried.refuses(owner, TwinCall::ClaimCalls { epoch: 1 }, "authorization.not-the-agent");
    tried.accepts(agent, TwinCall::ClaimCalls { epoch: 3 });
    tried.refuses(agent, TwinCall::ClaimCalls { epoch: 3 }, "call.fenced");
    tried.refuses(owner, TwinCall::StartCall { call: 2, epoch: 3 }, "authorization.not-the-agent");
    tried.refuses(agent, TwinCall::StartCall { call: 2, epoch: 2 }, "call.fenced");
    tried.refuses(agent, TwinCall::StartCall { call: 1, epoch: 3 }, "call.state");
    let complete = |epoch, result| TwinCall::CompleteCall { call: 2, epoch, result };
    tried.refuses(agent, complete(3, CallResult::Unknown), "call.state");
    tried.accepts(agent, TwinCall::StartCall { call: 2, epoch: 3 });
    tried.refuses(agent, complete(4, CallResult::Unknown), "call.fenced");
    tried.refuses(maintainer, complete(3, CallResult::Unknown), "authorization.not-the-agent");
    tried.accepts(agent, complete(3, CallResult::Succeeded(Text::new("done").unwrap())));
    let reject = |call| TwinCall::RejectCall { call, epoch: 3, rule: name("step") };
    tried.refuses(agent, reject(2), "call.state");
    tried.refuses(owner, reject(3), "authorization.not-the-agent");
    tried.accepts(agent, reject(3));
    let status = |call| tried.plant.chain.state().call(&tried.plant.twin, call).unwrap().status;
    assert_eq!(status(1), CallStatus::Cancelled);
    assert!(matches!(status(2), CallStatus::Completed(CallResult::Succeeded(_))));
    assert_eq!(status(3), CallStatus::Rejected(name("step")));
}

fn safety(tried: &Tried) {
    let Plant { owner, maintainer, agent, .. } = &tried.plant;
    let set = |rules, expected| TwinCall::SetSafetyRules { rules, expected };
    let step = |parameter, step| rule("gentle", Some("set-speed"), max_step(parameter, step, None));
    tried.refuses(maintainer, set(vec![step("Speed", "5")], 0), "authorization.not-permitted");
    tried.refuses(owner, set(vec![step("Speed", "5")], 1), "safety.rules-changed");
    tried.refuses(owner, set(vec![step("Force", "5")], 0), "safety.bad-rule");
    tried.accepts(owner, set(vec![step("Speed", "5")], 0));
    tried.refuses(owner, set(vec![], 0), "safety.rules-changed");
    tried.accepts(owner, set(vec![], 1));

    let values = |epoch, parameters| TwinCall::ReportValues {
        program: component("set-speed"),
        epoch,
        values: parameters,
    };
    let all = set_speed("31", "fast").parameters;
    tried.refuses(owner, values(3, all.clone()), "authorization.not-the-agent");
    tried.refuses(agent, values(2, all.clone()), "call.fenced");
    let mut unitless = all.clone();
    unitless.get_mut("Speed").unwrap().unit = None;
    tried.refuses(agent, values(3, unitless), "program.parameter-unit");
    let foreign = [(name("Force"), all["Speed"].clone())].into();
    tried.refuses(agent, values(3, foreign), "program.parameter-unknown");
    let elsewhere = TwinCall::ReportValues { program: component("tank"), epoch: 3, values: all.clone() };
    tried.refuses(agent, elsewhere, "program.unknown");
    tried.accepts(agent, values(3, all));
}

fn anchors(tried: &Tried) {
    let Plant { owner, maintainer, auditor, agent, outsider, .. } = &tried.plant;
    let acl = |version| TwinCall::AnchorAcl { item: digest(5), version, digest: digest(6) };
    tried.refuses(outsider, acl(1), "authorization.not-permitted");
    tried.accepts(maintainer, acl(4));
    tried.refuses(maintainer, acl(4), "anchor.goes-back");
    tried.accepts(auditor, acl(u64::MAX));
    tried.refuses(auditor, acl(u64::MAX), "anchor.goes-back");
    tried.accepts(maintainer, acl(5));
    let head = |size| TwinCall::AnchorHead { component: component("level"), size, root: digest(8) };
    tried.refuses(agent, head(1), "feed.none");
    tried.accepts(owner, add_feed("level", agent));
    tried.refuses(owner, head(1), "authorization.not-yours");
    tried.accepts(agent, head(10));
    tried.refuses(agent, head(10), "anchor.goes-back");
    tried.refuses(agent, head(9), "anchor.goes-back");
    let state = tried.plant.chain.state();
    let feed =
        |publisher: &Identity| dt_ledger::FeedReference { feed: digest(77), publisher: publisher.party() };
    assert_eq!(state.head_anchor(&tried.plant.twin, &feed(agent)).unwrap().unwrap().size, 10);
    assert_eq!(
        state.head_anchor(&tried.plant.twin, &feed(owner)).unwrap(),
        None,
        "a floor is its publisher's own"
    );
    let anchor = |by: &Identity| state.acl_anchor(&tried.plant.twin, &digest(5), &by.party()).unwrap();
    assert_eq!(anchor(maintainer).unwrap().version, 5, "one party's anchor does not shift another's");
    assert!(anchor(owner).is_none());
}

fn ownership(tried: &Tried) {
    let Plant { owner, maintainer, auditor, .. } = &tried.plant;
    let agent = |party: Option<&Identity>| TwinCall::SetAgent { agent: party.map(Identity::party) };
    tried.accepts(owner, agent(None));
    tried.refuses(maintainer, agent(Some(maintainer)), "authorization.not-the-owner");
    tried.refuses(owner, agent(Some(&identity(99))), "membership.unknown-party");
    tried.refuses(auditor, TwinCall::Decommission, "authorization.not-the-owner");
    let to = |party: &Identity| TwinCall::TransferOwnership { to: party.party() };
    tried.refuses(maintainer, to(maintainer), "authorization.not-the-owner");
    tried.refuses(owner, to(&identity(99)), "membership.unknown-party");
    tried.accepts(owner, to(maintainer));
    tried.refuses(owner, TwinCall::Decommission, "authorization.not-the-owner");
    tried.accepts(maintainer, TwinCall::Decommission);
    tried.refuses(maintainer, add_document(None), "twin.decommissioned");
}

#[test]
fn creating_a_twin() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, outsider, .. } = &plant;
    let create = CreateTwin {
        device_name: name("press"),
        device_id: name("press 7"),
        aml: dt_ledger::testing::PLANT.into(),
        policy: Policy::paper_default(),
        roles: [(maintainer.party(), vec![name(MAINTAINER)])].into(),
        agent: None,
    };
    let rule = |who: &Identity, create: CreateTwin| {
        chain.apply(who, vec![Call::CreateTwin(create)]).map(drop).map_err(|reason| reason.rule())
    };
    let with = |change: &dyn Fn(&mut CreateTwin)| {
        let mut create = create.clone();
        change(&mut create);
        create
    };
    let refused = |change: &dyn Fn(&mut CreateTwin)| rule(owner, with(change)).unwrap_err();
    assert_eq!(refused(&|c| c.aml = b"<html/>".to_vec()), "specification.malformed");
    assert_eq!(refused(&|c| c.aml = Vec::new()), "specification.malformed");
    assert_eq!(refused(&|c| c.agent = Some(identity(99).party())), "membership.unknown-party");
    let holder = maintainer.party();
    assert_eq!(refused(&|c| drop(c.roles.insert(holder, vec![name(OWNER)]))), "authorization.owner-role");
    assert_eq!(refused(&|c| drop(c.roles.insert(holder, vec![]))), "form.not-canonical");
    assert_eq!(refused(&|c| drop(c.roles.insert(holder, vec![name("a"), name("a")]))), "form.not-canonical");
    let stranger = identity(99).party();
    assert_eq!(refused(&|c| drop(c.roles.insert(stranger, vec![name("a")]))), "membership.unknown-party");
    assert_eq!(rule(&chain.authority(0), create.clone()), Err("membership.unknown-party"));

    assert_eq!(rule(owner, create.clone()), Ok(()));
    assert_eq!(rule(owner, create.clone()), Err("twin.exists"));
    assert_eq!(rule(outsider, create.clone()), Ok(()), "a device's name is its owner's");
    let twin = dt_ledger::twin_id(&chain.replica().chain(), &owner.party(), &name("press 7"));
    assert_eq!(chain.roles(&twin, &owner.party()), [OWNER]);
    assert_eq!(chain.state().twins().count(), 3);
    let nowhere = chain.call(owner, [9; 32].into(), TwinCall::Decommission).unwrap_err();
    assert_eq!(nowhere.rule(), "twin.unknown");
}

/// The use case of section 5: the maintainer changes a broken sensor, in one transaction.
#[test]
fn a_sensor_is_swapped_in_one_transaction() {
    let plant = Plant::new();
    let Plant { chain, maintainer, agent, twin, .. } = &plant;
    plant.call(maintainer, add_feed("level", agent)).unwrap();
    let report = plant.document(maintainer, Some("level"));
    let swap = |new_feed: &str| {
        vec![
            plant.on(remove_feed("level")),
            plant.on(edit([remove("level"), insert("level-2", "tank")])),
            plant.on(add_feed(new_feed, agent)),
        ]
    };
    let (root, before) = (plant.specification_root(), chain.replica().tip());
    let nonce = chain.state().nonce(&maintainer.party()).unwrap();

    let committed = chain.commit(&[chain.sign(maintainer, swap("elsewhere"))]);
    let Outcome::Rejected { call, reason } = &committed.receipts[0].outcome else { panic!("applied") };
    assert_eq!((*call, reason), (2, &Reason::UnknownComponent(component("elsewhere"))));
    assert!(committed.events.is_empty(), "nothing happened");
    assert_eq!(plant.specification_root(), root, "nothing of it was applied");
    assert!(chain.state().feed(twin, &component("level")).unwrap().is_some());
    assert!(chain.state().specification(twin).unwrap().find("level-2").is_err());
    assert_eq!(chain.state().nonce(&maintainer.party()).unwrap(), nonce + 1, "but it cannot be sent again");
    assert_ne!(chain.replica().tip().state_root, before.state_root);

    chain.apply(maintainer, swap("level-2")).unwrap();
    let state = chain.state();
    assert_ne!(plant.specification_root(), root);
    assert_eq!(state.specification_state(twin).unwrap().version, 1);
    assert!(state.feed(twin, &component("level")).unwrap().is_none());
    assert!(state.feed(twin, &component("level-2")).unwrap().is_some());
    let document = state.specification(twin).unwrap();
    assert!(document.find("level").is_err() && document.find("level-2").is_ok());
    let kept = state.document(twin, &report).unwrap().unwrap();
    assert_eq!(kept.component, Some(component("level")), "the old sensor's report stays");
    assert!(!chain.replica().trace(&Resource::Element(*twin, component("level-2"))).unwrap().is_empty());
}

#[test]
fn a_refused_transaction_leaves_nothing_to_the_next_in_its_block() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, auditor, twin, .. } = &plant;
    let root = plant.specification_root();
    let half = vec![
        plant.on(edit([insert("pump", "tank")])),
        plant.on(add_document(None)),
        plant.on(TwinCall::Decommission),
    ];
    let after = [plant.on(TwinCall::AssignRole { party: auditor.party(), role: name("inspector") })];
    let committed = chain.commit(&[chain.sign(maintainer, half), chain.sign(owner, after.to_vec())]);
    assert!(matches!(committed.receipts[0].outcome, Outcome::Rejected { call: 2, .. }));
    assert_eq!(committed.receipts[1].outcome, Outcome::Applied);
    assert_eq!(committed.events.len(), 1);
    assert_eq!(plant.specification_root(), root);
    let state = chain.state();
    assert!(state.specification(twin).unwrap().find("pump").is_err());
    assert!(state.documents(twin).unwrap().is_empty());
    assert!(chain.replica().trace(&Resource::Element(*twin, component("pump"))).unwrap().is_empty());
}

#[test]
fn versions_of_a_document_are_never_lost() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, twin, .. } = &plant;
    let document = plant.document(owner, Some("tank"));
    chain.wait(5000);
    plant.call(maintainer, TwinCall::AddDocumentVersion { document, version: version(2) }).unwrap();
    plant.call(owner, TwinCall::RemoveDocument { document }).unwrap();
    let state = chain.state();
    let record = state.document(twin, &document).unwrap().unwrap();
    assert_eq!((record.versions, record.removed), (2, Some(chain.now())));
    let first = state.document_version(twin, &document, 1).unwrap().unwrap();
    let second = state.document_version(twin, &document, 2).unwrap().unwrap();
    assert_eq!((first.author, second.author), (owner.party(), maintainer.party()));
    assert_eq!((&first.version, &second.version), (&version(1), &version(2)));
    assert_eq!(second.time.since(first.time).as_millis(), 5000);
    assert!(state.document_version(twin, &document, 3).unwrap().is_none());
    assert_eq!(state.documents(twin).unwrap().len(), 1, "what is out of use is still listed");
}

#[test]
fn a_twin_in_other_hands() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, outsider, twin, .. } = &plant;
    plant.call(owner, TwinCall::TransferOwnership { to: outsider.party() }).unwrap();
    assert_eq!(chain.state().twin(twin).unwrap().owner, outsider.party());
    assert_eq!(chain.roles(twin, &outsider.party()), [OWNER]);
    assert!(chain.roles(twin, &owner.party()).is_empty());
    assert_eq!(plant.refused(owner, add_document(None)), "authorization.not-permitted");
    let take_back = TwinCall::TransferOwnership { to: owner.party() };
    assert_eq!(plant.refused(owner, take_back), "authorization.not-the-owner");
    plant.call(outsider, add_document(None)).unwrap();
    plant.call(maintainer, add_document(None)).unwrap();
}

#[test]
fn a_decommissioned_twin_is_read_only() {
    let plant = Plant::new();
    let Plant { owner, maintainer, agent, auditor, .. } = &plant;
    let document = plant.document(owner, None);
    plant.call(owner, TwinCall::Decommission).unwrap();
    let calls = [
        TwinCall::Decommission,
        TwinCall::SetAgent { agent: None },
        TwinCall::RemoveDocument { document },
        edit([remove("tank")]),
        TwinCall::CallProgram(set_speed("30", "slow")),
    ];
    for call in calls {
        assert_eq!(plant.refused(owner, call), "twin.decommissioned");
    }
    assert_eq!(plant.refused(maintainer, add_document(None)), "twin.decommissioned");
    assert_eq!(plant.refused(agent, TwinCall::ClaimCalls { epoch: 1 }), "twin.decommissioned");
    assert!(plant.may(auditor, Operation::Read, DataClass::Document, None), "it stays readable");
    assert!(plant.chain.state().document(&plant.twin, &document).unwrap().is_some());
}

#[test]
fn a_twin_without_an_agent_queues_until_it_has_one() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, agent, twin, .. } = &plant;
    plant.call(owner, TwinCall::SetAgent { agent: None }).unwrap();
    assert!(chain.roles(twin, &agent.party()).is_empty());
    plant.call(owner, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
    let claim = |epoch| TwinCall::ClaimCalls { epoch };
    assert_eq!(plant.refused(agent, claim(1)), "authorization.not-the-agent");
    plant.call(owner, TwinCall::SetAgent { agent: Some(maintainer.party()) }).unwrap();
    assert_eq!(chain.roles(twin, &maintainer.party()), [AGENT, MAINTAINER]);
    plant.call(maintainer, claim(1)).unwrap();
    assert_eq!(chain.state().call(twin, 1).unwrap().status, CallStatus::Claimed(1));
}
