//! redb behind a [journal](crate::store::journal): what is committed is in the journal and in memory at once, and in redb's file some time later.
//!
//! A block touches rows all over redb's file, and each flush would write every page that has one of them. So redb is given many blocks
//! together, each row as the last of them left it, and meanwhile the chain goes on. redb keeps step with the commits: a piece of the old rows for
//! each new ones, so that the disk has no more to do at one time than at another. Nobody waits for it, unless it falls behind by a whole segment; and
//! where there is more to do than processors, whoever makes or judges a block comes first.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use dt_model::{Digest, codec};
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::store::journal::{Journal, Segment};
use crate::store::recent::{Layer, Recent, RecentView};
use crate::store::redb::{BrokeOff, RedbView, engine, guarded, table};
use crate::store::{Batch, StoreError, StoreView, Table, Writes};

/// Bytes of a segment: enough for redb to write a page once for many blocks, and little enough for two of them to be in memory, and to be read
/// again after a crash in a moment.
const MAX_SEGMENT_BYTES: u64 = if cfg!(test) { 2048 } else { 32 * 1024 * 1024 };
/// Bytes of rows that redb is given at once: their pages stand before a commit's flush in the disk's queue.
const PIECE_BYTES: usize = if cfg!(test) { 256 } else { 1024 * 1024 };
/// Redb may be given as many bytes of old rows as are committed, and one more for each so many: it has them all when the present segment is four
/// fifths full, and until then no more to do at one time than at another.
const SPARE: u64 = 4;
/// By how much the thread that gives redb rows steps back behind all others (`nice`): it gets a tenth of what one of them does, so that the work of
/// several validators on a few processors is not late by it, and not so little that a segment is full before the other is given.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
/// Up to where redb has come in the journal.
const HEAD: TableDefinition<'static, (), [u8; 32]> = TableDefinition::new("journal");

/// A redb file and its journal.
///
/// # Invariant
/// Over redb's rows lie those of the journal's records: of the present segment the young ones, of the full one the old. So a view is whole
/// while redb is given the old ones, piece by piece.
pub(crate) struct Journaled {
    database: Arc<Database>,
    recent: Arc<RwLock<Recent>>,
    writing: Mutex<Writing>,
}

struct Writing {
    journal: Journal,
    behind: Option<Behind>,
}

/// The thread that gives redb the old rows, and then clears their segment.
struct Behind {
    thread: JoinHandle<Result<Segment, StoreError>>,
    /// Is told of the bytes that are committed meanwhile. When this is dropped, the thread waits for nothing any more.
    committed: mpsc::Sender<u64>,
}

/// How far redb may have been brought.
struct Pace {
    committed: mpsc::Receiver<u64>,
    allowed: u64,
}

impl Pace {
    /// Waits until redb may be given more than the bytes that it was given.
    fn keep(&mut self, given: u64) {
        while given > self.allowed {
            let committed = self.committed.recv().unwrap_or(u64::MAX);
            self.allowed = self.allowed.saturating_add(committed).saturating_add(committed / SPARE);
        }
    }
}

impl Journaled {
    /// Gives redb what the journal beside `path` holds that redb has not flushed.
    pub(crate) fn open(database: Database, path: &Path) -> Result<Self, StoreError> {
        let mut layer = Layer::default();
        let journal = match head(&database)? {
            None => Journal::begin(path),
            Some(head) => Journal::open(path, head, |bytes| {
                layer.apply(batch(bytes)?);
                Ok(())
            }),
        };
        let mut journal = journal.map_err(failed)?;
        bring_up(&database, &layer, journal.head(), |_| {})?;
        journal.empty().map_err(failed)?;
        let writing = Mutex::new(Writing { journal, behind: None });
        Ok(Self { database: Arc::new(database), recent: Arc::default(), writing })
    }

