//! Arguments that several commands share.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hostlane::schema::SchemaSet;
use hostlane::{Address, Channel, Code, ConnectOptions, Error, Level, ListenOptions, Secret, limits};
use rustix::fs::{Mode, OFlags};

use crate::exit::Failure;

/// What is sent: exactly one source.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Payload {
    /// A JSON text; it is checked and sent as written
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    json: Option<String>,

    /// A text, sent as it is
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    data: Option<String>,

    /// The bytes of a file
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,

    /// A text, sent as it is; - for the bytes of standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
}

impl Payload {
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        if let Some(json) = &self.json {
            return match serde_json::from_str::<serde::de::IgnoredAny>(json) {
                Ok(_) => Ok(json.clone().into_bytes()),
                Err(error) => Err(Failure::usage(format!("--json: not valid JSON: {error}"))),
            };
        }
        if let Some(data) = self.data.as_ref().or(self.text.as_ref().filter(|text| *text != "-")) {
            return Ok(data.clone().into_bytes());
        }
        let (name, bytes) = match &self.file {
            Some(path) => {
                let name = path.display().to_string();
                let bytes = File::open(path).and_then(bounded);
                (name, bytes)
            }
            None => ("standard input".into(), bounded(io::stdin().lock())),
        };
        let bytes = bytes.map_err(|error| Failure::file(&name, &error))?;
        if bytes.len() > limits::MAX_MESSAGE {
            let message = format!("{name}: larger than a message of {} bytes", limits::MAX_MESSAGE);
            return Err(Error::new(Code::PayloadTooLarge, message).into());
        }
        Ok(bytes)
    }
}

