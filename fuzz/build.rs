//! The random calls, which are in C.

fn main() {
    const FOLDER: &str = "../tests/c/random";
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-changed=../include/hostlane.h");
    cc::Build::new()
        .files(["calls.c", "world.c"].map(|name| format!("{FOLDER}/{name}")))
        .include("../include")
        .std("c11")
        .define("_GNU_SOURCE", None)
        .warnings_into_errors(true)
        .compile("random_calls");
}
