//! Safety rules at the machine: the ledger judges by what it knows, the agent by what the device reads as well (paper, section 6.2).

use std::collections::BTreeSet;

use dt_ledger::safety::{Comparison, Condition, Observed, Operand, Relation, SafetyRule};
use dt_ledger::{CallResult, CallStatus, ExecuteError, Reason, State as _, TwinCall};
use dt_model::Text;
use dt_sync::{Agent, ClientError, DeviceError};

use crate::asset::{Mood, PROGRAM, VARIABLE};
use crate::world::Who::*;
use crate::world::{World, component, name};

const MODE: &str = "press/Attribute[Mode]";

/// A press whose force changes by 5 kN at most, beginning at 10 kN.
async fn gentle_press() -> World {
    let world = World::new().await;
    let step = Condition::MaxStep { parameter: name("Force"), step: 5.into(), from: Some(10.into()) };
    set(&world, vec![rule("gentle", step)]).await;
    world
}

fn rule(called: &str, condition: Condition) -> SafetyRule {
    SafetyRule { name: name(called), program: Some(component(PROGRAM)), condition }
}

async fn set(world: &World, rules: Vec<SafetyRule>) {
    let expected = world.state().safety_rules(&world.twin).unwrap().version;
    world.call(Owner, TwinCall::SetSafetyRules { rules, expected }).await.unwrap();
}

async fn insert(world: &World, parent: &str, fragment: &str) {
    let edit = dt_aml::Edit::Insert { fragment: fragment.into(), parent: parent.into(), after: None };
    world.client(Owner).edit_specification(world.twin, vec![edit]).await.unwrap();
}

/// Calls the program with a force; what the ledger says, or what became of the call.
async fn press(world: &World, agent: &mut Agent, force: &str) -> Result<CallStatus, &'static str> {
    match world.client(Maintainer).call_program(world.twin, world.force(force)).await {
        Err(ClientError::Ledger(ExecuteError::Refused(reason))) => return Err(reason.rule()),
        admitted => drop(admitted.unwrap()),
    }
    let mut served = agent.serve_calls(world.now()).await.unwrap();
    let served = served.pop().unwrap();
    assert_eq!(world.call_record(served.call).status, served.status);
    Ok(served.status)
}

fn rejected(rule: &str) -> Result<CallStatus, &'static str> {
    Ok(CallStatus::Rejected(name(rule)))
}

fn is_done(outcome: &Result<CallStatus, &'static str>) -> bool {
    matches!(outcome, Ok(CallStatus::Completed(CallResult::Succeeded(_))))
}

/// Somebody has set the machine by hand: the ledger admits what is a small step by its memory, and the agent sees that it is a large one.
#[tokio::test]
async fn a_step_counts_from_what_the_machine_shows() {
    let world = gentle_press().await;
    let mut agent = world.agent().await;
    assert!(is_done(&press(&world, &mut agent, "15").await));
    assert_eq!(press(&world, &mut agent, "20.1").await, Err("safety.max-step"));

    world.asset.shows(VARIABLE, "30", Some("kN"));
    assert_eq!(press(&world, &mut agent, "20").await, rejected("safety.max-step/gentle"));
    assert_eq!(press(&world, &mut agent, "30").await, Err("safety.max-step"), "the ledger does not know yet");
    assert!(agent.report_values(&component(PROGRAM)).await.unwrap());
    let outcome = press(&world, &mut agent, "35").await;
    assert!(is_done(&outcome), "{outcome:?}");
    assert_eq!(world.asset.actuated(), ["15", "35"]);

    // In another unit it says nothing that could be compared.
    world.asset.shows(VARIABLE, "35000", Some("N"));
    assert_eq!(press(&world, &mut agent, "36").await, rejected("safety.not-judged/gentle"));
    assert!(!agent.report_values(&component(PROGRAM)).await.unwrap(), "there is nothing to tell");
    world.asset.shows(VARIABLE, "35", None);
    assert!(
        is_done(&press(&world, &mut agent, "36").await),
        "a machine without units speaks the specification's"
    );
    world.asset.breaks(VARIABLE, DeviceError::Lost);
    assert_eq!(press(&world, &mut agent, "37").await, rejected("safety.not-judged/gentle"));
    // A parameter that the machine has no variable for is what it was last set to.
    world.asset.breaks(VARIABLE, DeviceError::UnknownComponent(component(VARIABLE)));
    assert!(is_done(&press(&world, &mut agent, "37").await));
}

