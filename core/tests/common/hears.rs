//! A subscriber of `tracing`: all that it has to have beside what is done with an event.

use std::fmt::Debug;

use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The fields of an event: names, and values as `Debug` shows them.
pub type Fields = Vec<(&'static str, String)>;

/// Hears the library's events, up to the level `most`.
pub struct Hears<F> {
    pub most: Level,
    pub hear: F,
}

impl<F: Fn(Level, Fields) + Send + Sync + 'static> Subscriber for Hears<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "hostlane" && *metadata.level() <= self.most
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut |field: &Field, value: &dyn Debug| fields.push((field.name(), format!("{value:?}"))));
        (self.hear)(*event.metadata().level(), fields);
    }
}

/// `name=value`, each with a space behind it.
pub fn shown(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}
