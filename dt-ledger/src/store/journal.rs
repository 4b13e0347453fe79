//! What was committed since the engine's own file was last brought up to date, in a file that only grows: so a commit costs one write and
//! one flush, however many rows it touches all over the engine's file.
//!
//! ```text
//! commit:      batch ─▶ journal, flushed ─▶ engine, in memory          many blocks later:  engine, flushed ─▶ journal emptied
//! after a crash:  engine as it was flushed last ◀─ the journal's records that follow on it, in order
//! ```
//!
//! A record is the head before it, its length, the batch, and the head after it: a BLAKE3 of the one before and of the batch. The engine's file holds the head up
//! to which it has come, so a record is taken up once and in its place, and never into another ledger.
//!
//! # Invariants
//! - A record is flushed before its batch is seen. What a crash leaves of a record that was not flushed is no record: its head is wrong.
//! - The journal is emptied only when the engine has flushed all that is in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use dt_model::{Digest, Domain};
use thiserror::Error;

const RECORD: Domain = Domain::new("dt/ledger/journal/v1");
/// The head before, and the length.
const BEFORE: usize = 32 + 8;
/// The head after.
const AFTER: usize = 32;

/// The file beside the engine's holds what follows on another state than the engine's: one of the two was put back, or is another ledger's.
#[derive(Debug, Error)]
#[error("the journal does not follow on what the ledger's file holds")]
pub(crate) struct OtherLedger;

/// The journal of one ledger.
pub(crate) struct Journal {
    file: File,
    length: u64,
    /// The head after the last record.
    head: Digest,
    /// Where the last record begins, and the head before it.
    last: (u64, Digest),
    /// What is there is not what should be, and could not be taken back.
    broken: bool,
}

impl Journal {
    /// Where the journal of the ledger at `ledger` lies.
    pub(crate) fn beside(ledger: &Path) -> PathBuf {
        let mut name = ledger.as_os_str().to_owned();
        name.push(".journal");
        name.into()
    }

    /// The journal at `path`, of an engine that has come to nothing yet; it is to be emptied.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        // A new file's name is durable before its content counts.
        dt_model::file::make_whole(path, |path| File::create(path)?.sync_all())?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, length: 0, head: Digest::ZERO, last: (0, Digest::ZERO), broken: false })
    }

    /// Opens the journal at `path` of an engine that has come to `head`, and gives it, in order, what follows on that. The engine is to flush
    /// it, and the journal to be emptied.
    ///
    /// # Errors
    /// What `take` or the system says, or [`OtherLedger`].
    pub(crate) fn open(
        path: &Path,
        head: Digest,
        mut take: impl FnMut(&[u8], Digest) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut journal = Self::new(path)?;
        let mut bytes = Vec::new();
        journal.file.read_to_end(&mut bytes)?;
        let found = records(&bytes);
        let reached = found.last().map_or(head, |last| last.after);
        let next = found.iter().position(|record| record.before == head);
        match next {
            Some(next) => found[next..].iter().try_for_each(|record| take(record.batch, record.after))?,
            // The engine had flushed them all before the journal was emptied.
            None if reached == head => {}
            None => return Err(io::Error::other(OtherLedger)),
        }
        journal.length = bytes.len() as u64;
        journal.head = reached;
        Ok(journal)
    }

    /// The head after the last record.
    pub(crate) const fn head(&self) -> Digest {
        self.head
    }

    /// Its bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.length
    }

    /// Adds a batch, durably; the head after it.
    ///
    /// # Errors
    /// What the system says; the batch is not there then, and if that cannot be made sure of, nothing is added any more.
    pub(crate) fn append(&mut self, batch: &[u8]) -> io::Result<Digest> {
        if self.broken {
            return Err(io::Error::other("the journal could not be written before"));
        }
        let (before, length) = (self.head, batch.len() as u64);
        let after = head_after(before, batch);
        self.last = (self.length, before);
        self.head = after;
        self.length += BEFORE as u64 + length + AFTER as u64;
        let parts: [&[u8]; 4] = [before.as_bytes(), &length.to_le_bytes(), batch, after.as_bytes()];
        let written = parts.iter().try_for_each(|part| self.file.write_all(part));
        written.and_then(|()| self.file.sync_data()).inspect_err(|_| self.take_back())?;
        Ok(after)
    }

    /// Takes the last record back, which the engine did not take.
    pub(crate) fn take_back(&mut self) {
        (self.length, self.head) = self.last;
        let taken_back = self
            .file
            .set_len(self.length)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.length)))
            .and_then(|_| self.file.sync_all());
        self.broken |= taken_back.is_err();
    }

    /// Forgets all records: the engine has flushed them.
    ///
    /// # Errors
    /// What the system says. The records are found to be done then, and nothing is added any more.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        let emptied =
            self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| self.file.sync_all());
        self.broken |= emptied.is_err();
        self.length = 0;
        emptied
    }
}

fn head_after(before: Digest, batch: &[u8]) -> Digest {
    RECORD.blake3(&[before.as_bytes(), batch])
}

struct Record<'a> {
    before: Digest,
    batch: &'a [u8],
    after: Digest,
}

/// The whole records at the beginning of `bytes`, each of which follows on the one before.
fn records(mut bytes: &[u8]) -> Vec<Record<'_>> {
    let mut found: Vec<Record<'_>> = Vec::new();
    while let Some(record) = first(bytes) {
        if found.last().is_some_and(|last| last.after != record.before) {
            break;
        }
        bytes = &bytes[BEFORE + record.batch.len() + AFTER..];
        found.push(record);
    }
    found
}

fn first(bytes: &[u8]) -> Option<Record<'_>> {
    let (before, rest) = bytes.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (batch, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (after, _) = rest.split_first_chunk::<32>()?;
    let (before, after) = (Digest::from(*before), Digest::from(*after));
    (head_after(before, batch) == after).then_some(Record { before, batch, after })
}
