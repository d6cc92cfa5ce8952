//! Owns what an event of the log says, as text: its message and its fields. Never decides whether it is shown.

use std::fmt::{self, Debug, Display, Write as _};

use tracing::Event;
use tracing::field::{Field, Visit};

/// An event in words.
#[derive(Debug, Default)]
pub struct Said {
    /// The message.
    pub message: String,
    /// The fields, in the order of the code.
    pub fields: Vec<(&'static str, String)>,
}

impl Said {
    /// What this event says.
    pub fn of(event: &Event<'_>) -> Self {
        let mut said = Self::default();
        event.record(&mut said);
        said
    }

    fn add(&mut self, field: &Field, value: impl Display) {
        match field.name() {
            // Writing into a String cannot fail.
            "message" => drop(write!(self.message, "{value}")),
            // Where another crate's line comes from; the journal is told by its own fields.
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value.to_string())),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let space = if index == 0 && self.message.is_empty() {
                ""
            } else {
                " "
            };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}
