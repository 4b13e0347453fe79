//! Parties of a twin that reach for more than is theirs: another's part of the specification, other calls, other rules.

use bytes::Bytes;
use dt_aml::Edit;
use dt_ledger::{
    AdmissionError, Call, CallResult, CreateTwin, MAINTAINER, MAX_AML_BYTES, OWNER, Policy, State as _,
    Subject, TwinCall,
};
use dt_model::{DataClass, Identity, Operation, Permission, Signer as _, codec};

use super::thwarted;
use crate::support::*;

fn foiled(plant: &Plant, who: &Identity, call: TwinCall) -> &'static str {
    thwarted(&plant.chain, who, vec![plant.on(call)])
}

#[test]
fn nobody_takes_a_twin_over() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, outsider, twin, .. } = &plant;
    // Who creates a twin of the same device gets one of his own, and makes nobody an owner of it but himself.
    let create = |roles: &[(&Identity, &str)]| CreateTwin {
        device_name: name("plant"),
        device_id: chain.state().twin(twin).unwrap().device_id,
        aml: dt_ledger::testing::PLANT.into(),
        policy: Policy::paper_default(),
        roles: roles.iter().map(|(who, role)| (who.party(), vec![name(role)])).collect(),
        agent: None,
    };
    assert_eq!(thwarted(chain, owner, vec![Call::CreateTwin(create(&[]))]), "twin.exists");
    let gift = create(&[(owner, OWNER)]);
    assert_eq!(thwarted(chain, outsider, vec![Call::CreateTwin(gift)]), "authorization.owner-role");
    let before = chain.state().twin(twin).unwrap();
    chain.apply(outsider, vec![Call::CreateTwin(create(&[]))]).unwrap();
    assert_eq!(chain.state().twin(twin).unwrap(), before);

    // Not even the owner shares, or loses, what makes him one; and a name that looks like it is another.
    let assign = |who: &Identity, role: &str| TwinCall::AssignRole { party: who.party(), role: name(role) };
    let owner_role = |who: &Identity| TwinCall::UnassignRole { party: who.party(), role: name(OWNER) };
    assert_eq!(foiled(&plant, owner, assign(maintainer, OWNER)), "authorization.owner-role");
    assert_eq!(foiled(&plant, owner, owner_role(owner)), "authorization.owner-role");
    assert_eq!(foiled(&plant, maintainer, owner_role(owner)), "authorization.not-permitted");
    plant.call(owner, assign(maintainer, "Owner")).unwrap();
    for call in [TwinCall::Decommission, TwinCall::SetAgent { agent: Some(maintainer.party()) }] {
        assert_eq!(foiled(&plant, maintainer, call), "authorization.not-the-owner");
    }
    // All or nothing: what comes before what is refused has not happened either.
    let both = vec![plant.on(add_document(None)), plant.on(TwinCall::Decommission)];
    assert_eq!(thwarted(chain, maintainer, both), "authorization.not-the-owner");
}

/// The maintainer has all rights in the tank, and there alone.
#[test]
fn a_right_in_one_part_is_none_in_another() {
    let plant = Plant::new();
    let Plant { owner, maintainer, .. } = &plant;
    let write = Permission::new(Operation::Write, DataClass::Specification);
    let administer = Permission::new(Operation::Administer, DataClass::Policy);
    let role = || Subject::Role(name(MAINTAINER));
    let everything = || Policy::none().allow(role(), [write, administer]);
    let set = |at: Option<&str>, policy| TwinCall::SetPolicy { component: at.map(component), policy };
    plant.call(owner, set(None, Policy::paper_default())).unwrap();
    for closed in ["line", "conveyor"] {
        plant.call(owner, set(Some(closed), Policy::none())).unwrap();
    }
    plant.call(owner, set(Some("tank"), everything())).unwrap();
    plant.call(maintainer, edit([insert("pump", "tank")])).unwrap();
    plant.call(maintainer, set(Some("level"), everything())).unwrap();

    let moved = |address: &str, parent: &str| {
        edit([Edit::Move { address: address.into(), parent: parent.into(), after: None }])
    };
    let beyond = [
        edit([insert("x", "line")]),
        edit([insert("x", "motor")]),
        edit([remove("motor")]),
        moved("pump", "conveyor"),
        moved("motor", "tank"),
        edit([insert("x", "pump"), remove("conveyor")]),
        set(None, everything()),
        set(Some("line"), everything()),
        set(Some("motor"), everything()),
        TwinCall::RemovePolicy { component: component("line") },
        TwinCall::RemovePolicy { component: component("conveyor") },
        TwinCall::AssignRole { party: maintainer.party(), role: name("x") },
        TwinCall::SetSafetyRules { rules: vec![], expected: 0 },
        add_document(Some("tank")),
    ];
    for call in beyond {
        let what = format!("{call:?}");
        assert_eq!(foiled(&plant, maintainer, call), "authorization.not-permitted", "{what}");
    }
}

