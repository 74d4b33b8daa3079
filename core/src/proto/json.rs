//! Reading the protocol's own JSON messages.

use serde::Deserialize;

/// Reads `bytes` as one JSON object. The whole of it must be UTF-8, members nobody asks for included,
/// and an array is not taken for a struct.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err("a JSON object is expected".to_owned());
    }
    serde_json::from_str(text).map_err(|e| e.to_string())
}
