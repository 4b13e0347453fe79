//! Program calls under bad conditions: the machine is actuated at most once, and what is not known is not claimed.

use std::path::Path;
use std::time::Duration;

use dt_ledger::{CallResult, CallStatus, ExecuteError, Reason, State as _, TwinCall};
use dt_model::{Digest, TwinId};
use dt_sync::{AgentError, ClientError, InFlight, Journal, JournalError};

use crate::asset::{Mood, VARIABLE};
use crate::world::Who::*;
use crate::world::{World, name, party};

fn journal(world: &World, path: &Path) -> Journal {
    Journal::open(path, world.twin, 0).unwrap()
}

fn completed(status: &CallStatus) -> &CallResult {
    match status {
        CallStatus::Completed(result) => result,
        other => panic!("{other:?} is not completed"),
    }
}

#[tokio::test]
async fn what_the_machine_says_is_what_the_ledger_says() {
    let refused = CallResult::Failed(dt_model::Text::abridged("the asset refused: the guard is open"));
    let found = CallResult::Succeeded(dt_model::Text::abridged("found in effect at the asset"));
    for (mood, expected, actuated) in
        [(Mood::Refuses, refused, 0), (Mood::LostBefore, CallResult::Unknown, 0), (Mood::LostAfter, found, 1)]
    {
        let world = World::new().await;
        let mut agent = world.agent().await;
        world.asset.mood(mood);
        let number = world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
        let served = agent.serve_calls(world.now()).await.unwrap();
        assert_eq!(*completed(&served[0].status), expected, "{mood:?}");
        assert_eq!(world.call_record(number).status, served[0].status);
        assert_eq!(agent.serve_calls(world.now()).await.unwrap(), [], "it is not tried again");
        assert_eq!(world.asset.actuated().len(), actuated);
    }
}

/// The value is shown, but in another unit: that is not what was asked for.
#[tokio::test]
async fn a_value_in_another_unit_is_no_proof_of_success() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    for (unit, is_found) in [(Some("N"), false), (Some("kN"), true), (None, true)] {
        world.asset.shows(VARIABLE, "1.0", unit);
        world.asset.mood(Mood::LostShowing(unit));
        world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
        let served = agent.serve_calls(world.now()).await.unwrap();
        assert_eq!(*completed(&served[0].status) != CallResult::Unknown, is_found, "{unit:?}");
    }
}

/// The agent dies at each step between the ledger and the machine, and another one is started on its journal.
#[tokio::test]
async fn a_call_whose_serving_was_cut_off_is_actuated_at_most_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut actuated_early, mut rejected) = (0, 0);
    for steps in 0.. {
        let world = World::new().await;
        let path = folder.path().join(format!("journal {steps}"));
        let number = world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
        let (client, fuse) = world.mortal(Agent, steps);
        let mut agent = world.agent_as(client, journal(&world, &path)).await;
        let outcome = agent.serve_calls(world.now()).await;
        drop(agent);
        let before = world.asset.actuated().len();
        actuated_early += before;

        let mut agent = world.agent_as(world.client(Agent), journal(&world, &path)).await;
        agent.serve_calls(world.now()).await.unwrap();
        let status = world.call_record(number).status;
        let actuated = world.asset.actuated().len();
        assert!(actuated <= 1, "after {steps} steps: {actuated}");
        // What is reported is true, and what is not known is said to be so.
        match completed(&status) {
            CallResult::Succeeded(_) => assert_eq!(actuated, 1, "after {steps} steps"),
            CallResult::Unknown => {
                assert_eq!(actuated, 0, "after {steps} steps");
                rejected += 1;
            }
            failed @ CallResult::Failed(_) => panic!("after {steps} steps: {failed:?}"),
        }
        assert_eq!(world.state().twin(&world.twin).unwrap().queue, [], "after {steps} steps");
        agent.serve_calls(world.now()).await.unwrap();
        assert_eq!(journal(&world, &path).memory().in_flight, None, "after {steps} steps");
        if fuse.left() > 0 {
            assert_eq!(outcome.unwrap().len(), 1);
            break;
        }
    }
    // Cut off behind the actuation, and between the start and the actuation: both have happened.
    assert!(actuated_early > 1 && rejected > 0, "{actuated_early} {rejected}");
}