#[test]
fn only_who_stands_in_a_calls_life_moves_it_on() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, auditor, agent, .. } = &plant;
    let queue = || TwinCall::CallProgram(set_speed("30", "slow"));
    assert_eq!(foiled(&plant, auditor, queue()), "authorization.not-permitted");
    assert_eq!(foiled(&plant, agent, queue()), "authorization.not-permitted");
    plant.call(maintainer, queue()).unwrap();
    let start = |epoch| TwinCall::StartCall { call: 1, epoch };
    let complete = |epoch| TwinCall::CompleteCall { call: 1, epoch, result: CallResult::Unknown };
    // The agent skips nothing.
    assert_eq!(foiled(&plant, agent, start(0)), "call.state");
    assert_eq!(foiled(&plant, agent, complete(0)), "call.state");
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    assert_eq!(foiled(&plant, agent, complete(1)), "call.state");
    // The agent of another twin, who is none here.
    let other = chain.twin(auditor, Some(auditor), &[]);
    chain.call(auditor, other, TwinCall::ClaimCalls { epoch: 9 }).unwrap();
    for call in [start(1), start(9), complete(1), TwinCall::ClaimCalls { epoch: 9 }] {
        assert_eq!(foiled(&plant, auditor, call), "authorization.not-the-agent");
    }
    plant.call(agent, start(1)).unwrap();
    assert_eq!(foiled(&plant, maintainer, TwinCall::CancelCall { call: 1 }), "call.state");
    // While it is under way nobody reports other values past the rule that limits steps; nor does who was the agent.
    let report = |epoch| TwinCall::ReportValues {
        program: component("set-speed"),
        epoch,
        values: set_speed("60", "slow").parameters,
    };
    assert_eq!(foiled(&plant, agent, report(1)), "call.state");
    plant.call(agent, complete(1)).unwrap();
    assert_eq!(foiled(&plant, agent, complete(1)), "call.state");
    plant.call(owner, TwinCall::SetAgent { agent: Some(auditor.party()) }).unwrap();
    assert_eq!(foiled(&plant, agent, report(1)), "authorization.not-the-agent");
    assert_eq!(foiled(&plant, agent, TwinCall::ClaimCalls { epoch: 2 }), "authorization.not-the-agent");
}

/// Lifting a rule and doing what it forbids in one transaction takes the right to lift it.
#[test]
fn nobody_lifts_a_safety_rule_for_his_own_call() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, agent, .. } = &plant;
    let limit = rule("gentle", Some("set-speed"), max_step("Speed", "5", Some("30")));
    let rules = |rules: Vec<_>, expected| TwinCall::SetSafetyRules { rules, expected };
    plant.call(owner, rules(vec![limit], 0)).unwrap();
    let fast = || plant.on(TwinCall::CallProgram(set_speed("60", "slow")));
    assert_eq!(thwarted(chain, maintainer, vec![fast()]), "safety.max-step");
    let both = vec![plant.on(rules(vec![], 1)), fast()];
    assert_eq!(thwarted(chain, maintainer, both.clone()), "authorization.not-permitted");
    assert_eq!(thwarted(chain, agent, both), "authorization.not-permitted");
    // A step that leads there is refused as a whole if it is too large, and so is one in another unit, or one that is no number.
    let mut unit = set_speed("0.6", "slow");
    unit.parameters.get_mut("Speed").unwrap().unit = Some(name("km/min"));
    assert_eq!(foiled(&plant, maintainer, TwinCall::CallProgram(unit)), "program.parameter-unit");
    for trick in ["NaN", "INF", "6e1", "60.", "+60", "0x3c", " 60 "] {
        let rule = foiled(&plant, maintainer, TwinCall::CallProgram(set_speed(trick, "slow")));
        assert!(
            ["safety.max-step", "program.parameter-limit", "safety.not-judged"].contains(&rule),
            "{trick}: {rule}"
        );
    }
}