#[tokio::test]
async fn a_mode_is_what_the_machine_shows() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    insert(&world, "press", r#"<Attribute Name="Mode"><Value>automatic</Value></Attribute>"#).await;
    let values: BTreeSet<_> = [Text::new("automatic").unwrap()].into();
    set(&world, vec![rule("mode", Condition::RequiredMode { variable: component(MODE), values })]).await;
    assert_eq!(press(&world, &mut agent, "7").await, rejected("safety.not-judged/mode"), "it shows nothing");
    world.asset.shows(MODE, "manual", None);
    assert_eq!(press(&world, &mut agent, "7").await, rejected("safety.required-mode/mode"));
    world.asset.shows(MODE, "automatic", None);
    assert!(is_done(&press(&world, &mut agent, "7").await));
    // Somebody turns the key while the start is being committed.
    world.asset.turns(MODE, "manual");
    let outcome = press(&world, &mut agent, "7").await;
    let Ok(CallStatus::Completed(CallResult::Failed(said))) = &outcome else { panic!("{outcome:?}") };
    assert!(said.as_str().starts_with("safety.required-mode/mode: "), "{said}");
    assert_eq!(world.asset.actuated().len(), 1);
    world.asset.breaks(MODE, DeviceError::Lost);
    assert_eq!(press(&world, &mut agent, "7").await, rejected("safety.not-judged/mode"));
    world.asset.breaks(MODE, DeviceError::UnknownComponent(component(MODE)));
    assert!(
        is_done(&press(&world, &mut agent, "7").await),
        "the machine has no modes: the specification says it"
    );
    assert_eq!(world.asset.actuated().len(), 2);
}

/// High force only while it is cool: what the sensor measured last, not what the specification takes it to be.
#[tokio::test]
async fn an_interlock_goes_by_the_sensor() {
    let world = World::new().await;
    let mut agent = world.agent().await;
    insert(&world, "temperature/Attribute[Value]", "<Value>20</Value>").await;
    let constant = |text: &str| Operand::Constant(Text::new(text).unwrap());
    let strong = Comparison {
        left: Operand::Parameter(name("Force")),
        relation: Relation::More,
        right: constant("30"),
    };
    let cool = Comparison {
        left: Operand::Variable(component("temperature")),
        relation: Relation::AtMost,
        right: constant("60"),
    };
    set(&world, vec![rule("cool", Condition::Interlock { when: strong, then: cool })]).await;
    for (measured, cool) in [("60.0", true), ("60.1", false)] {
        world.asset.measures("temperature", world.wait(1), measured, Some("degC"));
        assert!(is_done(&press(&world, &mut agent, "30").await));
        let outcome = press(&world, &mut agent, "31").await;
        let expected = if cool { is_done(&outcome) } else { outcome == rejected("safety.interlock/cool") };
        assert!(expected, "{measured}: {outcome:?}");
    }
}

/// Nobody knows whether a call was carried out: the machine says where it stands, then or later; before, nothing moves.
#[tokio::test]
async fn after_an_unknown_end_the_machine_tells() {
    let world = gentle_press().await;
    let mut agent = world.agent().await;
    let last = |world: &World| {
        let history = world.state().program_history(&world.twin, &component(PROGRAM)).unwrap();
        history.values[&name("Force")].clone()
    };
    world.asset.mood(Mood::LostBefore);
    world.asset.shows(VARIABLE, "11", Some("kN"));
    assert_eq!(press(&world, &mut agent, "14").await, Ok(CallStatus::Completed(CallResult::Unknown)));
    let Observed::Value(told) = last(&world) else { panic!("the machine has told") };
    assert_eq!(told.value.as_str(), "11");
    assert_eq!(press(&world, &mut agent, "16.5").await, Err("safety.max-step"), "5.5 from where it stands");

    world.asset.breaks(VARIABLE, DeviceError::Lost);
    let number = world.client(Maintainer).call_program(world.twin, world.force("14")).await.unwrap();
    agent.serve_calls(world.now()).await.unwrap();
    assert_eq!(world.call_record(number).status, CallStatus::Rejected(name("safety.not-judged/gentle")));
    assert!(!agent.report_values(&component(PROGRAM)).await.unwrap());

    // It is out of sight when the call is lost: the ledger refuses, until the machine is back.
    world.asset.breaks(VARIABLE, DeviceError::UnknownComponent(component(VARIABLE)));
    let outcome = press(&world, &mut agent, "14").await;
    assert_eq!(outcome, Ok(CallStatus::Completed(CallResult::Unknown)));
    assert_eq!(last(&world), Observed::Unknown);
    assert_eq!(press(&world, &mut agent, "14").await, Err("safety.not-judged"));
    world.asset.mends(VARIABLE);
    world.asset.mood(Mood::Works);
    assert!(agent.report_values(&component(PROGRAM)).await.unwrap());
    assert!(is_done(&press(&world, &mut agent, "14").await));
}

/// Only the agent speaks for the machine, and not while it moves.
#[tokio::test]
async fn nobody_else_tells_where_the_machine_stands() {
    let world = gentle_press().await;
    let client = world.client(Maintainer);
    let values = world.force("45").parameters;
    let report = TwinCall::ReportValues { program: component(PROGRAM), epoch: 0, values };
    let outcome = client.ledger().execute_on(world.twin, [report]).await;
    assert!(matches!(outcome, Err(ExecuteError::Refused(Reason::NotTheAgent))), "{outcome:?}");
}
