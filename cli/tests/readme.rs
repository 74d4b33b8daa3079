//! The examples that README.md shows.

mod common;

use std::env;
use std::process::Command;

use common::{Place, binary, finish};

#[test]
fn the_examples_do_what_is_said() {
    let place = Place::new();
    let own = binary().parent().unwrap().to_path_buf();
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap()))).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readme/examples.sh");
    let done = finish(Command::new("sh").arg(script).env("PATH", path).current_dir(place.path(".")), b"").expect(0);
    assert_eq!(done.text(), "hello1\n2\n3\n");
}
