//! Safety rules that relate a call to variables; and rules and variables that change while a call waits.

use dt_ledger::safety::{Comparison, Condition, Facts, Observed, Relation, SafetyRule};
use dt_ledger::{Argument, CallStatus, ProgramCall, SafetyRules, State as _, TwinCall, check_call};
use dt_model::Text;

use crate::safety::*;
use crate::support::*;

fn interlock(when: Comparison, then: Comparison) -> SafetyRule {
    rule("interlock", None, Condition::Interlock { when, then })
}

/// What the device reads of a variable.
fn reads(value: &str, unit: Option<&str>) -> Observed {
    Observed::Value(Argument { value: Text::new(value).unwrap(), unit: unit.map(name) })
}

/// How a call of `set-speed` is judged by one rule, with what the device reads.
fn with_readings(
    plant: &Plant,
    rule: &SafetyRule,
    call: &ProgramCall,
    readings: &[(&str, Observed)],
) -> Result<(), &'static str> {
    let variables = readings.iter().map(|(at, shown)| (component(at), shown.clone())).collect();
    let facts = Facts { variables, ..Facts::default() };
    let rules = SafetyRules { version: 1, rules: vec![rule.clone()] };
    let state = plant.chain.state();
    check_call(state.specification(&plant.twin).unwrap(), &rules, call, &facts)
        .map_err(|reason| reason.rule())
}

/// Who drives fast needs a full tank: at each side of both boundaries.
#[test]
fn an_interlock_asks_for_something_on_its_occasion_only() {
    let plant = plant();
    let fast = is(parameter("Speed"), Relation::More, constant("40"));
    let full = is(variable("level"), Relation::AtLeast, constant("50"));
    set(&plant, [interlock(fast, full)]).unwrap();
    assert_eq!(speed(&plant, "40.0"), Ok(()), "the level is 40, but nobody drives fast");
    assert_eq!(speed(&plant, "40.01"), Err("safety.interlock"));
    set_value(&plant, "level/Attribute[Value]", "49.999999999999999999");
    assert_eq!(speed(&plant, "60"), Err("safety.interlock"));
    set_value(&plant, "level/Attribute[Value]", "5e1");
    assert_eq!(speed(&plant, "60"), Ok(()));
    // A level that is no number is no reason to refuse who does not ask for it.
    set_value(&plant, "level/Attribute[Value]", "half");
    assert_eq!(speed(&plant, "40"), Ok(()));
    assert_eq!(speed(&plant, "41"), Err("safety.not-judged"));
    plant.call(&plant.owner, edit([remove("level/Attribute[Value]")])).unwrap();
    assert_eq!(speed(&plant, "41"), Err("safety.not-judged"), "nor is one that is gone");
}

#[test]
fn each_relation_at_its_boundary() {
    let plant = plant();
    let always = || is(constant("1"), Relation::Equal, constant("1"));
    for (relation, below, same, above) in [
        (Relation::Equal, false, true, false),
        (Relation::NotEqual, true, false, true),
        (Relation::Less, true, false, false),
        (Relation::AtMost, true, true, false),
        (Relation::More, false, false, true),
        (Relation::AtLeast, false, true, true),
    ] {
        let rule = interlock(always(), is(parameter("Speed"), relation, constant("30")));
        for (value, holds) in [("29.9999999", below), ("30.0", same), ("30.0000001", above)] {
            let expected = if holds { Ok(()) } else { Err("safety.interlock") };
            assert_eq!(
                with_readings(&plant, &rule, &set_speed(value, "slow"), &[]),
                expected,
                "{relation:?} {value}"
            );
        }
        let text = interlock(always(), is(parameter("Mode"), relation, constant("slow")));
        let judge = |mode: &str| with_readings(&plant, &text, &set_speed("30", mode), &[]);
        match relation {
            Relation::Equal => assert_eq!((judge("slow"), judge("fast")), (Ok(()), Err("safety.interlock"))),
            Relation::NotEqual => {
                assert_eq!((judge("slow"), judge("fast")), (Err("safety.interlock"), Ok(())))
            }
            _ => assert_eq!(judge("slow"), Err("safety.not-judged"), "texts have no order"),
        }
    }
}