/// The process dies while the machine works: before it has done anything, or after.
#[tokio::test]
async fn an_agent_that_dies_in_the_middle_of_a_call_does_not_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    for (mood, actuated) in [(Mood::HangsBefore, 0), (Mood::HangsAfter, 1)] {
        let world = World::new().await;
        let path = folder.path().join(format!("{mood:?}"));
        let number = world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
        let mut agent = world.agent_as(world.client(Agent), journal(&world, &path)).await;
        world.asset.mood(mood);
        tokio::select! {
            served = agent.serve_calls(world.now()) => panic!("the machine never answers: {served:?}"),
            () = world.asset.hangs.notified() => {}
        }
        drop(agent);
        assert_eq!(
            journal(&world, &path).memory().in_flight,
            Some(InFlight { call: number, shown_before: false, result: None })
        );
        assert_eq!(world.call_record(number).status, CallStatus::Started(1));

        world.asset.mood(Mood::Works);
        let mut agent = world.agent_as(world.client(Agent), journal(&world, &path)).await;
        let served = agent.serve_calls(world.now()).await.unwrap();
        assert_eq!(
            matches!(completed(&served[0].status), CallResult::Succeeded(_)),
            actuated == 1,
            "{mood:?}"
        );
        assert_eq!(world.asset.actuated().len(), actuated, "{mood:?}");
    }
}

#[tokio::test]
async fn a_journal_that_is_damaged_or_foreign_is_refused() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut fresh = Journal::open(&path, world.twin, 7).unwrap();
    assert_eq!((fresh.memory().height, path.exists()), (7, false), "a new one");
    let in_flight = InFlight { call: 3, shown_before: true, result: Some(CallResult::Unknown) };
    fresh.in_flight(Some(in_flight.clone())).unwrap();
    fresh.followed(9).unwrap();
    let reopened = Journal::open(&path, world.twin, 0).unwrap();
    assert_eq!((reopened.memory().height, &reopened.memory().in_flight), (9, &Some(in_flight)));

    let is_damaged = |outcome| matches!(outcome, Err(JournalError::Damaged(of)) if of == path);
    assert!(is_damaged(Journal::open(&path, TwinId::from([9; 32]), 0)), "another twin's");
    let sound = std::fs::read(&path).unwrap();
    for length in 0..sound.len() {
        std::fs::write(&path, &sound[..length]).unwrap();
        assert!(is_damaged(Journal::open(&path, world.twin, 0)), "cut off at {length}");
    }
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(is_damaged(Journal::open(&path, world.twin, 0)), "changed at {at}");
    }
    std::fs::write(&path, [&sound[..], &[0]].concat()).unwrap();
    assert!(is_damaged(Journal::open(&path, world.twin, 0)), "longer");
    std::fs::write(&path, &sound).unwrap();
    assert!(Journal::open(&path, world.twin, 0).is_ok());
    let is_io = |outcome: Result<_, _>| matches!(outcome, Err(JournalError::Io { .. }));
    assert!(is_io(Journal::open(folder.path(), world.twin, 0).map(drop)), "a folder is no journal");
}

/// Nothing is actuated that could not be remembered.
#[tokio::test]
async fn without_a_journal_nothing_is_actuated() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone").join("journal");
    std::fs::create_dir(folder.path().join("gone")).unwrap();
    let mut agent = world.agent_as(world.client(Agent), journal(&world, &path)).await;
    agent.pull(world.now()).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("gone")).unwrap();
    world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
    let outcome = agent.serve_calls(world.now()).await;
    assert!(matches!(outcome, Err(AgentError::Journal(JournalError::Io { .. }))), "{outcome:?}");
    assert_eq!(world.asset.actuated().len(), 0);
}

