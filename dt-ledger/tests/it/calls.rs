//! The life of a program call (section 4.3; `callProgram`, Listing 1.2).

use dt_ledger::{
    Argument, CallResult, CallStatus, EventKind, MAINTAINER, ProgramCall, Reason, Resource, State as _,
    TwinCall, TwinEvent,
};
use dt_model::{Identity, Signer as _, Text, Timestamp};

use crate::support::*;

fn status(plant: &Plant, call: u64) -> CallStatus {
    plant.chain.state().call(&plant.twin, call).unwrap().status
}

fn queue(plant: &Plant, call: ProgramCall) -> u64 {
    plant.call(&plant.maintainer, TwinCall::CallProgram(call)).expect("is admitted");
    plant.chain.state().twin(&plant.twin).unwrap().calls
}

fn start(call: u64, epoch: u64) -> TwinCall {
    TwinCall::StartCall { call, epoch }
}

#[test]
fn what_the_specification_allows_is_queued_and_nothing_else() {
    let plant = Plant::new();
    let refused = |call: ProgramCall| plant.refused(&plant.owner, TwinCall::CallProgram(call));
    let changed = |change: &dyn Fn(&mut ProgramCall)| {
        let mut call = set_speed("30", "slow");
        change(&mut call);
        refused(call)
    };
    for (speed, mode) in [("5", "slow"), ("60", "fast"), ("60.0", "fast"), ("5.000000001", "slow")] {
        plant.call(&plant.owner, TwinCall::CallProgram(set_speed(speed, mode))).unwrap();
    }
    for (speed, mode) in [
        ("60.000000000000000001", "slow"),
        ("4.9999", "slow"),
        ("-30", "slow"),
        ("NaN", "slow"),
        ("INF", "slow"),
        ("1e1", "slow"),
        (" 30", "slow "),
        ("thirty", "slow"),
        ("30", "Slow"),
        ("30", "medium"),
    ] {
        assert_eq!(refused(set_speed(speed, mode)), "program.parameter-limit", "{speed} {mode}");
    }
    assert_eq!(changed(&|c| drop(c.parameters.remove("Mode"))), "program.parameter-missing");
    assert_eq!(changed(&|c| c.parameters.get_mut("Speed").unwrap().unit = None), "program.parameter-unit");
    assert_eq!(
        changed(&|c| c.parameters.get_mut("Speed").unwrap().unit = Some(name("m/s"))),
        "program.parameter-unit"
    );
    let extra = Argument { value: Text::new("1").unwrap(), unit: None };
    assert_eq!(
        changed(&|c| drop(c.parameters.insert(name("Force"), extra.clone()))),
        "program.parameter-unknown"
    );
    assert_eq!(changed(&|c| c.program = component("motor")), "program.unknown");
    assert_eq!(changed(&|c| c.program = component("nowhere")), "program.unknown");
    let weigh = |c: &mut ProgramCall| {
        c.program = component("weigh");
        c.parameters = [(name("Load"), extra.clone())].into();
    };
    assert_eq!(changed(&weigh), "program.parameter-not-checkable");
    assert_eq!(plant.chain.state().twin(&plant.twin).unwrap().queue, [1, 2, 3, 4]);
}

#[test]
fn a_call_goes_from_committed_to_completed_and_each_edge_is_traced() {
    let plant = Plant::new();
    let Plant { chain, maintainer, agent, twin, .. } = &plant;
    let call = queue(&plant, set_speed("30", "slow"));
    assert_eq!(status(&plant, call), CallStatus::Committed);
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    assert_eq!(status(&plant, call), CallStatus::Claimed(1));
    plant.call(agent, start(call, 1)).unwrap();
    assert_eq!(status(&plant, call), CallStatus::Started(1));
    assert_eq!(plant.refused(maintainer, TwinCall::CancelCall { call }), "call.state", "too late");
    chain.wait(700);
    let result = CallResult::Failed(Text::new("drive tripped").unwrap());
    plant.call(agent, TwinCall::CompleteCall { call, epoch: 1, result: result.clone() }).unwrap();
    let record = chain.state().call(twin, call).unwrap();
    assert_eq!(record.status, CallStatus::Completed(result));
    assert_eq!((record.caller, record.since), (maintainer.party(), chain.now()));
    assert!(chain.state().twin(twin).unwrap().queue.is_empty());
    let authors: Vec<_> = chain
        .replica()
        .trace(&Resource::Call(*twin, call))
        .unwrap()
        .into_iter()
        .map(|entry| entry.author)
        .collect();
    assert_eq!(authors, [maintainer.party(), agent.party(), agent.party(), agent.party()]);
}