/// One truth value has two spellings, and neither slips by; a number that is too long is no text that differs from another.
#[test]
fn spellings_do_not_slip_by() {
    let plant = plant();
    let open = |value: &str| {
        let when = is(variable("valve/Attribute[Open]"), Relation::Equal, constant(value));
        interlock(when, is(parameter("Speed"), Relation::Less, constant("10")))
    };
    let judge = |rule: &SafetyRule, shown: &str| {
        with_readings(
            &plant,
            rule,
            &set_speed("30", "slow"),
            &[("valve/Attribute[Open]", reads(shown, None))],
        )
    };
    for spelling in ["true", "1", " true "] {
        assert_eq!(judge(&open("true"), spelling), Err("safety.interlock"), "{spelling}");
        assert_eq!(judge(&open("1"), spelling), Err("safety.interlock"), "{spelling}");
        assert_eq!(judge(&open("0"), spelling), Ok(()), "{spelling}");
    }
    assert_eq!(judge(&open("true"), "yes"), Err("safety.not-judged"));
    assert_eq!(judge(&open("open"), "true"), Err("safety.not-judged"));

    let line = "line/Attribute[Mode]";
    let shown = |rule: &SafetyRule, value: &str| {
        with_readings(&plant, rule, &set_speed("30", "slow"), &[(line, reads(value, None))])
    };
    let not_one = interlock(
        is(constant("1"), Relation::Equal, constant("1")),
        is(variable(line), Relation::NotEqual, constant("1")),
    );
    assert_eq!(shown(&not_one, "2"), Ok(()));
    assert_eq!(shown(&not_one, "1.0"), Err("safety.interlock"));
    for numeral in [format!("1.{}1", "0".repeat(80)), "1e400".into(), format!("+.{}", "1".repeat(40))] {
        assert_eq!(shown(&not_one, &numeral), Err("safety.not-judged"), "{numeral}");
    }
    for text in ["e1", "1-2", "one", "1e", "."] {
        assert_eq!(shown(&not_one, text), Ok(()), "{text}");
    }
}

#[test]
fn a_mode_is_one_of_those_that_are_listed() {
    let plant = plant();
    set(&plant, [rule("mode", Some("set-speed"), mode(&["automatic", "2"]))]).unwrap();
    for (value, expected) in [
        ("automatic", Ok(())),
        ("2.0", Ok(())),
        ("Automatic", Err("safety.required-mode")),
        ("manual", Err("safety.required-mode")),
        ("1e99", Err("safety.not-judged")),
    ] {
        set_value(&plant, "line/Attribute[Mode]", value);
        assert_eq!(speed(&plant, "30"), expected, "{value}");
    }
    plant.call(&plant.owner, edit([remove("line/Attribute[Mode]")])).unwrap();
    assert_eq!(speed(&plant, "30"), Err("safety.not-judged"));
}

/// What the device reads goes before the specification, in the specification's unit only; what it should show and does not is unknown.
#[test]
fn readings_go_before_the_specification() {
    let plant = plant();
    let rule = interlock(
        is(constant("1"), Relation::Equal, constant("1")),
        is(variable("level"), Relation::AtLeast, constant("40")),
    );
    let judge =
        |readings: &[(&str, Observed)]| with_readings(&plant, &rule, &set_speed("30", "slow"), readings);
    assert_eq!(judge(&[]), Ok(()));
    assert_eq!(judge(&[("level", reads("40", Some("percent")))]), Ok(()));
    assert_eq!(judge(&[("level", reads("39.9", Some("percent")))]), Err("safety.interlock"));
    assert_eq!(judge(&[("level", reads("400", Some("litre")))]), Err("safety.not-judged"));
    assert_eq!(judge(&[("level", reads("40", None))]), Err("safety.not-judged"));
    assert_eq!(judge(&[("level", Observed::Unknown)]), Err("safety.not-judged"));
    // Sides in two units are not compared.
    let mixed = interlock(
        is(constant("1"), Relation::Equal, constant("1")),
        is(parameter("Speed"), Relation::Less, variable("level")),
    );
    assert_eq!(with_readings(&plant, &mixed, &set_speed("30", "slow"), &[]), Err("safety.not-judged"));
}

