//! A twin's safety rules (paper, section 6.2): who sets them, each of them at its boundary, and what is remembered for them.

use dt_ledger::safety::{
    Comparison, Condition, Facts, MAX_RULES, MAX_STARTS, MAX_VARIABLES, Observed, Operand, Relation,
    RuleFault, SafetyRule,
};
use dt_ledger::{
    Argument, CallResult, ProgramCall, Reason, Resource, SafetyRules, State as _, TwinCall, check_call,
};
use dt_model::{Signer as _, Text};

use crate::support::*;

/// The plant, with values in its specification: the tank's level in percent, whether its valve is open, and the line's mode.
pub(crate) fn plant() -> Plant {
    let plant = Plant::new();
    let attribute = |parent: &str, name: &str, data_type: &str, unit: &str, value: &str| {
        let fragment = format!(
            r#"<Attribute Name="{name}" AttributeDataType="xs:{data_type}" {unit}><Value>{value}</Value></Attribute>"#
        );
        dt_aml::Edit::Insert { fragment, parent: parent.into(), after: None }
    };
    let edits = [
        attribute("level", "Value", "decimal", r#"Unit="percent""#, "40"),
        attribute("valve", "Open", "boolean", "", "true"),
        attribute("line", "Mode", "string", "", "automatic"),
    ];
    plant.call(&plant.owner, edit(edits)).unwrap();
    plant
}

pub(crate) fn set_value(plant: &Plant, address: &str, value: &str) {
    let change = dt_aml::Edit::SetValue { address: address.into(), value: value.into() };
    plant.call(&plant.owner, edit([change])).unwrap();
}

pub(crate) fn set(plant: &Plant, rules: impl IntoIterator<Item = SafetyRule>) -> Result<u64, Reason> {
    let expected = plant.chain.state().safety_rules(&plant.twin).unwrap().version;
    let rules = rules.into_iter().collect();
    plant.call(&plant.owner, TwinCall::SetSafetyRules { rules, expected })?;
    Ok(expected + 1)
}

pub(crate) fn parameter(called: &str) -> Operand {
    Operand::Parameter(name(called))
}

pub(crate) fn variable(address: &str) -> Operand {
    Operand::Variable(component(address))
}

pub(crate) fn constant(value: &str) -> Operand {
    Operand::Constant(Text::new(value).unwrap())
}

pub(crate) fn is(left: Operand, relation: Relation, right: Operand) -> Comparison {
    Comparison { left, relation, right }
}

pub(crate) fn mode(values: &[&str]) -> Condition {
    let values = values.iter().map(|value| Text::new(*value).unwrap()).collect();
    Condition::RequiredMode { variable: component("line/Attribute[Mode]"), values }
}

/// Whether a call would be admitted now; by which rule not.
pub(crate) fn judged(plant: &Plant, call: &ProgramCall) -> Result<(), &'static str> {
    let state = plant.chain.state();
    let facts = state.safety_facts(&plant.twin, &call.program, plant.chain.now()).unwrap();
    let rules = state.safety_rules(&plant.twin).unwrap();
    check_call(state.specification(&plant.twin).unwrap(), &rules, call, &facts)
        .map_err(|reason| reason.rule())
}

pub(crate) fn speed(plant: &Plant, speed: &str) -> Result<(), &'static str> {
    judged(plant, &set_speed(speed, "slow"))
}

/// Queues and claims a call; its number and epoch.
pub(crate) fn claim(plant: &Plant, call: ProgramCall) -> (u64, u64) {
    plant.call(&plant.maintainer, TwinCall::CallProgram(call)).expect("is admitted");
    let twin = plant.chain.state().twin(&plant.twin).unwrap();
    let epoch = twin.epoch + 1;
    plant.call(&plant.agent, TwinCall::ClaimCalls { epoch }).unwrap();
    (twin.calls, epoch)
}

pub(crate) fn start(plant: &Plant, call: ProgramCall) -> (u64, u64) {
    let (call, epoch) = claim(plant, call);
    plant.call(&plant.agent, TwinCall::StartCall { call, epoch }).expect("is started");
    (call, epoch)
}

/// Runs a call to its end.
pub(crate) fn run(plant: &Plant, call: ProgramCall, result: CallResult) {
    let (call, epoch) = start(plant, call);
    plant.call(&plant.agent, TwinCall::CompleteCall { call, epoch, result }).unwrap();
}

pub(crate) fn succeeded() -> CallResult {
    CallResult::Succeeded(Text::new("done").unwrap())
}

pub(crate) fn failed() -> CallResult {
    CallResult::Failed(Text::new("refused").unwrap())
}

