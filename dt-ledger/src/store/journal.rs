//! What was committed since the engine's own file was last brought up to date, in files that are written from their beginning to their
//! end: so a commit costs one write and one flush, however many rows it touches all over the engine's file.
//!
//! ```text
//! commit:         batch ─▶ segment, flushed ─▶ seen
//! segment full:   the other segment takes what comes ∥ engine brought up to date, flushed ─▶ full segment cleared
//! after a crash:  engine as it was flushed last ◀─ the records that follow on it, in order, of one segment and then of the other
//! ```
//!
//! A record is the head before it, its length, the batch, and the head after it: a BLAKE3 of the one before and of the batch. The engine's file holds the head up
//! to which it has come, so a record is taken up once and in its place, and never into another ledger.
//!
//! A segment that was cleared keeps its room on the disk, and what is behind its beginning; records are written over that, so that a flush
//! has nothing to tell the file system. What is left of former records follows on no head and counts for nothing.
//!
//! # Invariants
//! - A record is flushed before its batch is seen. What a crash leaves of a record that was not flushed is no record: its head is wrong.
//! - A segment is cleared only when the engine has flushed all that is in it, and the other one is not written to before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use borsh::BorshSerialize;
use dt_model::{Digest, Domain, DomainHasher};
use thiserror::Error;

const RECORD: Domain = Domain::new("dt/ledger/journal/v1");
/// The head before, and the length.
const BEFORE: usize = 32 + 8;
/// The head after.
const AFTER: usize = 32;
/// Bytes of a batch that are encoded before they are hashed and written: they stay in a core's own cache meanwhile.
const PIECE_BYTES: usize = 128 * 1024;

/// The files beside the engine's hold what follows on another state than the engine's: one of them was put back, or is another ledger's.
#[derive(Debug, Error)]
#[error("the journal does not follow on what the ledger's file holds")]
pub(crate) struct OtherLedger;

/// A file of records.
pub(crate) struct Segment {
    file: File,
    /// The bytes of its records; behind them may lie what is left of former ones.
    length: u64,
    /// Where a record's next bytes are gathered; empty between two of them.
    piece: Vec<u8>,
}

/// The journal of one ledger.
pub(crate) struct Journal {
    segment: Segment,
    /// The other one, while it is clear.
    spare: Option<Segment>,
    /// The head after the last record.
    head: Digest,
    /// What is there is not what should be, and could not be taken back.
    broken: bool,
}