/// A claim by a second process of the same agent takes the calls from the first one.
#[tokio::test]
async fn an_old_agent_cannot_act_after_a_newer_claim() {
    let world = World::new().await;
    let number = world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
    let old = world.client(Agent);
    let claim = |epoch| TwinCall::ClaimCalls { epoch };
    old.ledger().execute_on(world.twin, [claim(1)]).await.unwrap();
    world.client(Agent).ledger().execute_on(world.twin, [claim(2)]).await.unwrap();
    let result = CallResult::Unknown;
    for call in [
        claim(2),
        TwinCall::StartCall { call: number, epoch: 1 },
        TwinCall::CompleteCall { call: number, epoch: 1, result },
        TwinCall::RejectCall { call: number, epoch: 1, rule: name("no") },
    ] {
        let outcome = old.ledger().execute_on(world.twin, [call.clone()]).await;
        let is_fenced = matches!(outcome, Err(ExecuteError::Refused(Reason::Fenced { current: 2 })));
        assert!(is_fenced, "{call:?}: {outcome:?}");
    }

    // The same through two agents: the first hangs at the machine while the second settles the call.
    let mut first = world.agent().await;
    world.asset.mood(Mood::HangsBefore);
    tokio::select! {
        served = first.serve_calls(world.now()) => panic!("the machine never answers: {served:?}"),
        () = world.asset.hangs.notified() => {}
    }
    world.asset.mood(Mood::Works);
    let mut second = world.agent().await;
    let served = second.serve_calls(world.now()).await.unwrap();
    assert_eq!(*completed(&served[0].status), CallResult::Unknown);
    assert_eq!(first.serve_calls(world.now()).await.unwrap(), []);
    assert_eq!(world.asset.actuated().len(), 0);
}