#[test]
fn rules_have_versions_and_a_trace() {
    let plant = plant();
    let Plant { chain, twin, owner, .. } = &plant;
    assert_eq!(chain.state().safety_rules(twin).unwrap(), SafetyRules::default());
    let gentle = rule("gentle", Some("set-speed"), max_step("Speed", "5", Some("30")));
    assert_eq!(set(&plant, [gentle.clone()]), Ok(1));
    let committed = chain.commit(&[
        chain.sign(owner, vec![plant.on(TwinCall::SetSafetyRules { rules: vec![], expected: 1 })])
    ]);
    let told = dt_ledger::EventKind::Twin(*twin, dt_ledger::TwinEvent::SafetyRulesChanged(2));
    assert_eq!(committed.events[0].kind, told);
    assert_eq!(chain.state().safety_rules(twin).unwrap(), SafetyRules { version: 2, rules: vec![] });
    let trace = chain.replica().trace(&Resource::Safety(*twin)).unwrap();
    assert_eq!(trace.iter().map(|entry| entry.author).collect::<Vec<_>>(), [owner.party(); 2]);
    // Who saw version 1 does not overwrite version 2, and a right at an element is no right at the root.
    let stale = TwinCall::SetSafetyRules { rules: vec![gentle], expected: 1 };
    assert_eq!(plant.call(owner, stale).unwrap_err(), Reason::SafetyRulesChanged { found: 2 });
    let own = dt_ledger::Policy::paper_default().allow(
        dt_ledger::Subject::Role(name(dt_ledger::MAINTAINER)),
        [dt_model::Permission::new(dt_model::Operation::Administer, dt_model::DataClass::Policy)],
    );
    let at = Some(component("set-speed"));
    plant.call(owner, TwinCall::SetPolicy { component: at, policy: own }).unwrap();
    let loosen = TwinCall::SetSafetyRules { rules: vec![], expected: 2 };
    assert_eq!(plant.refused(&plant.maintainer, loosen), "authorization.not-permitted");
}

#[test]
fn a_malformed_rule_is_refused_by_its_fault() {
    let plant = plant();
    let fault = |rules: Vec<SafetyRule>| match set(&plant, rules) {
        Err(Reason::BadSafetyRule { rule, fault }) => {
            assert_eq!(rule, name("r"));
            fault
        }
        other => panic!("{other:?}"),
    };
    let one = |program, condition| fault(vec![rule("r", program, condition)]);
    let lock = |when, then| Condition::Interlock { when, then };
    let fine = || is(constant("1"), Relation::Equal, constant("1"));
    assert_eq!(one(Some("tank"), mode(&["x"])), RuleFault::UnknownProgram(component("tank")));
    let force = RuleFault::UnknownParameter(name("Force"));
    assert_eq!(one(Some("set-speed"), max_step("Force", "1", None)), force);
    let compares = lock(fine(), is(parameter("Force"), Relation::Equal, constant("1")));
    assert_eq!(one(Some("set-speed"), compares), force);
    for address in ["nowhere", "tank", "tank/Attribute[Level]", "level/Attribute[Value]/Value"] {
        let unknown = RuleFault::UnknownVariable(component(address));
        let compares = lock(is(variable(address), Relation::Equal, constant("1")), fine());
        assert_eq!(one(None, compares), unknown);
    }
    let ordered = lock(is(variable("level"), Relation::Less, constant("half")), fine());
    assert_eq!(one(None, ordered), RuleFault::NotANumber(Text::new("half").unwrap()));
    assert_eq!(one(Some("set-speed"), max_step("Speed", "-0.1", None)), RuleFault::OutOfBounds);
    for (starts, period) in [(0, 1000), (MAX_STARTS + 1, 1000), (1, 0)] {
        assert_eq!(one(None, Condition::MaxRate { starts, period }), RuleFault::OutOfBounds);
    }
    assert_eq!(one(None, mode(&[])), RuleFault::OutOfBounds);
    let twice = vec![rule("r", None, mode(&["automatic"])), rule("r", None, mode(&["manual"]))];
    assert_eq!(fault(twice), RuleFault::NameTaken);
    assert_eq!(plant.chain.state().safety_rules(&plant.twin).unwrap(), SafetyRules::default());
}

