//! `include/hostlane.h`: the C interface as cbindgen reads it from the crate `ffi/c`.

use anyhow::{Context, Result, anyhow};

use crate::workspace::Workspace;

/// The text of the header.
pub(super) fn hostlane_h(workspace: &Workspace) -> Result<String> {
    let config = cbindgen::Config::from_file(workspace.path("ffi/c/cbindgen.toml"))
        .map_err(|why| anyhow!("ffi/c/cbindgen.toml: {why}"))?;
    let bindings = cbindgen::Builder::new()
        .with_crate(workspace.path("ffi/c"))
        .with_config(config)
        .generate()
        .context("cbindgen cannot read ffi/c")?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    Ok(String::from_utf8(text)?)
}
