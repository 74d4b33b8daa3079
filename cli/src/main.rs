//! The `hostlane` command line.

mod args;
mod check;
mod client;
mod command;
mod exit;
mod input;
mod logging;
mod message;
mod output;
mod server;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::logging::{LogFormat, LogLevel};
use crate::output::{Format, Output};

/// Send, receive and inspect messages between processes on one host.
#[derive(Parser)]
#[command(name = "hostlane", version, propagate_version = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How results are written [default: table on a terminal, else json]
    #[arg(long, global = true, value_enum)]
    format: Option<Format>,

    /// What is reported on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn)]
    log_level: LogLevel,

    /// How it is written there
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    Listen(command::listen::Listen),
    Send(command::send::Send),
    Request(command::request::Request),
    Stream(command::stream::Stream),
    Echo(command::echo::Echo),
    Link(command::link::Link),
    Info(command::info::Info),
    Doctor(command::doctor::Doctor),
    Check(check::Check),
    Envinfo(command::envinfo::Envinfo),
    Version(command::version::Version),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::after_parsing(&error),
    };
    logging::start(cli.log_level, cli.log_format);
    let format = cli.format.unwrap_or(if std::io::stdout().is_terminal() { Format::Table } else { Format::Json });
    match run(cli.command, &Output::new(format)) {
        Ok(exit) => exit.into(),
        Err(Failure::ReaderLeft) => Exit::Success.into(),
        Err(failure) => {
            log::error!("{failure}");
            failure.exit().into()
        }
    }
}

fn run(command: Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Listen(listen) => listen.run(output),
        Command::Send(send) => send.run(output),
        Command::Request(request) => request.run(output),
        Command::Stream(stream) => stream.run(output),
        Command::Echo(echo) => echo.run(),
        Command::Link(link) => link.run(output),
        Command::Info(info) => info.run(output),
        Command::Doctor(doctor) => doctor.run(output),
        Command::Check(check) => check.run(output),
        Command::Envinfo(envinfo) => envinfo.run(output),
        Command::Version(version) => version.run(output),
    }
}
