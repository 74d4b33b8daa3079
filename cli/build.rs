//! Hands the facts only cargo and the compiler know to `version --extended` and `envinfo`.

use std::env;
use std::process::Command;

fn main() {
    for (name, from) in
        [("HOSTLANE_TARGET", "TARGET"), ("HOSTLANE_PROFILE", "PROFILE"), ("HOSTLANE_OPT_LEVEL", "OPT_LEVEL")]
    {
        println!("cargo::rustc-env={name}={}", env::var(from).expect("cargo sets it"));
    }
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("rustc speaks UTF-8");
    println!("cargo::rustc-env=HOSTLANE_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