    pub(crate) fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        // What redb is given meanwhile is the same that lies over it.
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let engine = RedbView::new(self.database.begin_read().map_err(engine)?);
        Ok(Box::new(RecentView { recent: recent.clone(), engine: Box::new(engine) }))
    }

    pub(crate) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let tables: Vec<(&str, &Writes)> =
            batch.tables().map(|(table, writes)| (table.name(), writes)).collect();
        let bytes = codec::encoded_len(&tables) as u64;
        let mut writing = self.writing();
        let length = writing.journal.len();
        if writing.behind.as_ref().is_some_and(|behind| behind.thread.is_finished()) {
            writing.settle()?;
        }
        if length > 0 && length.saturating_add(bytes) > MAX_SEGMENT_BYTES {
            self.turn(&mut writing)?;
        }
        writing.journal.append(&tables, bytes).map_err(failed)?;
        if let Some(behind) = &writing.behind {
            // It may have come to its end just now.
            let _ = behind.committed.send(bytes);
        }
        self.recent.write().unwrap_or_else(PoisonError::into_inner).young.apply(batch);
        Ok(())
    }

    /// Goes on in the other segment, and lets redb be brought up to where the full one ends.
    fn turn(&self, writing: &mut Writing) -> Result<(), StoreError> {
        writing.settle()?;
        let head = writing.journal.head();
        let Some(full) = writing.journal.turn() else { return Err(StoreError::Engine(Box::new(BrokeOff))) };
        let layer = {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            recent.old = std::mem::take(&mut recent.young);
            recent.old.clone()
        };
        let (database, recent) = (Arc::clone(&self.database), Arc::clone(&self.recent));
        let (committed, told) = mpsc::channel();
        let mut pace = Pace { committed: told, allowed: 0 };
        let work = move || {
            step_back();
            bring_up(&database, &layer, head, |given| pace.keep(given))?;
            std::mem::take(&mut recent.write().unwrap_or_else(PoisonError::into_inner).old);
            full.clear().map_err(failed)
        };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(work);
        // Without the thread the rows stay in memory and in the journal, and nothing is added.
        let thread = thread.inspect_err(|_| writing.journal.close()).map_err(failed)?;
        writing.behind = Some(Behind { thread, committed });
        Ok(())
    }

    /// Brings redb up to date, and empties the journal.
    fn flush(&self) -> Result<(), StoreError> {
        let mut writing = self.writing();
        writing.settle()?;
        if writing.journal.len() == 0 {
            return writing.journal.empty().map_err(failed);
        }
        let young = self.recent.read().unwrap_or_else(PoisonError::into_inner).young.clone();
        bring_up(&self.database, &young, writing.journal.head(), |_| {})?;
        self.recent.write().unwrap_or_else(PoisonError::into_inner).young = Layer::default();
        writing.journal.empty().map_err(failed)
    }

    /// redb alone, with everything in it.
    pub(crate) fn database(&mut self) -> Result<&mut Database, StoreError> {
        self.flush()?;
        Arc::get_mut(&mut self.database).ok_or_else(|| StoreError::Engine(Box::new(BrokeOff)))
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        // If this fails, the journal has what is missing.
        let _ = self.flush();
    }
}

impl Writing {
    /// Waits until redb has the old rows. If it could not take them, nothing is committed any more, and redb MUST NOT be given what follows on
    /// them: the journal has all of it.
    fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(Behind { thread, committed }) = self.behind.take() {
            drop(committed);
            let cleared = thread.join().unwrap_or_else(|_| Err(StoreError::Engine(Box::new(BrokeOff))));
            let cleared = cleared.inspect_err(|_| self.journal.close())?;
            self.journal.give_back(cleared);
        }
        if self.journal.is_closed() { Err(StoreError::Engine(Box::new(BrokeOff))) } else { Ok(()) }
    }
}

/// Gives redb the rows of `layer`, durably, in pieces, and then says that it has come to `head`. After a crash it is given all of them again.
/// After each piece `pace` is told how many bytes it was given.
fn bring_up(
    database: &Database,
    layer: &Layer,
    head: Digest,
    mut pace: impl FnMut(u64),
) -> Result<(), StoreError> {
    guarded(|| {
        let mut given = 0;
        for each in Table::ALL {
            let mut next = Some(Vec::new());
            while let Some(from) = next {
                next = give(database, each, layer, &from, &mut given)?;
                pace(given);
            }
        }
        let write = database.begin_write().map_err(engine)?;
        write.open_table(HEAD).map_err(engine)?.insert((), *head.as_bytes()).map_err(engine)?;
        write.commit().map_err(engine)
    })
}

/// Gives redb a piece of a table's rows, and counts their bytes; where the next one begins.
fn give(
    database: &Database,
    of: Table,
    layer: &Layer,
    from: &[u8],
    given: &mut u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut any = false;
    layer.each(of, from, &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    });
    if !any {
        return Ok(None);
    }
    let (mut next, mut bytes, mut outcome) = (None, 0, Ok(()));
    let write = database.begin_write().map_err(engine)?;
    {
        let mut rows = write.open_table(table(of)).map_err(engine)?;
        layer.each(of, from, &mut |key, value| {
            if bytes >= PIECE_BYTES {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            let done = match value {
                Some(value) => rows.insert(key, value).map(drop),
                None => rows.remove(key).map(drop),
            };
            if let Err(error) = done {
                outcome = Err(engine(error));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }
    outcome?;
    write.commit().map_err(engine)?;
    *given += bytes as u64;
    Ok(next)
}

/// Lets all other threads go before this one, for good.
fn step_back() {
    // On Linux it is the thread that has a priority, not the process (setpriority(2)). A system that forbids it loses nothing but time.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// A batch, as a record holds it.
fn batch(bytes: &[u8]) -> io::Result<Batch> {
    let tables: Vec<(String, Writes)> = codec::decode(bytes, usize::MAX).map_err(io::Error::other)?;
    let mut batch = Batch::default();
    for (name, writes) in tables {
        let table = Table::ALL.into_iter().find(|table| table.name() == name);
        batch.extend(table.ok_or(io::ErrorKind::InvalidData)?, writes);
    }
    Ok(batch)
}

fn failed(error: io::Error) -> StoreError {
    engine(redb::Error::Io(error))
}

/// Up to where redb has come in the journal; `None` where there was none yet.
fn head(database: &Database) -> Result<Option<Digest>, StoreError> {
    let read = database.begin_read().map_err(engine)?;
    let table = match read.open_table(HEAD) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(engine)?,
    };
    let head = table.get(()).map_err(engine)?;
    Ok(head.map(|head| Digest::from(head.value())))
}

#[cfg(test)]
mod tests;
