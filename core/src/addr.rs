//! The one address parser. Every language hands its string here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Code, Error, Result};
use crate::limits;

/// Where a listener is found.
///
/// Made by parsing; [`Display`](fmt::Display) gives a string that parses to the same address.
/// All forms parse. Using a form that this build does not carry gives `unsupported`.
///
/// ```
/// use hostlane::Address;
/// let address: Address = "unix:/run/app.sock".parse()?;
/// assert_eq!(address, "/run/app.sock".parse()?);
/// # Ok::<(), hostlane::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// `name`: a socket in the per-user runtime directory; on Windows a pipe with the user in its name.
    Name(String),
    /// `/path`, `./path`, `../path`, `unix:/path`: a Unix-domain socket, at most 100 bytes of path.
    Path(PathBuf),
    /// `unix:@name`: a Linux abstract socket; only with an authentication option.
    Abstract(String),
    /// `pipe:name`: a Windows named pipe, for the user who listens alone.
    Pipe(String),
    /// `tcp:127.0.0.1:7000`, `tcp:[::1]:7000`, `tcp::7000`: loopback only, with a secret. A listener may
    /// give port 0 for one that the system chooses.
    Tcp(SocketAddr),
    /// `tls:host:port`.
    Tls {
        /// Host name or address, without brackets.
        host: String,
        /// Port number.
        port: u16,
    },
    /// `inproc:name`: inside one process.
    Inproc(String),
    /// `stdio:`: the standard input and output of this process, once. Nothing the program prints from then
    /// on gets into the stream: descriptor 0 becomes the null device, descriptor 1 standard error.
    Stdio,
    /// `spawn:command`: a child process that serves its `stdio:`, started without a shell; the words may
    /// come from [an option](crate::ConnectOptions::command) instead. It ends with its connection, and is
    /// never killed.
    Spawn(String),
    /// `fd:3`: an inherited, connected stream socket. The number is used up: it becomes the null device.
    Fd(i32),
    /// `systemd:` or `systemd:name`: a listening socket passed by socket activation. Closing the listener
    /// leaves it, and who waits there, to the next server.
    Systemd(Option<String>),
}

impl FromStr for Address {
    type Err = Error;

