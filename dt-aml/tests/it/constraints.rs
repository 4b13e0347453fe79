//! Constraints against a naive model: numbers as texts of digits, however long.

use std::cmp::Ordering;

use dt_aml::value::decimal;
use dt_aml::{Bound, Constraint, Requirement, Verdict, Violation};
use proptest::prelude::*;

/// A number of any size: `digits` × 10^`point`, without zeros at either end of the digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: String,
    point: i64,
}

impl Number {
    fn of(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let all = [whole, fraction].concat();
        let all = all.trim_start_matches('0');
        let digits = all.trim_end_matches('0').to_owned();
        let point = exponent - fraction.len() as i64 + (all.len() - digits.len()) as i64;
        Self {
            negative: negative && !digits.is_empty(),
            point: if digits.is_empty() { 0 } else { point },
            digits,
        }
    }

    /// The digits of |number| × 10^`scale`.
    fn scaled(&self, scale: i64) -> String {
        format!("{}{}", self.digits, "0".repeat((self.point + scale) as usize))
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let scale = -self.point.min(other.point).min(0);
        let (left, right) = (self.scaled(scale), other.scaled(scale));
        let size = |left: &str, right: &str| {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        };
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(&left, &right),
            (true, true) => size(&right, &left),
        }
    }

    /// Whether it fits into 96 bits with at most 28 digits behind the point.
    fn is_exact(&self) -> bool {
        const MOST: &str = "79228162514264337593543950335";
        let digits = if self.point > 0 { self.scaled(0) } else { self.digits.clone() };
        self.point >= -28 && (digits.len(), digits.as_str()) <= (MOST.len(), MOST)
    }
}

/// Numbers as they may be written, with what they are.
fn numbers() -> impl Strategy<Value = (String, Number)> {
    let digits = prop_oneof![3 => "[0-9]{0,3}", 1 => "[0-9]{0,24}", 1 => "0{0,9}[0-9]0{0,9}"];
    let exponents =
        prop_oneof![3 => Just(None), 1 => (-4..5_i64).prop_map(Some), 1 => (-30..30_i64).prop_map(Some)];
    let parts = (prop::sample::select(vec!["", "-", "+"]), digits.clone(), digits, exponents, any::<bool>());
    parts.prop_map(|(sign, whole, fraction, exponent, big)| {
        let whole = if whole.is_empty() && fraction.is_empty() { "0".to_owned() } else { whole };
        let point = if fraction.is_empty() { "" } else { "." };
        let power =
            exponent.map(|power| format!("{}{power}", if big { 'E' } else { 'e' })).unwrap_or_default();
        let number = Number::of(sign == "-", &whole, &fraction, exponent.unwrap_or(0));
        (format!("{sign}{whole}{point}{fraction}{power}"), number)
    })
}

/// Bounds; some are no numbers.
fn bounds() -> impl Strategy<Value = Option<(String, Option<Number>)>> {
    let number = numbers().prop_map(|(text, number)| (text, Some(number).filter(Number::is_exact)));
    let other = prop::sample::select(vec!["", "high", "2024-01-01", "1,5", "NaN"])
        .prop_map(|text| (text.to_owned(), None));
    prop_oneof![2 => Just(None), 5 => number.prop_map(Some), 1 => other.prop_map(Some)]
}

fn expected(value: Option<&Number>, [min, required, max]: [&Option<(String, Option<Number>)>; 3]) -> Verdict {
    let given: Vec<_> = [min, required, max].into_iter().flatten().collect();
    if given.is_empty() || given.iter().any(|(_, number)| number.is_none()) {
        return Verdict::NotCheckable;
    }
    let Some(value) = value else { return Verdict::Violates(Violation::NotANumber) };
    let compare = |bound: &Option<(String, Option<Number>)>| {
        let (text, number) = bound.clone()?;
        Some((text, value.cmp(&number?)))
    };
    match (compare(min), compare(required), compare(max)) {
        (Some((min, Ordering::Less)), _, _) => Verdict::Violates(Violation::BelowMin { min }),
        (_, _, Some((max, Ordering::Greater))) => Verdict::Violates(Violation::AboveMax { max }),
        (None, Some((required, Ordering::Less | Ordering::Greater)), None) => {
            Verdict::Violates(Violation::NotRequired { required })
        }
        _ => Verdict::Passes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decimals_are_what_the_digits_say((text, number) in numbers(), (other_text, other) in numbers()) {
        let found = decimal(&text);
        prop_assert_eq!(found.is_some(), number.is_exact(), "{}", text);
        if let (Some(found), Some(other_found)) = (found, decimal(&other_text)) {
            prop_assert_eq!(found.cmp(&other_found), number.cmp(&other), "{} {}", text, other_text);
        }
    }

    #[test]
    fn verdicts_are_those_of_the_model(value in numbers(), junk in prop::option::weighted(0.1, "[a-z ]{0,3}"), min in bounds(), required in bounds(), max in bounds()) {
        let (text, number) = match &junk {
            Some(junk) => (junk.clone(), None),
            None => (value.0.clone(), Some(value.1.clone()).filter(Number::is_exact)),
        };
        let bound = |bound: &Option<(String, Option<Number>)>| bound.as_ref().map(|(text, _)| Bound(text.clone()));
        let requirement = Requirement::Ordinal { min: bound(&min), required: bound(&required), max: bound(&max) };
        let constraint = Constraint { name: "C".to_owned(), requirement };
        prop_assert_eq!(constraint.check(&text), expected(number.as_ref(), [&min, &required, &max]), "{}", text);
    }

    /// A value at a bound, and as little beside it as can be written.
    #[test]
    fn bounds_are_hit_exactly((text, number) in numbers().prop_filter("exact", |(_, number)| number.is_exact()), zeros in 0..3_usize) {
        let plain = text.split(['e', 'E']).next().unwrap_or_default();
        let at = match (text == plain, plain.contains('.')) {
            (true, true) => format!("{plain}{}", "0".repeat(zeros)),
            _ => text.clone(),
        };
        let only = |min: bool| {
            let bound = Some(Bound(text.clone()));
            let requirement = match min {
                true => Requirement::Ordinal { min: bound, required: None, max: None },
                false => Requirement::Ordinal { min: None, required: None, max: bound },
            };
            Constraint { name: "C".to_owned(), requirement }
        };
        prop_assert!(only(true).check(&at).passes() && only(false).check(&at).passes(), "{}", at);
        // One more in the last place that there is: nearest to the bound from outside.
        let beside = format!("{}{}1e{}", if number.negative { "-" } else { "" }, number.digits, number.point - 1);
        if decimal(&beside).is_some() {
            prop_assert_eq!(only(!number.negative).check(&beside).passes(), true);
            prop_assert!(matches!(only(number.negative).check(&beside), Verdict::Violates(_)), "{} {}", text, beside);
        }
    }

    #[test]
    fn listed_texts_pass_and_no_others(values in prop::collection::vec("[ab\u{e9} ]{0,3}", 0..4), value in "[ab\u{e9} ]{0,3}") {
        let is_listed = values.iter().any(|listed| listed.as_bytes() == value.as_bytes());
        let constraint = Constraint { name: "C".to_owned(), requirement: Requirement::Nominal { values } };
        prop_assert_eq!(constraint.check(&value).passes(), is_listed);
    }
}
