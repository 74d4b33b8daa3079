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