    /// `invalid_address` for what fits no form, `address_too_long` for a path over 100 bytes.
    /// Nothing is ever truncated or turned into another form.
    fn from_str(text: &str) -> Result<Address> {
        if text.contains('\0') {
            return Err(invalid(text, "it contains a NUL byte"));
        }
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
            return path(text, text);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return name(text, text).map(Address::Name);
        };
        match scheme {
            "unix" => match rest.strip_prefix('@') {
                Some("") => Err(invalid(text, "the abstract name is empty")),
                Some(abstract_name) if abstract_name.len() > limits::MAX_SOCKET_PATH => {
                    Err(too_long(abstract_name, limits::MAX_SOCKET_PATH))
                }
                Some(abstract_name) => Ok(Address::Abstract(abstract_name.to_owned())),
                None => path(text, rest),
            },
            "pipe" => name(text, rest).map(Address::Pipe),
            "inproc" => name(text, rest).map(Address::Inproc),
            "tcp" => tcp(text, rest),
            "tls" => {
                let (host, port) = host_port(rest).ok_or_else(|| invalid(text, "expected tls:host:port"))?;
                Ok(Address::Tls { host, port })
            }
            "stdio" if rest.is_empty() => Ok(Address::Stdio),
            "stdio" => Err(invalid(text, "stdio: takes nothing behind the colon")),
            "spawn" => Ok(Address::Spawn(rest.to_owned())),
            "fd" => match rest.parse::<u16>() {
                Ok(number) if rest.bytes().all(|b| b.is_ascii_digit()) => Ok(Address::Fd(number.into())),
                _ => Err(invalid(text, "expected fd: and a descriptor number")),
            },
            "systemd" if rest.is_empty() => Ok(Address::Systemd(None)),
            "systemd" => name(text, rest).map(|n| Address::Systemd(Some(n))),
            _ => Err(invalid(text, "the scheme is unknown")),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Address> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Address> {
        text.parse()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Address {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Name(name) => f.write_str(name),
            Address::Path(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{name}"),
            Address::Pipe(name) => write!(f, "pipe:{name}"),
            Address::Tcp(address) => write!(f, "tcp:{address}"),
            Address::Tls { host, port } if host.contains(':') => write!(f, "tls:[{host}]:{port}"),
            Address::Tls { host, port } => write!(f, "tls:{host}:{port}"),
            Address::Inproc(name) => write!(f, "inproc:{name}"),
            Address::Stdio => f.write_str("stdio:"),
            Address::Spawn(command) => write!(f, "spawn:{command}"),
            Address::Fd(number) => write!(f, "fd:{number}"),
            Address::Systemd(name) => write!(f, "systemd:{}", name.as_deref().unwrap_or_default()),
        }
    }
}

fn path(text: &str, path: &str) -> Result<Address> {
    if path.len() > limits::MAX_SOCKET_PATH {
        return Err(too_long(path, limits::MAX_SOCKET_PATH));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(invalid(text, "the path names no file"));
    }
    Ok(Address::Path(PathBuf::from(path)))
}

/// Letters, digits, `.`, `-` and `_`, not starting with `.` or `-`: fits every system's file and
/// pipe names, and cannot leave its directory.
fn name(text: &str, name: &str) -> Result<String> {
    if name.len() > limits::MAX_NAME {
        return Err(too_long(name, limits::MAX_NAME));
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.starts_with(['.', '-']) || !name.bytes().all(good) {
        return Err(invalid(
            text,
            "a name has letters, digits, '.', '-' and '_'; a path starts with '/', './' or '../'",
        ));
    }
    Ok(name.to_owned())
}

fn tcp(text: &str, rest: &str) -> Result<Address> {
    let port_only = rest.strip_prefix(':').and_then(port);
    let address = match port_only {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => rest.parse().ok(),
    };
    address.map(Address::Tcp).ok_or_else(|| invalid(text, "expected tcp:127.0.0.1:7000, tcp:[::1]:7000 or tcp::7000"))
}

fn host_port(rest: &str) -> Option<(String, u16)> {
    let (host, number) = rest.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None if host.is_empty() || host.contains([':', '[', ']', '/', ' ']) => return None,
        None => host.to_owned(),
    };
    Some((host, port(number)?))
}

fn port(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn invalid(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(120).collect();
    Error::new(Code::InvalidAddress, format!("{shown:?} is no address: {why}"))
}

fn too_long(part: &str, limit: usize) -> Error {
    Error::new(Code::AddressTooLong, format!("{} bytes are more than the limit of {limit}", part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_parses_and_displays_itself() {
        for (text, shown) in [
            ("engine", "engine"),
            ("my.app-2_x", "my.app-2_x"),
            ("/run/a b.sock", "unix:/run/a b.sock"),
            ("./a", "unix:./a"),
            ("../a", "unix:../a"),
            ("unix:rel/a.sock", "unix:rel/a.sock"),
            ("unix:@abs/tract", "unix:@abs/tract"),
            ("pipe:name", "pipe:name"),
            ("tcp:127.0.0.1:7000", "tcp:127.0.0.1:7000"),
            ("tcp:[::1]:7000", "tcp:[::1]:7000"),
            ("tcp::7000", "tcp:127.0.0.1:7000"),
            ("tls:example.org:443", "tls:example.org:443"),
            ("tls:[::1]:443", "tls:[::1]:443"),
            ("inproc:bus", "inproc:bus"),
            ("stdio:", "stdio:"),
            ("spawn:", "spawn:"),
            ("spawn:prog --flag", "spawn:prog --flag"),
            ("fd:3", "fd:3"),
            ("systemd:", "systemd:"),
            ("systemd:web", "systemd:web"),
        ] {
            let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<Address>().unwrap(), address, "{text}");
        }
    }

    #[test]
    fn what_fits_no_form_is_invalid() {
        for text in [
            "",
            " ",
            "a b",
            ".hidden",
            "-x",
            "dir/file",
            "über",
            "a\0b",
            "/",
            "/dir/",
            "unix:",
            "unix:@",
            "pipe:",
            "pipe:a/b",
            "tcp:",
            "tcp:host:1",
            "tcp:1.2.3.4",
            "tcp::+7",
            "tcp::65536",
            "tls:",
            "tls:h",
            "tls::1",
            "tls:a:b:1",
            "inproc:",
            "stdio:x",
            "fd:",
            "fd:-1",
            "fd:+3",
            "fd:99999",
            "systemd:a/b",
            "http://x",
            "x:y",
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err().code(), Code::InvalidAddress, "{text:?}");
        }
    }

    #[test]
    fn lengths_are_exact() {
        let path = |n: usize| format!("/{}", "p".repeat(n - 1)).parse::<Address>();
        assert!(path(100).is_ok());
        assert_eq!(path(101).unwrap_err().code(), Code::AddressTooLong);
        assert_eq!(path(5000).unwrap_err().code(), Code::AddressTooLong);
        let name = |n: usize| "n".repeat(n).parse::<Address>();
        assert!(name(64).is_ok());
        assert_eq!(name(65).unwrap_err().code(), Code::AddressTooLong);
        assert_eq!(format!("unix:@{}", "a".repeat(101)).parse::<Address>().unwrap_err().code(), Code::AddressTooLong);
    }

    #[test]
    fn the_limit_that_is_told_is_the_one_that_holds() {
        for (before, limit) in [("unix:@", 100), ("unix:", 100), ("unix:@a/", 100), ("", 64), ("inproc:", 64)] {
            let error = format!("{before}{}", "a".repeat(101)).parse::<Address>().unwrap_err();
            assert_eq!(error.code(), Code::AddressTooLong);
            assert!(error.message().ends_with(&format!(" the limit of {limit}")), "{before}: {error}");
        }
    }
}
