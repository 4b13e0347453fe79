//! Safety rules against a naive model that counts in tenths.

use std::cell::Cell;

use dt_ledger::safety::{Comparison, Condition, Facts, Observed, Operand, Relation};
use dt_ledger::{Argument, Reason, SafetyRules, State as _, check_call};
use dt_model::{Text, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::safety::{plant, set};
use crate::support::*;

/// A value: a number of tenths, in one of three spellings, or a word.
#[derive(Debug, Clone, Copy)]
enum Value {
    Tenths(i64, u8),
    Word(&'static str),
}
use Value::{Tenths, Word};

/// What a side of a comparison is.
#[derive(Debug, Clone, Copy)]
enum Of {
    Speed,
    Mode,
    Level,
    LineMode,
    Constant(Value),
}

type Compared = (Of, Relation, Of);

#[derive(Debug, Clone)]
enum Rule {
    Step(i64, Option<i64>),
    Rate(u32, u64),
    Lock(Compared, Compared),
    Mode(Vec<Value>),
}

/// All that a judgement rests on. What was last set, and what is read, may be unknown (`Some(None)`) or not told (`None`).
#[derive(Debug, Clone)]
struct Case {
    rules: Vec<Rule>,
    speed: i64,
    mode: &'static str,
    last: Option<Option<Value>>,
    starts: Vec<u64>,
    level: Option<Option<Value>>,
    line: Option<Option<Value>>,
}

const NOW: u64 = 100;

impl Value {
    fn text(self) -> Text<256> {
        let text = match self {
            Tenths(tenths, 0) => format!("{tenths}e-1"),
            Tenths(tenths, 1) => {
                format!("{}{}.{}00", if tenths < 0 { "-" } else { "" }, tenths.abs() / 10, tenths.abs() % 10)
            }
            Tenths(tenths, _) => format!(" {}{:04}.0E-1", if tenths < 0 { "-" } else { "+" }, tenths.abs()),
            Word(word) => word.to_owned(),
        };
        Text::new(text).unwrap()
    }
}

/// The model.
impl Case {
    /// A side's value and unit, if they are known.
    fn side(&self, of: Of) -> Option<(Value, Option<&'static str>)> {
        match of {
            Of::Speed => Some((Tenths(self.speed, 0), Some("m/min"))),
            Of::Mode => Some((Word(self.mode), None)),
            Of::Level => Some((self.level.unwrap_or(Some(Tenths(400, 0)))?, Some("percent"))),
            Of::LineMode => Some((self.line.unwrap_or(Some(Word("automatic")))?, None)),
            Of::Constant(value) => Some((value, None)),
        }
    }

    fn holds(&self, (left, relation, right): Compared) -> Option<bool> {
        let ((a, a_unit), (b, b_unit)) = (self.side(left)?, self.side(right)?);
        if let (Some(a), Some(b)) = (a_unit, b_unit)
            && a != b
        {
            return None;
        }
        let (equal, less) = match (a, b) {
            (Tenths(a, _), Tenths(b, _)) => (a == b, Some(a < b)),
            (Word(a), Word(b)) => (a == b, None),
            _ => (false, None),
        };
        match relation {
            Relation::Equal => Some(equal),
            Relation::NotEqual => Some(!equal),
            Relation::Less => less,
            Relation::AtMost => less.map(|less| less || equal),
            Relation::More => less.map(|less| !less && !equal),
            Relation::AtLeast => less.map(|less| !less),
        }
    }

    fn allows(&self, rule: &Rule) -> Option<bool> {
        match rule {
            Rule::Step(step, from) => match (self.last, from) {
                (Some(Some(Tenths(last, _))), _) => Some((self.speed - last).abs() <= *step),
                (Some(_), _) | (None, None) => None,
                (None, Some(from)) => Some((self.speed - from).abs() <= *step),
            },
            Rule::Rate(starts, period) => {
                let within = self.starts.iter().filter(|&&start| NOW - start < *period).count();
                Some(within < *starts as usize)
            }
            Rule::Lock(when, then) => match self.holds(*when) {
                Some(true) => self.holds(*then),
                Some(false) => Some(true),
                None => None,
            },
            Rule::Mode(values) => {
                let equal = |value: &Value| self.holds((Of::LineMode, Relation::Equal, Of::Constant(*value)));
                self.side(Of::LineMode)?;
                Some(values.iter().any(|value| equal(value) == Some(true)))
            }
        }
    }

    /// The first rule that does not let the call pass, and whether it could be judged.
    fn refused(&self) -> Option<(String, bool)> {
        let verdicts = self.rules.iter().map(|rule| self.allows(rule)).enumerate();
        let mut refusing = verdicts.filter(|(_, verdict)| *verdict != Some(true));
        refusing.next().map(|(number, verdict)| (format!("{number}"), verdict.is_some()))
    }
}

fn operand(of: Of) -> Operand {
    match of {
        Of::Speed => Operand::Parameter(name("Speed")),
        Of::Mode => Operand::Parameter(name("Mode")),
        Of::Level => Operand::Variable(component("level")),
        Of::LineMode => Operand::Variable(component("line/Attribute[Mode]")),
        Of::Constant(value) => Operand::Constant(value.text()),
    }
}

fn comparison((left, relation, right): Compared) -> Comparison {
    Comparison { left: operand(left), relation, right: operand(right) }
}

fn condition(rule: &Rule) -> Condition {
    let tenths = |tenths: i64| number(Tenths(tenths, 1).text().as_str());
    match rule {
        Rule::Step(step, from) => {
            Condition::MaxStep { parameter: name("Speed"), step: tenths(*step), from: from.map(tenths) }
        }
        Rule::Rate(starts, period) => Condition::MaxRate { starts: *starts, period: *period },
        Rule::Lock(when, then) => Condition::Interlock { when: comparison(*when), then: comparison(*then) },
        Rule::Mode(values) => Condition::RequiredMode {
            variable: component("line/Attribute[Mode]"),
            values: values.iter().map(|value| value.text()).collect(),
        },
    }
}

fn observed(value: Option<Value>, unit: Option<&str>) -> Observed {
    value.map_or(Observed::Unknown, |value| {
        Observed::Value(Argument { value: value.text(), unit: unit.map(name) })
    })
}

fn facts(case: &Case) -> Facts {
    let last = case.last.map(|last| (name("Speed"), observed(last, Some("m/min"))));
    let level = case.level.map(|level| (component("level"), observed(level, Some("percent"))));
    let line = case.line.map(|line| (component("line/Attribute[Mode]"), observed(line, None)));
    Facts {
        now: Timestamp::from_millis(NOW),
        starts: case.starts.iter().copied().map(Timestamp::from_millis).collect(),
        values: last.into_iter().collect(),
        variables: level.into_iter().chain(line).collect(),
    }
}

fn case() -> impl Strategy<Value = Case> {
    let words = || prop::sample::select(vec!["automatic", "manual", "slow", "fast"]);
    // Close together, so that boundaries are met.
    let tenths = || prop_oneof![395..=405i64, -2..=600i64];
    let value = move || prop_oneof![3 => (tenths(), 0..3u8).prop_map(|(tenths, how)| Tenths(tenths, how)), 2 => words().prop_map(Word)];
    let of = move || {
        prop_oneof![
            Just(Of::Speed),
            Just(Of::Mode),
            Just(Of::Level),
            Just(Of::LineMode),
            value().prop_map(Of::Constant)
        ]
    };
    let relation = prop::sample::select(vec![
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::AtMost,
        Relation::More,
        Relation::AtLeast,
    ]);
    // Orders are of numbers: a constant that is none is refused when the rule is set.
    let is_sound = |(left, relation, right): &Compared| {
        let ordered = !matches!(relation, Relation::Equal | Relation::NotEqual);
        !(ordered && [left, right].iter().any(|side| matches!(side, Of::Constant(Word(_)))))
    };
    let compared = (of(), relation, of()).prop_filter("an order of words", is_sound);
    let rule = prop_oneof![
        (0..30i64, prop::option::of(tenths())).prop_map(|(step, from)| Rule::Step(step, from)),
        (1..5u32, 1..120u64).prop_map(|(starts, period)| Rule::Rate(starts, period)),
        (compared.clone(), compared).prop_map(|(when, then)| Rule::Lock(when, then)),
        vec(value(), 1..4).prop_map(Rule::Mode),
    ];
    let told = move || prop::option::weighted(0.8, prop::option::weighted(0.9, value()));
    (
        vec(rule, 1..4),
        prop_oneof![395..=405i64, 50..=600i64],
        prop::sample::select(vec!["slow", "fast"]),
        told(),
        vec(0..=NOW, 0..6),
        (told(), told()),
    )
        .prop_map(|(rules, speed, mode, last, mut starts, (level, line))| {
            starts.sort_unstable();
            Case { rules, speed, mode, last, starts, level, line }
        })
}

#[test]
fn rules_are_what_a_naive_model_says() {
    let plant = plant();
    let state = plant.chain.state();
    let document = state.specification(&plant.twin).unwrap();
    let seen: [Cell<u32>; 3] = Default::default();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(2048));
    let outcome = runner.run(&case(), |case| {
        let rules = case.rules.iter().enumerate();
        let rules = rules.map(|(number, of)| rule(&format!("{number}"), Some("set-speed"), condition(of)));
        let rules = SafetyRules { version: 1, rules: rules.collect() };
        let call = set_speed(Tenths(case.speed, 1).text().as_str(), case.mode);
        let found = match check_call(document, &rules, &call, &facts(&case)) {
            Ok(()) => None,
            Err(Reason::Unsafe { rule, kind }) => {
                let rule = rule.to_string();
                prop_assert_eq!(kind, rules.rules[rule.parse::<usize>().unwrap()].condition.kind());
                Some((rule, true))
            }
            Err(Reason::NotJudged { rule }) => Some((rule.to_string(), false)),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        prop_assert_eq!(found.clone(), case.refused());
        let count = &seen[found.map_or(0, |(_, judged)| 1 + usize::from(judged))];
        count.set(count.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    // The cases are no accident: all three answers are frequent.
    assert!(seen.iter().all(|count| count.get() > 100), "{seen:?}");
    // And what the model was asked is what can be set.
    let rules = [Rule::Step(1, None), Rule::Rate(1, 1), Rule::Mode(vec![Word("manual")])];
    let rules = rules.iter().enumerate();
    set(&plant, rules.map(|(number, of)| rule(&format!("{number}"), Some("set-speed"), condition(of))))
        .unwrap();
}
