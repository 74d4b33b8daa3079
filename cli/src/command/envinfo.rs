//! `hostlane envinfo`: what a bug report needs.

use std::env;

use clap::Args;
use hostlane::limits;
use serde::Serialize;

use crate::command::version::{Build, VERSION};
use crate::exit::{Exit, Failure};
use crate::logging::printable;
use crate::output::{Output, Report, aligned};

/// Print the environment: build, platform, runtime directory, limits
#[derive(Args)]
pub(crate) struct Envinfo {}

#[derive(Serialize)]
struct Facts {
    version: &'static str,
    build: Build,
    platform: Platform,
    runtime_directory: String,
    environment: Environment,
    limits: Limits,
}

#[derive(Serialize)]
struct Platform {
    os: &'static str,
    arch: &'static str,
    system: String,
    uid: u32,
    pid: i32,
}

/// The only variables that change what hostlane does.
#[derive(Serialize)]
struct Environment {
    #[serde(rename = "XDG_RUNTIME_DIR")]
    runtime_dir: Option<String>,
    #[serde(rename = "TMPDIR")]
    temp_dir: Option<String>,
}

#[derive(Serialize)]
struct Limits {
    message_bytes: usize,
    handshake_timeout_ms: u128,
    half_open_handshakes: usize,
    socket_path_bytes: usize,
    open_files: Option<u64>,
}

impl Envinfo {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let system = rustix::system::uname();
        output.report(&Facts {
            version: VERSION,
            build: Build::THIS,
            platform: Platform {
                os: env::consts::OS,
                arch: env::consts::ARCH,
                system: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
                uid: rustix::process::geteuid().as_raw(),
                pid: rustix::process::getpid().as_raw_nonzero().get(),
            },
            runtime_directory: hostlane::runtime_directory().display().to_string(),
            environment: Environment { runtime_dir: variable("XDG_RUNTIME_DIR"), temp_dir: variable("TMPDIR") },
            limits: Limits {
                message_bytes: limits::MAX_MESSAGE,
                handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT.as_millis(),
                half_open_handshakes: limits::MAX_HALF_OPEN,
                socket_path_bytes: limits::MAX_SOCKET_PATH,
                open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            },
        })?;
        Ok(Exit::Success)
    }
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Report for Facts {
    fn table(&self) -> String {
        let shown = |variable: &Option<String>| variable.clone().unwrap_or_else(|| "not set".into());
        let Platform { os, arch, system, uid, pid } = &self.platform;
        let mut rows = vec![("version", self.version.to_owned())];
        rows.extend(self.build.rows());
        rows.extend([
            ("platform", format!("{os} {arch}, {system}")),
            ("process", format!("uid {uid}, pid {pid}")),
            ("runtime directory", self.runtime_directory.clone()),
            ("XDG_RUNTIME_DIR", shown(&self.environment.runtime_dir)),
            ("TMPDIR", shown(&self.environment.temp_dir)),
            ("largest message", format!("{} bytes", self.limits.message_bytes)),
            ("handshake limit", format!("{} ms", self.limits.handshake_timeout_ms)),
            ("half-open limit", self.limits.half_open_handshakes.to_string()),
            ("socket path limit", format!("{} bytes", self.limits.socket_path_bytes)),
            ("open files limit", self.limits.open_files.map_or("none".into(), |limit| limit.to_string())),
        ]);
        rows.iter_mut().for_each(|(_, value)| *value = printable(value));
        aligned(&rows)
    }

    fn raw(&self) -> Vec<u8> {
        self.table().into_bytes()
    }
}
