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
pub(super) fn difference(wanted: &Value, found: &Value, saved: &Saved) -> Option<String> {
    let differs = |wanted: &dyn std::fmt::Display| Some(format!("{found} where {wanted} was due"));
    match wanted {
        Value::Object(members) => {
            let only = members.iter().next().filter(|_| members.len() == 1);
            match only.map(|(name, value)| (name.as_str(), value)) {
                Some(("at_least", least)) if found.as_f64() >= resolved(least, saved).as_f64() => None,
                Some(("at_least", least)) => differs(&format!("at least {least}")),
                Some(("minus", Value::Array(terms))) => {
                    let terms: Vec<i64> = terms.iter().filter_map(|term| resolved(term, saved).as_i64()).collect();
                    let value = terms.iter().skip(1).fold(terms.first().copied().unwrap_or(0), |sum, term| sum - term);
                    (found.as_i64() != Some(value)).then(|| format!("{found} where {value} was due"))
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
            let value = resolved(wanted, saved);
            let same = match (value.as_f64(), found.as_f64()) {
                (Some(value), Some(found)) => (value - found).abs() < f64::EPSILON,
                _ => value == found,
            };
            if same { None } else { differs(value) }
        }
    }
}

fn resolved<'a>(value: &'a Value, saved: &'a Saved) -> &'a Value {
    let name = value.as_str().and_then(|text| text.strip_prefix('$'));
    name.and_then(|name| saved.get(name)).unwrap_or(value)
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
    fn a_payload_is_demanded_by_its_text_and_size() {
        let wanted = json!({"sha256_of": {"text": "ab", "size": 4}});
        assert!(!differs(&wanted, &json!(sha256(b"ab\x00\x01"))));
        assert!(differs(&wanted, &json!(sha256(b"ab\x00\x02"))));
    }
}
