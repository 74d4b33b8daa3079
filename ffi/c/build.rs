//! Gives the shared library the SONAME that programs record when they link to it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets the package version");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libhostlane.so.{major}");
    }
}