/// Where the two segments of the ledger at `ledger` lie.
fn beside(ledger: &Path) -> [PathBuf; 2] {
    [".journal", ".journal2"].map(|suffix| {
        let mut name = ledger.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

impl Journal {
    /// The journal of the ledger at `ledger`, whose engine has come to nothing yet. What lies there was left by a former ledger and goes.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn begin(ledger: &Path) -> io::Result<Self> {
        let [(first, _), (second, _)] = segments(ledger)?;
        let mut journal = Self { segment: first, spare: Some(second), head: Digest::ZERO, broken: false };
        journal.empty()?;
        Ok(journal)
    }

    /// Opens the journal of the ledger at `ledger`, whose engine has come to `head`, and gives it, in order, what follows on that. The engine
    /// is to flush it, and the journal to be [emptied](Journal::empty).
    ///
    /// # Errors
    /// What `take` or the system says, or [`OtherLedger`].
    pub(crate) fn open(
        ledger: &Path,
        head: Digest,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let [(first, first_bytes), (second, second_bytes)] = segments(ledger)?;
        let mut left = vec![records(&first_bytes), records(&second_bytes)];
        left.retain(|found| !found.is_empty());
        let mut reached = head;
        let follows =
            |found: &Vec<Record<'_>>, reached| found.iter().position(|record| record.before == reached);
        while let Some((at, next)) = (0..left.len()).find_map(|at| Some((at, follows(&left[at], reached)?))) {
            let found = left.remove(at);
            found[next..].iter().try_for_each(|record| take(record.batch))?;
            reached = found.last().map_or(reached, |last| last.after);
        }
        // The engine had flushed what else is there before that was cleared.
        if left.iter().any(|found| found.last().is_some_and(|last| last.after != head)) {
            return Err(io::Error::other(OtherLedger));
        }
        Ok(Self { segment: first, spare: Some(second), head: reached, broken: false })
    }

    /// The head after the last record.
    pub(crate) const fn head(&self) -> Digest {
        self.head
    }

    /// Bytes of the records in the present segment.
    pub(crate) const fn len(&self) -> u64 {
        self.segment.length
    }

    /// Adds a batch of so many encoded bytes, durably.
    ///
    /// # Errors
    /// What the system says; the batch is not there then, and if that cannot be made sure of, nothing is added any more.
    pub(crate) fn append(&mut self, batch: &impl BorshSerialize, length: u64) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the journal could not be written before"));
        }
        match self.segment.append(self.head, batch, length) {
            Ok(after) => self.head = after,
            Err(error) => {
                self.broken |= self.segment.end_here().is_err();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Goes on in the other segment, which MUST have been given back; the full one, to be cleared when the engine has flushed what is in it.
    pub(crate) fn turn(&mut self) -> Option<Segment> {
        let spare = self.spare.take()?;
        Some(std::mem::replace(&mut self.segment, spare))
    }

    /// Takes back a segment that was cleared.
    pub(crate) fn give_back(&mut self, cleared: Segment) {
        self.spare = Some(cleared);
    }

    /// Adds nothing any more: the engine has failed.
    pub(crate) const fn close(&mut self) {
        self.broken = true;
    }

    /// Whether nothing is added any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.broken
    }

    /// Forgets all records, and gives their room back: the engine has flushed them.
    ///
    /// # Errors
    /// What the system says. The records are found to be done then, and nothing is added any more.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        let segments = std::iter::once(&mut self.segment).chain(&mut self.spare);
        let emptied = segments.map(Segment::empty).fold(Ok(()), io::Result::and);
        self.broken |= emptied.is_err();
        emptied
    }
}

impl Segment {
    /// Adds the record of a batch that follows on the head `before`; the head after it.
    fn append(&mut self, before: Digest, batch: &impl BorshSerialize, length: u64) -> io::Result<Digest> {
        self.file.write_all(before.as_bytes())?;
        self.file.write_all(&length.to_le_bytes())?;
        let Self { file, piece, .. } = self;
        piece.clear();
        let mut recording = Recording { file, piece, head: RECORD.hasher(), bytes: 0 };
        recording.head.update(before.as_bytes());
        batch.serialize(&mut recording)?;
        recording.flush()?;
        let (after, bytes) = (recording.head.finish(), recording.bytes);
        if bytes != length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all(after.as_bytes())?;
        self.file.sync_data()?;
        self.length += (BEFORE + AFTER) as u64 + length;
        Ok(after)
    }

    /// Sees to it, durably, that no record begins where the last one ends.
    fn end_here(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(&[0; BEFORE])?;
        self.file.sync_data()?;
        self.file.seek(SeekFrom::Start(self.length)).map(drop)
    }

    /// Forgets all records: the engine has flushed them.
    ///
    /// # Errors
    /// What the system says. The records are found to be done then.
    pub(crate) fn clear(mut self) -> io::Result<Self> {
        self.length = 0;
        self.end_here()?;
        Ok(self)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.sync_all()
    }
}

/// A batch on its way into a segment: hashed and counted piece by piece, so that it is nowhere whole.
struct Recording<'a> {
    file: &'a mut File,
    /// What is not hashed and written yet.
    piece: &'a mut Vec<u8>,
    head: DomainHasher,
    bytes: u64,
}

impl Recording<'_> {
    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.head.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        if bytes.len() > PIECE_BYTES {
            self.pass_on(bytes)?;
        } else {
            self.piece.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(self.piece);
        let passed = self.pass_on(&piece);
        *self.piece = piece;
        self.piece.clear();
        passed
    }
}

/// The two segments of a ledger, with what they hold.
fn segments(ledger: &Path) -> io::Result<[(Segment, Vec<u8>); 2]> {
    let open = |path: PathBuf| {
        // A new file's name is durable before its content counts.
        dt_model::file::make_whole(&path, |path| File::create(path)?.sync_all())?;
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let length = bytes.len() as u64;
        Ok::<_, io::Error>((Segment { file, length, piece: Vec::new() }, bytes))
    };
    let [first, second] = beside(ledger);
    Ok([open(first)?, open(second)?])
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
