//! Lets the linker leave the `napi_*` symbols to the host that loads the addon.

fn main() {
    napi_build::setup();
}
