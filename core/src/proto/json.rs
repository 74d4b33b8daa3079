//! Reading the protocol's own JSON messages.

use serde::Deserialize;

use crate::limits::MAX_JSON_DEPTH;

/// Reads `bytes` as one JSON object. The whole of it must be UTF-8 and of bounded depth, members nobody
/// asks for included, and an array is not taken for a struct.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err("a JSON object is expected".to_owned());
    }
    if depth(text) > MAX_JSON_DEPTH {
        return Err(format!("it nests deeper than {MAX_JSON_DEPTH} levels"));
    }
    // The parser's own text may quote the value, and the value may be a secret.
    serde_json::from_str(text).map_err(|e| {
        let what = match e.classify() {
            serde_json::error::Category::Data => "a member is missing or has another type",
            serde_json::error::Category::Eof => "it ends early",
            _ => "it is not valid JSON",
        };
        format!("{what}, at line {} column {}", e.line(), e.column())
    })
}

/// Deepest nesting of brackets outside strings; right for whatever the parser then accepts.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct One {
        #[serde(rename = "x")]
        _x: u32,
    }

    fn refused(text: &str) -> String {
        object::<One>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn each_kind_of_fault_is_told_without_the_value() {
        for (text, told) in [
            (r#"{"x":"secret"}"#, "a member is missing or has another type"),
            (r#"{"y":1}"#, "a member is missing or has another type"),
            (r#"{"x":1"#, "it ends early"),
            (r#"{"x":secret}"#, "it is not valid JSON"),
            (r#"{"x":1} secret"#, "it is not valid JSON"),
            (r#"[{"x":1}]"#, "a JSON object is expected"),
            ("", "a JSON object is expected"),
        ] {
            let error = refused(text);
            assert!(error.starts_with(told) && !error.contains("secret"), "{text}: {error}");
        }
        assert!(object::<One>(b" \t\r\n{\"x\":1}").is_ok());
        assert!(object::<One>(b"{\"x\":1,\"y\":\"\xFF\"}").is_err());
    }

    #[test]
    fn brackets_count_outside_strings_up_to_the_limit() {
        let nested = |levels: usize| format!(r#"{{"x":1,"y":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(object::<One>(nested(MAX_JSON_DEPTH - 1).as_bytes()).is_ok());
        assert!(refused(&nested(MAX_JSON_DEPTH)).contains("deeper"));
        for text in [
            // In strings, behind quotes that end none, and one behind the other.
            format!(r#"{{"x":1,"y":"{}"}}"#, "[{".repeat(MAX_JSON_DEPTH)),
            format!(r#"{{"x":1,"y":"\"{}"}}"#, "[{".repeat(MAX_JSON_DEPTH)),
            format!(r#"{{"x":1,"y":[{}[]]}}"#, "[],".repeat(MAX_JSON_DEPTH)),
            format!(r#"{{"x":1,"y":["]]",{}[]]}}"#, "{},".repeat(MAX_JSON_DEPTH)),
        ] {
            assert!(object::<One>(text.as_bytes()).is_ok(), "{text}");
        }
        for text in [
            // A string ends at its quote, also where a backslash before it is itself escaped.
            format!(r#"{{"x":1,"y":"\\","z":{}1{}}}"#, "[".repeat(MAX_JSON_DEPTH), "]".repeat(MAX_JSON_DEPTH)),
            format!(r#"{{"x":1,"]":"]","z":{}1{}}}"#, "[".repeat(MAX_JSON_DEPTH), "]".repeat(MAX_JSON_DEPTH)),
        ] {
            assert!(refused(&text).contains("deeper"), "{text}");
        }
    }
}
