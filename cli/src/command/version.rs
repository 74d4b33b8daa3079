//! `hostlane version`.

use clap::Args;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{Output, Report, aligned};

/// Print the version
#[derive(Args)]
pub(crate) struct Version {
    /// With the facts of this build
    #[arg(long)]
    extended: bool,
}

#[derive(Serialize)]
struct Short {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Extended {
    #[serde(flatten)]
    short: Short,
    #[serde(flatten)]
    build: Build,
}

/// How this binary was built, as cargo and the compiler said at that time.
#[derive(Serialize)]
pub(crate) struct Build {
    protocol: &'static str,
    levels: &'static [u8],
    target: &'static str,
    profile: &'static str,
    opt_level: &'static str,
    debug_assertions: bool,
    rustc: &'static str,
    features: &'static [&'static str],
}

/// Version of the program and of the library in it: one workspace, one version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Build {
    pub(crate) const THIS: Build = Build {
        protocol: "ipcprims 1.0",
        levels: &[0, 1],
        target: env!("HOSTLANE_TARGET"),
        profile: env!("HOSTLANE_PROFILE"),
        opt_level: env!("HOSTLANE_OPT_LEVEL"),
        debug_assertions: cfg!(debug_assertions),
        rustc: env!("HOSTLANE_RUSTC"),
        features: &["schema"],
    };

    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let levels: Vec<String> = self.levels.iter().map(u8::to_string).collect();
        vec![
            ("protocol", self.protocol.into()),
            ("levels", levels.join(", ")),
            ("target", self.target.into()),
            ("profile", format!("{} (opt-level {})", self.profile, self.opt_level)),
            ("debug assertions", if self.debug_assertions { "on" } else { "off" }.into()),
            ("compiler", self.rustc.into()),
            ("features", self.features.join(", ")),
        ]
    }
}

impl Version {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let short = Short { name: "hostlane", version: VERSION };
        if self.extended {
            output.report(&Extended { short, build: Build::THIS })?;
        } else {
            output.report(&short)?;
        }
        Ok(Exit::Success)
    }
}

impl Report for Short {
    fn table(&self) -> String {
        format!("{} {}\n", self.name, self.version)
    }

    fn raw(&self) -> Vec<u8> {
        self.version.into()
    }
}

impl Report for Extended {
    fn table(&self) -> String {
        self.short.table() + &aligned(&self.build.rows())
    }

    fn raw(&self) -> Vec<u8> {
        self.short.raw()
    }
}