#[test]
fn a_call_whose_time_is_over_is_not_started() {
    let plant = Plant::new();
    let Plant { chain, owner, agent, .. } = &plant;
    let until = |at: Timestamp| ProgramCall { valid_until: at, ..set_speed("30", "slow") };
    assert_eq!(plant.refused(owner, TwinCall::CallProgram(until(chain.now()))), "call.expired");
    let soon = Timestamp::from_millis(chain.now().as_millis() + 1000);
    let (first, second) = (queue(&plant, until(soon)), queue(&plant, until(Timestamp::MAX)));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    chain.wait(1000);
    assert_eq!(plant.refused(agent, start(first, 1)), "call.expired");
    plant.call(agent, TwinCall::ClaimCalls { epoch: 2 }).unwrap();
    assert_eq!(status(&plant, first), CallStatus::Expired);
    assert_eq!(status(&plant, second), CallStatus::Claimed(2));
    assert_eq!(chain.state().twin(&plant.twin).unwrap().queue, [second]);
    assert_eq!(plant.refused(owner, TwinCall::CancelCall { call: first }), "call.state");
}

#[test]
fn a_newer_claim_fences_the_older_one() {
    let plant = Plant::new();
    let agent = &plant.agent;
    let (first, second) = (queue(&plant, set_speed("30", "slow")), queue(&plant, set_speed("40", "slow")));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(agent, start(first, 1)).unwrap();
    plant.call(agent, TwinCall::ClaimCalls { epoch: 7 }).unwrap();
    let complete = |epoch| TwinCall::CompleteCall { call: first, epoch, result: CallResult::Unknown };
    assert_eq!(plant.refused(agent, complete(1)), "call.fenced", "the older process has lost the call");
    assert_eq!(plant.refused(agent, start(second, 1)), "call.fenced");
    assert_eq!(status(&plant, first), CallStatus::Started(7), "started stays started: it is never repeated");
    assert_eq!(plant.refused(agent, start(first, 7)), "call.state");
    plant.call(agent, complete(7)).unwrap();
    plant.call(agent, start(second, 7)).unwrap();
}