/// Reads at most one byte more than a message takes, however long the input is.
fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(limits::MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The directory of `--schema`.
#[derive(Args)]
pub(crate) struct Schema {
    /// Check payloads against DIR: command|data|telemetry|error.schema.json, channel_300.schema.json
    #[arg(long = "schema", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Schema {
    pub(crate) fn load(&self) -> Result<Option<SchemaSet>, Failure> {
        Ok(self.directory.as_ref().map(SchemaSet::from_directory).transpose()?)
    }

    /// Loads the schemas, if any, and checks one payload.
    pub(crate) fn check(&self, channel: Channel, payload: &[u8]) -> Result<(), Failure> {
        if let Some(set) = self.load()? {
            set.validate(channel, payload).map_err(Error::from)?;
        }
        Ok(())
    }
}

/// How the connection is to be.
#[derive(Args)]
pub(crate) struct Wire {
    /// Wire level to agree on: the highest both sides speak, that of stock ipcprims peers, or hostlane's own
    #[arg(long, value_name = "L", value_enum, default_value_t = WireLevel::Auto)]
    level: WireLevel,

    #[command(flatten)]
    keepalive: Keepalive,
}

/// How a connection is known to be alive.
#[derive(Args)]
pub(crate) struct Keepalive {
    /// Ask for a sign of life when nothing arrives for D, and end the connection when none comes; level 1
    #[arg(long = "keepalive", value_name = "D", value_parser = duration)]
    every: Option<Duration>,
}

impl Keepalive {
    /// Puts it into `options`.
    pub(crate) fn apply<O: Settings>(&self, options: O) -> O {
        match self.every {
            Some(every) => options.keepalive(every),
            None => options,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WireLevel {
    Auto,
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
}

impl Wire {
    /// Puts it into `options`.
    pub(crate) fn apply<O: Settings>(&self, options: O) -> O {
        let options = match self.level {
            WireLevel::Auto => options,
            WireLevel::Zero => options.level(Level::Zero),
            WireLevel::One => options.level(Level::One),
        };
        self.keepalive.apply(options)
    }
}

/// Whom this side trusts, and how it is trusted.
#[derive(Args)]
pub(crate) struct Access {
    /// Both sides prove that they have the secret in F, a file of yours that nobody else may read; it is never sent. Level 1;
    /// tcp: needs it
    #[arg(long, value_name = "F")]
    secret_file: Option<PathBuf>,

    /// The client sends the token in F, which stock level-0 peers have instead of a secret; a file like that
    #[arg(long, value_name = "F")]
    token_file: Option<PathBuf>,

    /// Accept only this user at the other end, as the kernel reports it; repeatable; unix:@name needs it or a secret
    #[arg(long = "allow-uid", value_name = "UID")]
    allow_uids: Vec<u32>,
}

/// What both kinds of options let this side set.
pub(crate) trait Settings: Sized {
    fn level(self, level: Level) -> Self;
    fn keepalive(self, every: Duration) -> Self;
    fn token(self, secret: Secret) -> Self;
    fn secret(self, secret: Secret) -> Self;
    fn uids(self, uids: &[u32]) -> Self;
}

macro_rules! settings {
    ($($options:ty),*) => {$(
        impl Settings for $options {
            fn level(self, level: Level) -> Self {
                self.level(level)
            }

            fn keepalive(self, every: Duration) -> Self {
                self.keepalive(every)
            }

            fn token(self, secret: Secret) -> Self {
                self.auth_token(secret)
            }

            fn secret(self, secret: Secret) -> Self {
                self.secret(secret)
            }

            fn uids(self, uids: &[u32]) -> Self {
                self.allow_uids(uids)
            }
        }
    )*};
}

settings!(ConnectOptions, ListenOptions);

impl Access {
    /// Puts it into `options`.
    pub(crate) fn apply<O: Settings>(&self, mut options: O) -> Result<O, Failure> {
        if let Some(file) = &self.secret_file {
            options = options.secret(Secret::new(secret_text(file)?)?);
        }
        if let Some(file) = &self.token_file {
            options = options.token(Secret::new(secret_text(file)?)?);
        }
        Ok(if self.allow_uids.is_empty() { options } else { options.uids(&self.allow_uids) })
    }
}

/// An error that asks for a secret or users says how they are given here.
pub(crate) fn with_flags(error: Error, address: &Address) -> Error {
    if error.code() != Code::AuthenticationRequired {
        return error;
    }
    let flags = match address {
        Address::Tcp(_) => "--secret-file F",
        _ => "--allow-uid UID, --secret-file F",
    };
    Error::new(error.code(), format!("{} ({flags})", error.message()))
}

/// What a file holds that nobody else may read.
pub(crate) fn secret_text(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| Failure::file(&name, &error);
    // NONBLOCK: a FIFO of that name must not hold us.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| unreadable(e.into()))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(unreadable)?;
    let denied = |why| Failure::from(Error::new(Code::PermissionDenied, format!("{name}: {why}")));
    if !meta.is_file() {
        return Err(Failure::usage(format!("{name}: not a regular file")));
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(denied("the secret belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(denied("others may read or write the secret; chmod it to 600"));
    }
    let mut text = Vec::new();
    // Two more than fit: a line end, and one that shows the secret is too long.
    file.take(limits::MAX_AUTH_TOKEN as u64 + 3).read_to_end(&mut text).map_err(unreadable)?;
    let text = String::from_utf8(text)
        .map_err(|_| Error::new(Code::InvalidUtf8, format!("{name}: the secret is not UTF-8")))?;
    // Editors end a file with a line end; it is no part of the secret.
    let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(text.to_owned())
}

/// A channel by number or by its fixed name.
pub(crate) fn channel(text: &str) -> Result<Channel, String> {
    let named =
        Channel::DEFAULT.into_iter().find(|channel| channel.name().is_some_and(|name| name.eq_ignore_ascii_case(text)));
    if let Some(channel) = named {
        return Ok(channel);
    }
    let number =
        text.parse().map_err(|_| "expected 1 to 4, 256 to 65535, or command, data, telemetry, error".to_owned())?;
    Channel::new(number).map_err(|error| error.message().to_owned())
}

/// A duration with its unit, such as `500ms` or `5s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 500ms or 5s"))
}
