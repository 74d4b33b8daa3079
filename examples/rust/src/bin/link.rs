//! `link ADDR NAME`: two of this program, in whatever order, greet each other; when one leaves, another may join.

// README-begin
use std::sync::Arc;
use std::{env, io, process, thread};

use hostlane::{Link, LinkOptions, Result, Wait};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, name] = &arguments[..] else {
        eprintln!("usage: link ADDR NAME");
        process::exit(64);
    };
    if let Err(error) = run(address, name) {
        eprintln!("hostlane: {error}");
        process::exit(1);
    }
    // Here until nobody types any more.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

fn run(address: &str, name: &str) -> Result<()> {
    let link = Arc::new(Link::open(address, LinkOptions::new())?);
    thread::spawn({
        let (link, name) = (Arc::clone(&link), name.to_owned());
        move || link.serve(|_, message| Ok(format!("{name} got: {}", text(message.payload())).into()))
    });
    let greeting = link.request(format!("hello from {name}"), Wait::forever())?;
    println!("{}", if link.is_serving() == Some(true) { "serving" } else { "connected" });
    println!("{}", text(greeting.payload()));
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
// README-end
