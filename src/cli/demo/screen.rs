//! Standard output, and whether a person looks at it.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::Error;

/// Where the demo speaks.
#[derive(Debug)]
pub(super) struct Screen {
    out: io::Stdout,
    terminal: bool,
}

impl Screen {
    /// A terminal only if both standard output and standard error are one: the progress bar is drawn on the latter.
    pub(super) fn open() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal() && io::stderr().is_terminal();
        Self { out, terminal }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(super) fn say(&self, text: &str) -> Result<(), Error> {
        let mut out = self.out.lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A line that opens a part of the story; bold on a terminal.
    pub(super) fn title(&self, text: &str) -> Result<(), Error> {
        self.say(&if self.terminal {
            format!("\n\x1b[1m{text}\x1b[0m")
        } else {
            format!("\n{text}")
        })
    }
}