#[test]
fn rules_are_bounded() {
    let plant = plant();
    let many = |count| (0..count).map(|number| rule(&format!("{number}"), None, mode(&["automatic"])));
    assert_eq!(set(&plant, many(MAX_RULES)), Ok(1));
    assert_eq!(set(&plant, many(MAX_RULES + 1)), Err(Reason::Full));
    let of = |number: usize| Condition::RequiredMode {
        variable: component(&format!("variable {number}")),
        values: [Text::new("x").unwrap()].into(),
    };
    let spoken = |count| (0..count).map(move |number| rule(&format!("{number}"), None, of(number)));
    assert!(matches!(set(&plant, spoken(MAX_VARIABLES)), Err(Reason::BadSafetyRule { .. })));
    assert_eq!(set(&plant, spoken(MAX_VARIABLES + 1)), Err(Reason::Full));
    let values: Vec<String> = (0..90).map(|number| format!("{number:0200}")).collect();
    let long = mode(&values.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(set(&plant, [rule("long", None, long)]), Err(Reason::Full));
}

#[test]
fn a_step_is_as_large_as_the_rule_says_and_no_larger() {
    let plant = plant();
    set(&plant, [rule("gentle", Some("set-speed"), max_step("Speed", "0.1", None))]).unwrap();
    assert_eq!(speed(&plant, "30"), Err("safety.not-judged"), "nobody knows how fast it is");
    set(&plant, [rule("gentle", None, max_step("Speed", "0.1", Some("30.0")))]).unwrap();
    for (value, allowed) in [
        ("30", true),
        ("30.1", true),
        ("29.90", true),
        ("30.1000000000000000000000001", false),
        ("29.89999999999999999999999999", false),
    ] {
        assert_eq!(speed(&plant, value), if allowed { Ok(()) } else { Err("safety.max-step") }, "{value}");
    }
    let refused = plant.call(&plant.owner, TwinCall::CallProgram(set_speed("31", "slow"))).unwrap_err();
    assert_eq!(refused.full_rule(), name("safety.max-step/gentle"));
    run(&plant, set_speed("30.1", "slow"), succeeded());
    assert_eq!(speed(&plant, "30.2"), Ok(()), "the last value counts, not the first");
    assert_eq!(speed(&plant, "29.9"), Err("safety.max-step"));
}

/// No difference is rounded away: 2^63, and as many digits as there can be.
#[test]
fn long_numbers_are_exact_or_refused() {
    let within = |a: &str, step: &str, b: &str| number(a).is_within(number(step), number(b));
    let large = "9999999999999999999999999999";
    assert!(within("9223372036854775808", "1", "9223372036854775807"));
    assert!(!within("9223372036854775808.1", "1", "9223372036854775807"));
    assert!(within(large, "19999999999999999999999999998", &format!("-{large}")));
    assert!(!within(large, "19999999999999999999999999997", &format!("-{large}")));
    let half = "1000000000000000000000000000.5";
    assert!(within(half, "0.5", "1000000000000000000000000000"));
    assert!(!within(half, "0.4999999999999999999999999999", "1000000000000000000000000000"));
    assert!(
        !within(large, large, "-0.0000000000000000000000000001"),
        "a step that decimals of 28 digits lose"
    );
    assert!(within("0.0000000000000000000000000001", "0.0000000000000000000000000001", "-0"));
    assert!("1e29".parse::<dt_ledger::safety::Number>().is_err());
    assert!("100000000000000000000000000000000000.5".parse::<dt_ledger::safety::Number>().is_err());
    for text in ["-0.5", "0", "12.000000000000000000000001", "-79228162514264337593543950335"] {
        assert_eq!(number(text).to_string(), text);
    }

    let plant = plant();
    set(&plant, [rule("r", None, max_step("Speed", "79228162514264337593543950335", Some("30")))]).unwrap();
    assert_eq!(speed(&plant, "60"), Ok(()));
    let many = format!("3{}", "0".repeat(200));
    assert_eq!(speed(&plant, &many), Err("program.parameter-limit"), "the type is judged before");
}

/// What counts as the last value after each end of a call.
#[test]
fn the_last_value_is_that_of_the_last_call_that_did_not_fail() {
    let plant = plant();
    set(&plant, [rule("gentle", None, max_step("Speed", "5", Some("30")))]).unwrap();
    let (call, epoch) = start(&plant, set_speed("35", "slow"));
    assert_eq!(speed(&plant, "40"), Ok(()), "a call that is under way counts");
    assert_eq!(speed(&plant, "30"), Ok(()));
    assert_eq!(speed(&plant, "29"), Err("safety.max-step"));
    plant.call(&plant.agent, TwinCall::CompleteCall { call, epoch, result: failed() }).unwrap();
    assert_eq!(speed(&plant, "36"), Err("safety.max-step"), "it failed, so the machine is where it was");
    run(&plant, set_speed("35", "slow"), succeeded());
    assert_eq!(speed(&plant, "40"), Ok(()));
    // A call that waits or is taken back does not count.
    let (call, _) = claim(&plant, set_speed("40", "slow"));
    assert_eq!(speed(&plant, "45"), Err("safety.max-step"));
    plant.call(&plant.maintainer, TwinCall::CancelCall { call }).unwrap();

    run(&plant, set_speed("40", "slow"), CallResult::Unknown);
    assert_eq!(speed(&plant, "40"), Err("safety.not-judged"), "35 or 40: nobody knows");
    assert_eq!(speed(&plant, "30"), Err("safety.not-judged"), "not even the start counts any more");
    let epoch = plant.chain.state().twin(&plant.twin).unwrap().epoch;
    let report = |value: &str| {
        let mut values = set_speed(value, "slow").parameters;
        values.remove("Mode");
        TwinCall::ReportValues { program: component("set-speed"), epoch, values }
    };
    plant.call(&plant.agent, report("35")).unwrap();
    assert_eq!(speed(&plant, "40"), Ok(()), "the device has told");
    assert_eq!(speed(&plant, "40.1"), Err("safety.max-step"));

    let history =
        |plant: &Plant| plant.chain.state().program_history(&plant.twin, &component("set-speed")).unwrap();
    let before = history(&plant);
    assert_eq!(before.values[&name("Mode")], Observed::Unknown);
    let (call, epoch) = start(&plant, set_speed("40", "slow"));
    let report = TwinCall::ReportValues {
        program: component("set-speed"),
        epoch,
        values: set_speed("5", "slow").parameters,
    };
    assert_eq!(plant.refused(&plant.agent, report), "call.state", "the machine is moving");
    plant.call(&plant.agent, TwinCall::CompleteCall { call, epoch, result: failed() }).unwrap();
    assert_eq!(history(&plant).values, before.values);
}

/// The specification says another unit than when the last value was set: nothing is converted, so nothing can be told.
#[test]
fn a_last_value_in_another_unit_is_none() {
    let plant = plant();
    let call = ProgramCall { program: component("set-speed"), ..set_speed("30", "slow") };
    let known = |unit: &str| {
        let last = Argument { value: Text::new("30").unwrap(), unit: Some(name(unit)) };
        Facts { values: [(name("Speed"), Observed::Value(last))].into(), ..Facts::default() }
    };
    let rules = SafetyRules { version: 1, rules: vec![rule("r", None, max_step("Speed", "1", None))] };
    let state = plant.chain.state();
    let judge = |unit: &str| {
        let document = state.specification(&plant.twin).unwrap();
        check_call(document, &rules, &call, &known(unit)).map_err(|reason| reason.rule())
    };
    assert_eq!(judge("m/min"), Ok(()));
    assert_eq!(judge("m/s"), Err("safety.not-judged"));
}

#[test]
fn a_program_is_started_so_often_and_no_oftener() {
    let plant = plant();
    let rate = |starts, period| rule("calm", None, Condition::MaxRate { starts, period });
    set(&plant, [rate(2, 1000)]).unwrap();
    let go = || start_and_fail(&plant);
    assert_eq!((go(), plant.chain.wait(400)), (Ok(()), ()));
    assert_eq!(go(), Ok(()));
    assert_eq!(go(), Err("safety.max-rate"), "what failed was a start too");
    plant.chain.wait(599);
    assert_eq!(go(), Err("safety.max-rate"));
    plant.chain.wait(1);
    assert_eq!(go(), Ok(()), "the first has left the period");
    plant.chain.wait(399);
    assert_eq!(go(), Err("safety.max-rate"), "the second has not");
    set(&plant, [rate(2, 999)]).unwrap();
    assert_eq!(go(), Ok(()));
    set(&plant, [rate(1, u64::MAX)]).unwrap();
    assert_eq!(go(), Err("safety.max-rate"));
    // What is remembered is bounded, and is all that the largest rule asks for.
    set(&plant, []).unwrap();
    for _ in 0..MAX_STARTS + 3 {
        assert_eq!(go(), Ok(()));
        plant.chain.wait(1);
    }
    let state = plant.chain.state();
    let starts = state.program_history(&plant.twin, &component("set-speed")).unwrap().starts;
    assert_eq!(starts.len(), MAX_STARTS as usize);
    set(&plant, [rate(MAX_STARTS, u64::from(MAX_STARTS) + 1)]).unwrap();
    assert_eq!(go(), Err("safety.max-rate"));
    plant.chain.wait(1);
    assert_eq!(go(), Ok(()));
}

fn start_and_fail(plant: &Plant) -> Result<(), &'static str> {
    let call = TwinCall::CallProgram(set_speed("30", "slow"));
    plant.call(&plant.maintainer, call).map_err(|reason| reason.rule())?;
    let twin = plant.chain.state().twin(&plant.twin).unwrap();
    let (call, epoch) = (twin.calls, twin.epoch + 1);
    plant.call(&plant.agent, TwinCall::ClaimCalls { epoch }).unwrap();
    plant.call(&plant.agent, TwinCall::StartCall { call, epoch }).unwrap();
    plant.call(&plant.agent, TwinCall::CompleteCall { call, epoch, result: failed() }).unwrap();
    Ok(())
}
