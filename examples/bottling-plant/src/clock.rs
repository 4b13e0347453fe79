//! The story's time: simulated, never going back, remembered across a crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dt_model::{Timestamp, file};

use crate::Failure;

/// A clock that moves when it is told to.
pub(crate) struct Clock {
    now: AtomicU64,
    file: PathBuf,
}

impl Clock {
    /// The clock of the run in `folder`: where it stood, but at least at `start`.
    pub(crate) fn open(folder: &Path, start: Timestamp) -> Result<Self, Failure> {
        let file = folder.join("clock");
        let stood = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|_| format!("{}: not a time", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        };
        let clock = Self { now: AtomicU64::new(start.as_millis().max(stood)), file };
        clock.save(clock.now())?;
        Ok(clock)
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    /// Lets time pass. It is written down before anybody sees it, so that a run that goes on never goes back.
    pub(crate) fn advance(&self, millis: u64) -> Result<Timestamp, Failure> {
        let now = Timestamp::from_millis(self.now().as_millis() + millis);
        self.save(now)?;
        self.now.store(now.as_millis(), Ordering::SeqCst);
        Ok(now)
    }

    fn save(&self, now: Timestamp) -> Result<(), Failure> {
        file::write_private(&self.file, now.as_millis().to_string().as_bytes())
            .map_err(|error| format!("{}: {error}", self.file.display()).into())
    }
}