#[test]
fn another_agent_takes_over_even_from_one_that_claimed_the_last_epoch() {
    let plant = Plant::new();
    let Plant { owner, agent, outsider, .. } = &plant;
    let (first, second) = (queue(&plant, set_speed("30", "slow")), queue(&plant, set_speed("40", "slow")));
    plant.call(agent, TwinCall::ClaimCalls { epoch: u64::MAX }).unwrap();
    plant.call(agent, start(first, u64::MAX)).unwrap();
    plant.call(owner, TwinCall::SetAgent { agent: Some(outsider.party()) }).unwrap();
    assert_eq!(status(&plant, second), CallStatus::Committed, "what was claimed is open again");
    assert_eq!(plant.refused(agent, start(second, u64::MAX)), "authorization.not-the-agent");
    assert_eq!(plant.refused(outsider, start(second, u64::MAX)), "call.fenced");
    let unknown = |epoch| TwinCall::CompleteCall { call: first, epoch, result: CallResult::Unknown };
    assert_eq!(plant.refused(outsider, unknown(u64::MAX)), "call.fenced");
    plant.call(outsider, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(outsider, unknown(1)).unwrap();
    plant.call(outsider, start(second, 1)).unwrap();
}

#[test]
fn a_guard_holds_the_call_to_what_the_caller_saw() {
    let plant = Plant::new();
    let Plant { owner, agent, .. } = &plant;
    let guarded = |guard| ProgramCall { guard: Some(guard), ..set_speed("30", "slow") };
    assert_eq!(plant.refused(owner, TwinCall::CallProgram(guarded(digest(1)))), "specification.changed");
    let call = queue(&plant, guarded(plant.specification_root()));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(owner, edit([insert("pump", "tank")])).unwrap();
    assert_eq!(plant.refused(agent, start(call, 1)), "specification.changed");
    plant.call(owner, edit([remove("pump")])).unwrap();
    plant.call(agent, start(call, 1)).expect("the specification is what the caller saw again");
}

#[test]
fn rights_and_limits_are_judged_again_before_actuation() {
    let plant = Plant::new();
    let Plant { owner, maintainer, agent, .. } = &plant;
    let call = queue(&plant, set_speed("60", "slow"));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    let role = |party: &Identity| (party.party(), name(MAINTAINER));
    let (party, role) = role(maintainer);
    plant.call(owner, TwinCall::UnassignRole { party, role: role.clone() }).unwrap();
    assert_eq!(
        plant.refused(agent, start(call, 1)),
        "authorization.not-permitted",
        "the caller's right is gone"
    );
    plant.call(owner, TwinCall::AssignRole { party, role }).unwrap();
    let limit = r#"<Constraint Name="Winter"><OrdinalScaledType><RequiredMaxValue>40</RequiredMaxValue></OrdinalScaledType></Constraint>"#;
    let tighten = dt_aml::Edit::Insert {
        fragment: limit.into(),
        parent: "set-speed.speed/Attribute[Speed]".into(),
        after: None,
    };
    plant.call(owner, edit([tighten])).unwrap();
    assert_eq!(plant.refused(agent, start(call, 1)), "program.parameter-limit", "the limit is tighter now");
    let reject = TwinCall::RejectCall { call, epoch: 1, rule: name("program.parameter-limit") };
    plant.call(agent, reject).unwrap();
    let state = plant.chain.state();
    let facts = state.safety_facts(&plant.twin, &component("set-speed"), plant.chain.now()).unwrap();
    let (rules, document) = (Default::default(), state.specification(&plant.twin).unwrap());
    let checked = dt_ledger::check_call(document, &rules, &set_speed("60", "slow"), &facts);
    assert!(matches!(checked, Err(Reason::ParameterViolates { .. })), "the agent's own check says the same");
}

#[test]
fn the_queue_is_bounded_and_drains() {
    let plant = Plant::new();
    let Plant { chain, owner, agent, .. } = &plant;
    let soon = Timestamp::from_millis(chain.now().as_millis() + 10);
    let call =
        || plant.on(TwinCall::CallProgram(ProgramCall { valid_until: soon, ..set_speed("30", "slow") }));
    for _ in 0..4 {
        chain.apply(owner, (0..256).map(|_| call()).collect()).unwrap();
    }
    assert_eq!(chain.apply(owner, vec![call()]).unwrap_err().rule(), "limits.full");
    chain.wait(10);
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    assert!(chain.state().twin(&plant.twin).unwrap().queue.is_empty(), "what expired makes room");
    queue(&plant, set_speed("30", "slow"));
}

/// Two agents' threads, or one that is in a hurry, do not change the order in which the callers called.
#[test]
fn calls_are_started_one_after_the_other_in_their_order() {
    let plant = Plant::new();
    let Plant { agent, maintainer, .. } = &plant;
    let calls: Vec<u64> = (0..5).map(|_| queue(&plant, set_speed("30", "slow"))).collect();
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    let out_of_order = |call: u64| plant.call(agent, start(call, 1)).unwrap_err();
    let complete = |call| TwinCall::CompleteCall { call, epoch: 1, result: CallResult::Unknown };
    let reject = |call| TwinCall::RejectCall { call, epoch: 1, rule: name("x") };
    assert_eq!(out_of_order(2), Reason::OutOfOrder { first: 1 });
    plant.call(agent, start(1, 1)).unwrap();
    assert_eq!(out_of_order(2), Reason::OutOfOrder { first: 1 }, "the first is under way");
    assert_eq!(plant.refused(agent, reject(1)), "call.state");
    plant.call(agent, complete(1)).unwrap();
    // What is refused or taken back makes way, wherever it stands.
    plant.call(agent, reject(3)).unwrap();
    assert_eq!(out_of_order(4), Reason::OutOfOrder { first: 2 });
    plant.call(maintainer, TwinCall::CancelCall { call: 2 }).unwrap();
    plant.call(agent, start(4, 1)).unwrap();
    // The same within one transaction.
    let hurry = [complete(4), start(5, 1), complete(5)].map(|call| plant.on(call)).to_vec();
    plant.chain.apply(agent, hurry).unwrap();
    assert!(plant.chain.state().twin(&plant.twin).unwrap().queue.is_empty());
    assert_eq!(calls, [1, 2, 3, 4, 5]);
}

#[test]
fn an_expired_call_at_the_head_is_passed_over_and_ended() {
    let plant = Plant::new();
    let Plant { chain, agent, twin, .. } = &plant;
    let soon = Timestamp::from_millis(chain.now().as_millis() + 10);
    let short = || ProgramCall { valid_until: soon, ..set_speed("30", "slow") };
    let calls = [short(), short(), set_speed("40", "slow"), short()].map(|call| queue(&plant, call));
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(agent, start(calls[0], 1)).unwrap();
    chain.wait(10);
    let unfinished = plant.call(agent, start(calls[2], 1)).unwrap_err();
    assert_eq!(unfinished, Reason::OutOfOrder { first: calls[0] }, "what was started does not expire");
    assert_eq!(status(&plant, calls[1]), CallStatus::Claimed(1), "a refusal changes nothing");
    let complete = TwinCall::CompleteCall { call: calls[0], epoch: 1, result: CallResult::Unknown };
    plant.call(agent, complete).unwrap();
    let committed = chain.commit(&[chain.sign(agent, vec![plant.on(start(calls[2], 1))])]);
    let told: Vec<_> = committed.events.iter().map(|event| event.kind.clone()).collect();
    let told_of = |event| EventKind::Twin(*twin, event);
    let expected = [TwinEvent::CallExpired(calls[1]), TwinEvent::CallStarted(calls[2])];
    assert_eq!(told, expected.map(told_of));
    assert_eq!(status(&plant, calls[1]), CallStatus::Expired);
    let trace = chain.replica().trace(&Resource::Call(*twin, calls[1])).unwrap();
    assert_eq!(trace.len(), 3, "queued, claimed, expired");
    // What expired behind it is nobody's obstacle, and goes with the next claim.
    assert_eq!(chain.state().twin(twin).unwrap().queue, [calls[2], calls[3]]);
    plant.call(agent, TwinCall::ClaimCalls { epoch: 2 }).unwrap();
    assert_eq!(chain.state().twin(twin).unwrap().queue, [calls[2]]);
    assert_eq!(status(&plant, calls[2]), CallStatus::Started(2));
}

/// The rights that count are the caller's, when the call is started.
#[test]
fn a_transferred_twin_serves_those_who_have_rights_now() {
    let plant = Plant::new();
    let Plant { owner, maintainer, agent, outsider, .. } = &plant;
    let [first, second, third] = [owner, owner, maintainer].map(|caller| {
        plant.call(caller, TwinCall::CallProgram(set_speed("30", "slow"))).unwrap();
        plant.chain.state().twin(&plant.twin).unwrap().calls
    });
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(owner, TwinCall::TransferOwnership { to: outsider.party() }).unwrap();
    assert_eq!(plant.refused(agent, start(first, 1)), "authorization.not-permitted");
    let rule = name("authorization.not-permitted");
    plant.call(agent, TwinCall::RejectCall { call: first, epoch: 1, rule }).unwrap();
    plant.call(outsider, TwinCall::CancelCall { call: second }).expect("the owner takes any call back");
    plant.call(agent, start(third, 1)).expect("the maintainer is still the maintainer");
    let unknown = TwinCall::CompleteCall { call: third, epoch: 1, result: CallResult::Unknown };
    plant.call(agent, unknown).unwrap();

    // A caller without a part keeps one right: to take his own call back.
    let fourth = queue(&plant, set_speed("30", "slow"));
    plant
        .call(outsider, TwinCall::UnassignRole { party: maintainer.party(), role: name(MAINTAINER) })
        .unwrap();
    assert_eq!(plant.refused(agent, TwinCall::CancelCall { call: fourth }), "authorization.not-the-owner");
    plant.call(maintainer, TwinCall::CancelCall { call: fourth }).unwrap();
}

/// Without an agent nothing claims, so that nothing else ends what is void.
#[test]
fn a_queue_without_an_agent_does_not_fill_up_with_void_calls() {
    let plant = Plant::new();
    let Plant { chain, owner, agent, twin, .. } = &plant;
    plant.call(owner, TwinCall::SetAgent { agent: None }).unwrap();
    let lasting = queue(&plant, set_speed("30", "slow"));
    let soon = Timestamp::from_millis(chain.now().as_millis() + 10);
    let void =
        || plant.on(TwinCall::CallProgram(ProgramCall { valid_until: soon, ..set_speed("30", "slow") }));
    for size in [256, 256, 256, 255] {
        chain.apply(owner, (0..size).map(|_| void()).collect()).unwrap();
    }
    let next = || TwinCall::CallProgram(set_speed("30", "slow"));
    assert_eq!(plant.refused(owner, next()), "limits.full");
    chain.wait(10);
    plant.call(owner, next()).unwrap();
    assert_eq!(chain.state().twin(twin).unwrap().queue, [lasting, 1025]);
    assert_eq!(status(&plant, 2), CallStatus::Expired);
    plant.call(owner, TwinCall::SetAgent { agent: Some(agent.party()) }).unwrap();
    plant.call(agent, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
    plant.call(agent, start(lasting, 1)).unwrap();
}