/// Between the claim and the start of an agent's call, another claims: the agent stops, and nothing moves.
#[tokio::test]
async fn a_call_is_rejected_if_what_it_rests_on_has_changed() {
    let now_void = |world: &World, number: u64| match world.call_record(number).status {
        CallStatus::Rejected(rule) => rule.to_string(),
        other => panic!("{other:?} is not rejected"),
    };
    let world = World::new().await;
    let mut agent = world.agent().await;
    let (owner, maintainer) = (world.client(Owner), world.client(Maintainer));

    // The caller has lost his role.
    let number = maintainer.call_program(world.twin, world.force("7")).await.unwrap();
    let role = name(dt_ledger::MAINTAINER);
    let take = TwinCall::UnassignRole { party: party(Maintainer), role: role.clone() };
    world.call(Owner, take).await.unwrap();
    let served = agent.serve_calls(world.now()).await.unwrap();
    assert_eq!(served[0].status, world.call_record(number).status);
    assert_eq!(now_void(&world, number), "authorization.not-permitted");
    world.call(Owner, TwinCall::AssignRole { party: party(Maintainer), role }).await.unwrap();

    // The specification is not the one that the caller saw.
    let mut guarded = world.force("7");
    guarded.guard = Some(world.state().specification_state(&world.twin).unwrap().root);
    let number = maintainer.call_program(world.twin, guarded.clone()).await.unwrap();
    let insert = |fragment: &str, parent: &str| dt_aml::Edit::Insert {
        fragment: fragment.to_owned(),
        parent: parent.to_owned(),
        after: None,
    };
    let lamp = insert(r#"<InternalElement Name="Lamp" ID="lamp"/>"#, "press");
    owner.edit_specification(world.twin, vec![lamp]).await.unwrap();
    agent.serve_calls(world.now()).await.unwrap();
    assert_eq!(now_void(&world, number), "specification.changed");
    guarded.guard = Some(Digest::from([1; 32]));
    let refused = maintainer.call_program(world.twin, guarded).await.unwrap_err();
    let is_changed = |error| {
        matches!(error, ClientError::Ledger(ExecuteError::Refused(Reason::SpecificationChanged { .. })))
    };
    assert!(is_changed(refused));

    // The limits are narrower now.
    let number = maintainer.call_program(world.twin, world.force("49")).await.unwrap();
    let narrow = r#"<Constraint Name="Worn"><OrdinalScaledType>
        <RequiredMaxValue>20</RequiredMaxValue></OrdinalScaledType></Constraint>"#;
    owner
        .edit_specification(world.twin, vec![insert(narrow, "set-force.force/Attribute[Force]")])
        .await
        .unwrap();
    agent.serve_calls(world.now()).await.unwrap();
    assert_eq!(now_void(&world, number), "program.parameter-limit");

    // Its time is over: for the chain, or for the agent's clock alone.
    let number = maintainer.call_program(world.twin, world.force("7")).await.unwrap();
    agent.serve_calls(world.now().saturating_add(Duration::from_secs(60))).await.unwrap();
    assert_eq!(now_void(&world, number), "call.expired");
    let number = maintainer.call_program(world.twin, world.force("7")).await.unwrap();
    agent.serve_calls(world.wait(60)).await.unwrap();
    assert_eq!(world.call_record(number).status, CallStatus::Expired);

    // It was taken back.
    let number = maintainer.call_program(world.twin, world.force("7")).await.unwrap();
    world.call(Maintainer, TwinCall::CancelCall { call: number }).await.unwrap();
    assert_eq!(agent.serve_calls(world.now()).await.unwrap(), []);
    assert_eq!(world.asset.actuated().len(), 0, "nothing of all this has moved the machine");

    // One call's end is not another's.
    let [bad, good] = [world.force("20"), world.force("19")];
    let mut guarded = bad;
    guarded.guard = Some(world.state().specification_state(&world.twin).unwrap().root);
    maintainer.call_program(world.twin, guarded).await.unwrap();
    maintainer.call_program(world.twin, good).await.unwrap();
    let horn = insert(r#"<InternalElement Name="Horn" ID="horn"/>"#, "press");
    owner.edit_specification(world.twin, vec![horn]).await.unwrap();
    let served = agent.serve_calls(world.now()).await.unwrap();
    assert!(matches!(served[0].status, CallStatus::Rejected(_)));
    assert!(matches!(completed(&served[1].status), CallResult::Succeeded(_)));
    assert_eq!(world.asset.actuated(), ["19"]);
}

/// Whoever is not the twin's agent gets nothing to do.
#[tokio::test]
async fn only_the_agent_of_the_twin_serves_its_calls() {
    let world = World::new().await;
    world.client(Maintainer).call_program(world.twin, world.force("7")).await.unwrap();
    let mut impostor = world.agent_as(world.client(Manufacturer), Journal::in_memory(world.twin, 0)).await;
    let outcome = impostor.serve_calls(world.now()).await;
    let refused = ExecuteError::Refused(Reason::NotTheAgent).to_string();
    assert_eq!(outcome.unwrap_err().to_string(), refused);
    assert_eq!(world.asset.actuated().len(), 0);
}

/// The asset showed the value all along: that it still does says nothing about a call that was lost on the way.
#[tokio::test]
async fn a_value_that_was_there_before_proves_nothing() {
    let world = World::new().await;
    let client = world.client(Maintainer);
    let mut agent = world.agent_as(world.client(Agent), Journal::in_memory(world.twin, 0)).await;
    for (mood, known) in [(Mood::Works, true), (Mood::LostAfter, false)] {
        world.asset.mood(mood);
        let number = client.call_program(world.twin, world.force("7")).await.unwrap();
        agent.serve_calls(world.now()).await.unwrap();
        let status = world.call_record(number).status;
        assert_eq!(matches!(completed(&status), CallResult::Succeeded(_)), known, "{mood:?}: {status:?}");
    }
}
