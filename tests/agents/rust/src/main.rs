//! The Rust agent of the cross-language demo and benchmark: `agent MODE ADDR …`.

mod files;
mod lane;
mod raw;
mod samples;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: agent files ADDR              (file paths on standard input)
       agent bench ADDR SIZE SECONDS
       agent stream ADDR SIZE SECONDS
       agent sink ADDR
       agent raw-echo PATH
       agent raw-bench PATH SIZE SECONDS
       agent raw-sink PATH
       agent raw-stream PATH SIZE SECONDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    match *arguments {
        ["files", address] => files::run(address),
        ["bench", address, size, seconds] => lane::bench(address, size.parse()?, duration(seconds)?),
        ["stream", address, size, seconds] => lane::stream(address, size.parse()?, duration(seconds)?),
        ["sink", address] => lane::sink(address),
        ["raw-echo", path] => raw::echo(path),
        ["raw-bench", path, size, seconds] => raw::bench(path, size.parse()?, duration(seconds)?),
        ["raw-sink", path] => raw::sink(path),
        ["raw-stream", path, size, seconds] => raw::stream(path, size.parse()?, duration(seconds)?),
        _ => Err(USAGE.into()),
    }
}

fn duration(seconds: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(seconds.parse()?)?)
}
