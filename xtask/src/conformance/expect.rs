//! What came against what was demanded.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::hash::sha256;

/// Parts of earlier results, by name.
pub(super) type Saved = BTreeMap<String, Value>;

/// Says where `found` is not what `wanted` demands.
///
/// Of objects only the members that are demanded count. Beside plain values `wanted` has `$NAME` for what was saved,
/// and objects with one member: `at_least: N`, `minus: [A, B]`, and `sha256_of: {text, size}` for a payload of an agent.
/// A demand that cannot be met by anything, such as a name under which nothing was saved, is a difference as well.
pub(super) fn difference(wanted: &Value, found: &Value, saved: &Saved) -> Option<String> {
    let differs = |wanted: &dyn std::fmt::Display| Some(format!("{found} where {wanted} was due"));
    match wanted {
        Value::Object(members) => {
            let only = members.iter().next().filter(|_| members.len() == 1);
            match only.map(|(name, value)| (name.as_str(), value)) {
                Some(("at_least", least)) => match number(least, saved, Value::as_f64) {
                    Ok(least) if found.as_f64().is_some_and(|found| found >= least) => None,
                    Ok(least) => differs(&format!("at least {least}")),
                    Err(why) => Some(why),
                },
                Some(("minus", Value::Array(terms))) => {
                    let terms = terms.iter().map(|term| number(term, saved, Value::as_i64));
                    match terms.reduce(|sum, term| Ok(sum? - term?)) {
                        Some(Ok(value)) if found.as_i64() == Some(value) => None,
                        Some(Ok(value)) => differs(&value),
                        Some(Err(why)) => Some(why),
                        None => differs(wanted),
                    }
                }
                Some(("sha256_of", Value::Object(of))) => {
                    let digest = sha256(&payload(of));
                    (found.as_str() != Some(&digest)).then(|| format!("{found} where {digest} was due"))
                }
                _ => members.iter().find_map(|(name, value)| {
                    difference(value, &found[name], saved).map(|text| format!("{name}: {text}"))
                }),
            }
        }
        _ => {
            let value = match resolved(wanted, saved) {
                Ok(value) => value,
                Err(why) => return Some(why),
            };
            let same = match (value.as_f64(), found.as_f64()) {
                (Some(value), Some(found)) => (value - found).abs() < f64::EPSILON,
                _ => value == found,
            };
            if same { None } else { differs(value) }
        }
    }
}

/// The value itself, or what was saved under its name.
fn resolved<'a>(value: &'a Value, saved: &'a Saved) -> Result<&'a Value, String> {
    match value.as_str().and_then(|text| text.strip_prefix('$')) {
        Some(name) => saved.get(name).ok_or_else(|| format!("nothing was saved as {name}")),
        None => Ok(value),
    }
}

fn number<T>(value: &Value, saved: &Saved, kind: fn(&Value) -> Option<T>) -> Result<T, String> {
    let value = resolved(value, saved)?;
    kind(value).ok_or_else(|| format!("{value} is demanded as a number"))
}

/// The payload an agent makes of a text and a size.
fn payload(of: &Map<String, Value>) -> Vec<u8> {
    let mut payload = of.get("text").and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec();
    let size = of.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    payload.extend((0..=250_u8).cycle().take(size.saturating_sub(payload.len())));
    payload
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differs(wanted: &Value, found: &Value) -> bool {
        let saved = Saved::from([("n".to_owned(), json!(3))]);
        difference(wanted, found, &saved).is_some()
    }

    #[test]
    fn only_what_is_demanded_counts() {
        assert!(!differs(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(!differs(&json!({}), &json!({"a": 1})));
        assert!(!differs(&json!({"a": {"b": [1, 2]}}), &json!({"a": {"b": [1, 2]}})));
        assert!(differs(&json!({"a": 1}), &json!({"a": 2})));
        assert!(differs(&json!({"a": 1}), &json!({})));
        assert!(differs(&json!("x"), &json!("y")));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(!differs(&json!(1), &json!(1.0)));
        assert!(!differs(&json!({"at_least": 2}), &json!(2)));
        assert!(differs(&json!({"at_least": 2}), &json!(1)));
        assert!(differs(&json!({"at_least": 2}), &json!(null)));
    }

    #[test]
    fn what_was_saved_can_be_demanded_and_subtracted() {
        assert!(!differs(&json!("$n"), &json!(3)));
        assert!(!differs(&json!({"minus": [10, "$n"]}), &json!(7)));
        assert!(differs(&json!({"minus": [10, "$n"]}), &json!(8)));
    }

    #[test]
    fn a_name_under_which_nothing_was_saved_is_met_by_nothing() {
        for wanted in [json!("$m"), json!({"at_least": "$m"}), json!({"minus": [3, "$m"]}), json!({"minus": []})] {
            for found in [json!(3), json!(0), json!("$m"), json!(null)] {
                assert!(differs(&wanted, &found), "{wanted} is met by {found}");
            }
        }
        assert!(differs(&json!({"at_least": "many"}), &json!(3)));
    }

    #[test]
    fn a_payload_is_demanded_by_its_text_and_size() {
        let wanted = json!({"sha256_of": {"text": "ab", "size": 4}});
        assert!(!differs(&wanted, &json!(sha256(b"ab\x00\x01"))));
        assert!(differs(&wanted, &json!(sha256(b"ab\x00\x02"))));
    }
}