/// A specification has bounds, which no way of growing passes.
#[test]
fn a_specification_grows_neither_too_deep_nor_too_large() {
    let plant = Plant::new();
    let Plant { chain, owner, .. } = &plant;
    let nested = |from: usize, to: usize| {
        let open: String = (from..to).map(|n| format!(r#"<InternalElement Name="{n}" ID="n{n}">"#)).collect();
        open + &"</InternalElement>".repeat(to - from)
    };
    let put = |fragment: String, parent: &str| {
        edit([Edit::Insert { fragment, parent: parent.into(), after: None }])
    };
    assert_eq!(foiled(&plant, owner, put(nested(0, 300), "line")), "specification.bad-edit");
    plant.call(owner, put(nested(0, 100), "line")).unwrap();
    plant.call(owner, put(nested(100, 200), "n99")).unwrap();
    assert_eq!(foiled(&plant, owner, put(nested(200, 300), "n199")), "specification.bad-edit");
    plant.call(owner, edit([insert("crate", "line"), insert("box", "crate")])).unwrap();
    plant.call(owner, put(nested(300, 400), "box")).unwrap();
    let moved = Edit::Move { address: "crate".into(), parent: "n199".into(), after: None };
    assert_eq!(foiled(&plant, owner, edit([moved])), "specification.bad-edit");

    let create = |device: &str, aml: String| CreateTwin {
        device_name: name("large"),
        device_id: name(device),
        aml: aml.into(),
        policy: Policy::paper_default(),
        roles: [].into(),
        agent: None,
    };
    let file = |inside: &str| {
        format!(
            r#"<CAEXFile SchemaVersion="3.0"><InstanceHierarchy Name="H">{inside}</InstanceHierarchy></CAEXFile>"#
        )
    };
    let deep = Call::CreateTwin(create("deep", file(&nested(0, 300))));
    assert_eq!(thwarted(chain, owner, vec![deep]), "specification.malformed");
    let room = 1000;
    let padding = MAX_AML_BYTES - file("").len() - r#"<!----><InternalElement Name="e" ID="e"/>"#.len();
    let padded = |padding: usize| {
        file(&format!(r#"<!--{}--><InternalElement Name="e" ID="e"/>"#, "x".repeat(padding)))
    };
    let over = Call::CreateTwin(create("over", padded(padding + 1)));
    assert_eq!(thwarted(chain, owner, vec![over]), "limits.full");
    let large = create("large", padded(padding - room));
    let twin = dt_ledger::twin_id(&chain.replica().chain(), &owner.party(), &large.device_id);
    chain.apply(owner, vec![Call::CreateTwin(large)]).unwrap();
    let grow = |length: usize| {
        let call = put(format!(r#"<InternalElement Name="{}"/>"#, "y".repeat(length)), "e");
        vec![Call::Twin { twin, call }]
    };
    let rule = thwarted(chain, owner, grow(room));
    assert!(["limits.full", "specification.bad-edit"].contains(&rule), "{rule}");
    chain.apply(owner, grow(room / 2)).unwrap();
}

/// Many short calls in one transaction, each of which carries or claims much: together they are bounded as one is.
#[test]
fn a_short_transaction_does_no_endless_work() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, agent, .. } = &plant;
    let parts: String = (0..600).map(|n| format!(r#"<InternalElement Name="p{n}"/>"#)).collect();
    let fragment = format!(r#"<InternalElement Name="Crate" ID="crate">{parts}</InternalElement>"#);
    plant.call(owner, edit([Edit::Insert { fragment, parent: "line".into(), after: None }])).unwrap();
    let moved = |n: usize| {
        let parent = ["tank", "line"][n % 2].into();
        plant.on(edit([Edit::Move { address: "crate".into(), parent, after: None }]))
    };
    chain.apply(owner, (0..20).map(moved).collect()).unwrap();
    assert_eq!(thwarted(chain, owner, (0..256).map(moved).collect()), "limits.full");

    let queue: Vec<Call> =
        (0..256).map(|_| plant.on(TwinCall::CallProgram(set_speed("30", "slow")))).collect();
    for _ in 0..4 {
        chain.apply(maintainer, queue.clone()).unwrap();
    }
    let claim = |epoch| plant.on(TwinCall::ClaimCalls { epoch });
    assert_eq!(thwarted(chain, agent, (1..=256).map(claim).collect()), "limits.full");
    chain.apply(agent, (1..=3).map(claim).collect()).expect("as often as anybody needs");

    // Nor do many such transactions make a block that nobody can apply in time: what was refused has cost its work, too.
    let heavy = |ahead| chain.sign_ahead(owner, (0..256).map(moved).collect(), ahead);
    let heavy: Vec<Bytes> = (0..9).map(|ahead| codec::encode(&heavy(ahead)).into()).collect();
    let (block, left) = chain.replica().assemble(heavy, chain.now()).unwrap();
    assert_eq!(block.transactions.len(), 7);
    assert!(
        matches!(left[..], [(_, AdmissionError::BlockFull), (_, AdmissionError::Nonce { .. })]),
        "{left:?}"
    );
    chain.replica().commit(block.clone(), chain.certify(&block.header)).unwrap();
    let rest = left.into_iter().map(|(bytes, _)| bytes).collect();
    let (next, left) = chain.replica().assemble(rest, chain.now()).unwrap();
    assert_eq!((next.transactions.len(), left.len()), (2, 0), "the next block has room for them");
}
