//! Maintenance: the commands that back up, restore and verify a data directory, beside the server or without one.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::store::{self, Source, Told, Verified};

/// Time between two lines that say how far it is.
const LINES_APART: Duration = Duration::from_secs(1);

/// What these commands can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Standard output.
    #[error("standard output cannot be written: {source}")]
    Output {
        /// What the operating system said.
        #[from]
        source: std::io::Error,
    },
}

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub struct DataDirectory {
    /// Directory that holds the database
    #[arg(
        long,
        env = "GRADIENTD_DATA_DIR",
        default_value = "./gradientd-data",
        value_name = "DIRECTORY"
    )]
    pub data_dir: PathBuf,
}

/// Back up the database into one file, while a server runs on it or not.
#[derive(Args, Clone, Debug)]
pub struct Backup {
    /// File to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Of what.
    #[command(flatten)]
    pub from: DataDirectory,
}

/// Restore the database from a backup.
#[derive(Args, Clone, Debug)]
pub struct Restore {
    /// File that was backed up to
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Keep a database that is there under another name, instead of refusing
    #[arg(long)]
    pub replace: bool,
    /// To where.
    #[command(flatten)]
    pub to: DataDirectory,
}

/// Compare everything that is stored with its digests.
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// A backup to verify, in place of the database of the data directory
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Of what.
    #[command(flatten)]
    pub of: DataDirectory,
}

impl Backup {
    /// Backs up, and says what the backup has. Returns whether all of it is whole; else it is not kept.
    ///
    /// Errors: as [`store::back_up`]; standard output.
    pub async fn run(self) -> Result<bool, Error> {
        let Self { file, from } = self;
        let mut teller = Teller::new();
        let made = store::back_up(&from.data_dir, &file, &mut |told| teller.tell(&told)).await?;
        teller.sum_up(&made.verified)?;
        let (there, file) = (from.data_dir.display(), file.display());
        let mut out = std::io::stdout();
        if made.verified.damaged == 0 {
            let bytes = made.bytes;
            writeln!(out, "backed up {there} to {file}: {bytes} bytes, verified")?;
        } else {
            writeln!(out, "not backed up: a backup has to be whole")?;
        }
        Ok(made.verified.damaged == 0)
    }
}

impl Restore {
    /// Restores, and says what. Returns whether the backup is whole; else nothing is restored.
    ///
    /// Errors: as [`store::restore`]; standard output.
    pub async fn run(self) -> Result<bool, Error> {
        let Self { file, replace, to } = self;
        let mut teller = Teller::new();
        let tell = &mut |told| teller.tell(&told);
        let restored = store::restore(&file, &to.data_dir, replace, tell).await?;
        teller.sum_up(&restored.verified)?;
        let (there, file) = (to.data_dir.display(), file.display());
        let mut out = std::io::stdout();
        if restored.verified.damaged > 0 {
            writeln!(out, "not restored: the backup is damaged")?;
            return Ok(false);
        }
        writeln!(out, "restored {there} from {file}")?;
        if let Some(replaced) = restored.replaced {
            let replaced = replaced.display();
            writeln!(out, "the database that was there is kept as {replaced}")?;
        }
        Ok(true)
    }
}

impl Verify {
    /// Verifies, and says what. Returns whether all of it is whole.
    ///
    /// Errors: as [`store::verify`]; standard output.
    pub async fn run(self) -> Result<bool, Error> {
        let source = match self.file {
            Some(file) => Source::Backup(file),
            None => Source::Directory(self.of.data_dir),
        };
        let mut teller = Teller::new();
        let verified = store::verify(&source, &mut |told| teller.tell(&told)).await?;
        teller.sum_up(&verified)?;
        Ok(verified.damaged == 0)
    }
}

/// Tells what a verification finds: damage at once on standard output, how far it is now and then on standard error.
struct Teller {
    began: Instant,
    last: Instant,
    /// Why a line could not be written, which is told at the end.
    broken: Option<std::io::Error>,
}

impl Teller {
    fn new() -> Self {
        let (began, broken) = (Instant::now(), None);
        Self {
            began,
            last: began,
            broken,
        }
    }

    fn tell(&mut self, told: &Told) {
        let mut out = std::io::stdout();
        let written = match told {
            Told::Damaged { what, cure } => writeln!(out, "damaged: {what}; {cure}"),
            Told::Noted(note) => writeln!(out, "note: {note}"),
            Told::Progress { done, total } if self.last.elapsed() >= LINES_APART => {
                self.last = Instant::now();
                let (done, total) = (megabytes(*done), megabytes(*total));
                writeln!(std::io::stderr(), "verified {done:.1} of {total:.1} MB")
            }
            Told::Progress { .. } => Ok(()),
        };
        self.broken = self.broken.take().or(written.err());
    }

    fn sum_up(self, verified: &Verified) -> Result<(), Error> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        let mut out = std::io::stdout();
        for part in verified.parts.iter().filter(|part| part.count > 0) {
            writeln!(out, "{}: {}, {} bytes", part.name, part.count, part.bytes)?;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let bytes: u64 = verified.parts.iter().map(|part| part.bytes).sum();
        let found = match verified.damaged {
            0 => "whole".to_owned(),
            damaged => format!("{damaged} damaged"),
        };
        let speed = megabytes(bytes) / seconds;
        writeln!(
            out,
            "{found}: {bytes} bytes verified in {seconds:.2} s, {speed:.0} MB/s"
        )?;
        Ok(())
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