#[test]
fn a_rule_without_a_program_is_for_those_with_its_parameters() {
    let plant = plant();
    let manual = is(variable("line/Attribute[Mode]"), Relation::Equal, constant("manual"));
    let both = interlock(
        is(parameter("Speed"), Relation::More, constant("1")),
        is(parameter("Load"), Relation::Less, constant("1")),
    );
    let call = set_speed("30", "slow");
    let judge = |rule: &SafetyRule| with_readings(&plant, rule, &call, &[]);
    assert_eq!(judge(&both), Err("safety.not-judged"), "it has one of them, and not the other");
    let other = interlock(is(parameter("Load"), Relation::More, constant("1")), manual.clone());
    assert_eq!(judge(&other), Ok(()), "it has none of them");
    let every = interlock(is(constant("1"), Relation::Equal, constant("1")), manual);
    assert_eq!(judge(&every), Err("safety.interlock"), "it speaks of no parameter");
    let elsewhere = SafetyRule { program: Some(component("weigh")), ..every };
    assert_eq!(judge(&elsewhere), Ok(()));
}

/// No call slips between a change of the rules, or of a variable, and its start; and the record says which rules were in force.
#[test]
fn the_rules_at_the_start_decide() {
    let plant = plant();
    let record = |call| plant.chain.state().call(&plant.twin, call).unwrap();
    let slow = |limit: &str| {
        let always = is(constant("1"), Relation::Equal, constant("1"));
        interlock(always, is(parameter("Speed"), Relation::AtMost, constant(limit)))
    };
    let (call, epoch) = claim(&plant, set_speed("50", "slow"));
    assert_eq!((record(call).admitted_under, record(call).started_under), (0, None));
    set(&plant, [slow("49")]).unwrap();
    let go = TwinCall::StartCall { call, epoch };
    assert_eq!(plant.refused(&plant.agent, go.clone()), "safety.interlock");
    assert_eq!(record(call).status, CallStatus::Claimed(epoch));
    let history = || plant.chain.state().program_history(&plant.twin, &component("set-speed")).unwrap();
    assert_eq!(history(), Default::default(), "what was not started is not remembered");
    // Both in one transaction, in either order: the order is what counts.
    let change = |limit: &str, expected| TwinCall::SetSafetyRules { rules: vec![slow(limit)], expected };
    let queue = || TwinCall::CallProgram(set_speed("50", "slow"));
    let both = [change("50", 1), queue(), change("40", 2), queue()].map(|call| plant.on(call));
    let refused = plant.chain.apply(&plant.owner, both.to_vec()).unwrap_err();
    assert_eq!(refused.rule(), "safety.interlock");
    assert_eq!(plant.chain.state().safety_rules(&plant.twin).unwrap().version, 1, "none of it was applied");
    set(&plant, [slow("50"), rule("mode", None, mode(&["automatic"]))]).unwrap();
    set_value(&plant, "line/Attribute[Mode]", "manual");
    assert_eq!(plant.refused(&plant.agent, go.clone()), "safety.required-mode");
    set_value(&plant, "line/Attribute[Mode]", "automatic");
    plant.call(&plant.agent, go).unwrap();
    assert_eq!((record(call).admitted_under, record(call).started_under), (0, Some(2)));
}
