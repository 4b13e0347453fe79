//! Reading an image, and believing nothing of it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;

use dt_aml::Document;
use dt_model::{DecodeError, Digest, TwinId, codec};
use thiserror::Error;

use super::frames::Frames;
use super::{Frame, Head, IMPORTING, MAX_FRAME_BYTES, ORIGIN};
use crate::block::{Header, store_header};
use crate::evidence::log;
use crate::evidence::log::LogHead;
use crate::history::lookup::derived_keys;
use crate::history::{trace_key, trace_list};
use crate::parallel::Threads;
use crate::record::{Specification, StateKey, TraceEntry, TraceHead};
use crate::replica::Tip;
use crate::replica::opening::{GENESIS, MAX_META_BYTES, TIP, read_meta, validators_key};
use crate::replica::pruning::FIRST;
use crate::replica::specification::{base_row, root_of};
use crate::state::decode_value;
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table};
use crate::transaction::AML_LIMITS;
use crate::tree::{self, EMPTY_ROOT};
use crate::{Checkpoint, Genesis};

/// Why an image was not imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are no image, or one of another version.
    #[error("this is no image of a replica that can be read here")]
    NoImage,
    /// A frame is longer than one can be.
    #[error("a frame of {size} bytes is longer than {MAX_FRAME_BYTES}")]
    FrameTooLarge {
        /// Bytes that it claims to have.
        size: usize,
    },
    /// A frame's bytes are not what they should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It ends before its end, or goes on after it.
    #[error("the image does not end where it should")]
    Length,
    /// A frame stands where it may not, or twice.
    #[error("the frames are out of order")]
    OutOfOrder,
    /// The head contradicts itself: a digest, a vote or a name in it is another's.
    #[error("the image's head does not hold together")]
    Head,
    /// It is of another block than the trusted one, or of another chain.
    #[error("the image is of block {height}, which is not the trusted one")]
    OtherBlock {
        /// The height at which it stands.
        height: u64,
    },
    /// The rows make another state than the trusted one.
    #[error("the rows make another state: its root is {found}, not {expected}")]
    OtherState {
        /// The trusted root.
        expected: Digest,
        /// The root that they make.
        found: Digest,
    },
    /// The specification of a twin is missing, or is not the one that the state names.
    #[error("the specification of twin {} is not the one that the state names", .0.short())]
    Specification(TwinId),
    /// The trace of a thing (by the digest of its name) is missing, or does not end as the state says.
    #[error("the trace of {} does not end as the state says", .0.short())]
    Trace(Digest),
    /// The tiles of the log do not make its root.
    #[error("the tiles at the edge of the log are not those of the trusted one")]
    Log,
    /// The store holds something already.
    #[error("the store is not empty")]
    NotEmpty,
    /// The reader did not give it.
    #[error(transparent)]
    Read(io::Error),
    /// The store did not answer, or did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Length,
            _ => Self::Read(error),
        }
    }
}

/// Bytes of rows that are written in one step. The tree's nodes come on top, some ten times as much where rows are short.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// An image whose head has been read. What it says is yet to be compared with something that is trusted.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use dt_ledger::testing::Fixture;
/// use dt_ledger::{Image, MemoryStore, Replica, Verifier};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chain = Fixture::default();
/// let _ = chain.enrol(1);
/// let mut bytes = Vec::new();
/// chain.replica().export(&mut bytes)?;
/// let next = chain.commit(&[]); // Its header is certified: it says what came of the block before.
///
/// let verifier = Verifier::new(chain.replica().genesis());
/// let store = Arc::new(MemoryStore::default());
/// let image = Image::open(&bytes[..])?;
/// assert_eq!(image.header().height + 1, next.block.header.height);
/// let certified = verifier.header(&next.block.header, &next.certificate)?;
/// image.import(&*store, &certified)?;
/// let other = Replica::load(store)?;
/// other.commit(next.block.clone(), next.certificate.clone())?;
/// assert_eq!(other.tip(), chain.replica().tip());
/// # Ok(())
/// # }
/// ```
pub struct Image<R> {
    frames: Frames<R>,
    head: Box<Head>,
}

impl<R: Read> Image<R> {
    /// Reads an image's head. Give a buffered reader.
    ///
    /// # Errors
    /// [`ImportError`]: it is no image, or its head does not hold together.
    pub fn open(from: R) -> Result<Self, ImportError> {
        let mut frames = Frames::begin(from)?;
        let Frame::Head(head) = frames.next()? else { return Err(ImportError::OutOfOrder) };
        if head.holds() { Ok(Self { frames, head }) } else { Err(ImportError::Head) }
    }

    /// The last block's header: at its height, with this digest, somebody must trust it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.head.header
    }

    /// What the chain began with, by its own account.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.head.genesis
    }

    /// Writes all of it into `store`, which [`crate::Replica::load`] then opens. Memory is bounded, whatever the image is.
    ///
    /// Only the blocks after it can be read there ([`crate::Replica::first_block`]); state, specifications and traces are all there.
    ///
    /// # Errors
    /// [`ImportError`]. A store that was not empty is as it was. One that was may be left unfinished: no replica opens it, and another
    /// import begins anew in it.
    pub fn import(mut self, store: &dyn LedgerStore, trusted: &Checkpoint) -> Result<(), ImportError> {
        let Header { chain, height, .. } = self.head.header;
        if (chain, height, self.head.header.digest()) != (trusted.chain, trusted.height, trusted.block) {
            return Err(ImportError::OtherBlock { height });
        }
        begin(store)?;
        let mut import = Import { store, batch: Batch::default(), bytes: 0 };
        let (frame, twins, traced) = import.state(&mut self.frames, &trusted.state_root)?;
        let frame = import.specifications(&mut self.frames, frame, twins)?;
        let frame = import.traces(&mut self.frames, frame, traced)?;
        let frame = import.log(&mut self.frames, frame, &trusted.log)?;
        if !matches!(frame, Frame::End) {
            return Err(ImportError::OutOfOrder);
        }
        self.frames.end()?;
        finish(import, *self.head, trusted)
    }
}

/// Marks the store as one in which an import is under way, after removing what an earlier one has left.
fn begin(store: &dyn LedgerStore) -> Result<(), ImportError> {
    let view = store.view()?;
    let unfinished = read_meta::<u8>(&*view, IMPORTING)?.is_some();
    for table in Table::ALL {
        while let Some(batch) = some_rows(&*store.view()?, table)? {
            if !unfinished {
                return Err(ImportError::NotEmpty);
            }
            store.commit(batch)?;
        }
    }
    let mut batch = Batch::default();
    batch.put(Table::Meta, IMPORTING, codec::encode(&1u8));
    Ok(store.commit(batch)?)
}

/// The removal of some rows of `table`, if it has any but the mark.
fn some_rows(view: &dyn StoreView, table: Table) -> Result<Option<Batch>, StoreError> {
    const ROWS: usize = 16 * 1024;
    let (mut batch, mut rows) = (Batch::default(), 0);
    view.scan(table, &[], &mut |key, _| {
        if (table, key) != (Table::Meta, IMPORTING) {
            batch.remove(table, key);
            rows += 1;
        }
        if rows < ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((rows > 0).then_some(batch))
}

/// Makes a replica of the rows: with this step it is one.
fn finish(import: Import<'_>, head: Head, trusted: &Checkpoint) -> Result<(), ImportError> {
    let Import { store, mut batch, .. } = import;
    let Checkpoint { height, block, state_root, receipts_root, log, .. } = *trusted;
    let tip = Tip {
        height,
        block,
        time: head.header.time,
        state_root,
        receipts_root,
        log,
        validators: head.next_validators.clone(),
        resting: head.header.resting.clone(),
    };
    store_header(&mut batch, &head.header, &head.certificate);
    batch.put(Table::Index, validators_key(height), codec::encode(&head.validators));
    if head.next_validators != head.validators {
        batch.put(Table::Index, validators_key(height + 1), codec::encode(&head.next_validators));
    }
    batch.put(Table::Meta, FIRST, codec::encode(&(height + 1)));
    batch.put(Table::Meta, GENESIS, codec::encode(&head.genesis));
    batch.put(Table::Meta, ORIGIN, codec::encode(&head));
    batch.put(Table::Meta, TIP, codec::encode(&tip));
    batch.remove(Table::Meta, IMPORTING);
    Ok(store.commit(batch)?)
}

/// Rows on their way into the store, in steps.
struct Import<'a> {
    store: &'a dyn LedgerStore,
    batch: Batch,
    /// Bytes in the batch.
    bytes: usize,
}

impl Import<'_> {
    /// The rows of the state and its tree; the first frame after them, and how many twins and traced things there are.
    fn state(
        &mut self,
        frames: &mut Frames<impl Read>,
        expected: &Digest,
    ) -> Result<(Frame, u64, u64), ImportError> {
        let (mut root, mut twins, mut traced) = (EMPTY_ROOT, 0, 0);
        let (mut rows, mut bytes) = (BTreeMap::new(), 0);
        let mut last: Option<Vec<u8>> = None;
        let rest = loop {
            let (key, value) = match frames.next()? {
                Frame::State(key, value) => (key, value),
                other => break other,
            };
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(ImportError::OutOfOrder);
            }
            match codec::decode(&key, MAX_META_BYTES)? {
                StateKey::Specification(_) => twins += 1,
                StateKey::Trace(_) | StateKey::Document(..) => traced += 1,
                _ => {}
            }
            last = Some(key.clone());
            bytes += key.len() + value.len();
            rows.insert(key, Some(value));
            if bytes >= STEP_BYTES {
                root = self.write_state(std::mem::take(&mut rows))?;
                bytes = 0;
            }
        };
        if !rows.is_empty() {
            root = self.write_state(rows)?;
        }
        if root == *expected {
            Ok((rest, twins, traced))
        } else {
            Err(ImportError::OtherState { expected: *expected, found: root })
        }
    }

    fn write_state(&mut self, rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<Digest, StoreError> {
        let mut batch = Batch::default();
        let root = tree::update(&*self.store.view()?, &rows, &mut batch, Threads::ONE)?;
        for (key, value) in rows {
            let Some(value) = value else { continue };
            let decoded = StateKey::from_bytes(&key);
            for derived in decoded.map_or(Ok(Vec::new()), |key| derived_keys(&key, &value))? {
                batch.put(Table::Index, derived, Vec::new());
            }
            batch.put(Table::State, key, value);
        }
        self.store.commit(batch)?;
        Ok(root)
    }

    /// The specifications, each as the base of those to come; the first frame after them.
    fn specifications(
        &mut self,
        frames: &mut Frames<impl Read>,
        mut frame: Frame,
        mut twins: u64,
    ) -> Result<Frame, ImportError> {
        let state = self.store.view()?;
        let mut last: Option<TwinId> = None;
        while let Frame::Specification(twin, aml) = frame {
            if last.is_some_and(|last| last >= twin) {
                return Err(ImportError::OutOfOrder);
            }
            last = Some(twin);
            let wrong = || ImportError::Specification(twin);
            let stands: Specification = row(&*state, &StateKey::Specification(twin))?.ok_or_else(wrong)?;
            let document = Document::parse(&aml, &AML_LIMITS).map_err(|_| wrong())?;
            if root_of(&document) != stands.root {
                return Err(wrong());
            }
            twins -= 1;
            let (key, value) = base_row(twin, stands.version, aml);
            self.put(Table::Specifications, key, value)?;
            frame = frames.next()?;
        }
        if twins == 0 { Ok(frame) } else { Err(ImportError::OutOfOrder) }
    }

    /// The traces, each up to its head in the state; the first frame after them.
    fn traces(
        &mut self,
        frames: &mut Frames<impl Read>,
        mut frame: Frame,
        mut traced: u64,
    ) -> Result<Frame, ImportError> {
        let state = self.store.view()?;
        let mut open: Option<Trace> = None;
        while let Frame::Trace(entry) = frame {
            let list = trace_list(&entry.resource);
            let mut trace = match open.take() {
                Some(trace) if trace.list == list => trace,
                before => {
                    if before.as_ref().is_some_and(|before| before.list >= list) {
                        return Err(ImportError::OutOfOrder);
                    }
                    before.map_or(Ok(()), Trace::close)?;
                    let resource = entry.resource.digest();
                    let wrong = || ImportError::Trace(resource);
                    let head = state.get(Table::State, &entry.resource.head_key().to_bytes())?;
                    let head = entry.resource.head_in(&head.ok_or_else(wrong)?).map_err(|_| wrong())?;
                    traced -= 1;
                    Trace { list, resource, ends: head, so_far: TraceHead::BEGINNING }
                }
            };
            trace.extend(&entry)?;
            self.put(Table::Index, trace_key(&trace.list, entry.number), codec::encode(&entry))?;
            open = Some(trace);
            frame = frames.next()?;
        }
        open.map_or(Ok(()), Trace::close)?;
        if traced == 0 { Ok(frame) } else { Err(ImportError::OutOfOrder) }
    }

    /// The tiles at the edge of the log, to which the next transactions are appended; the first frame after them.
    fn log(
        &mut self,
        frames: &mut Frames<impl Read>,
        mut frame: Frame,
        head: &LogHead,
    ) -> Result<Frame, ImportError> {
        for (key, length) in log::edge(head) {
            let Frame::Log(tile) = frame else { return Err(ImportError::OutOfOrder) };
            if tile.len() != length {
                return Err(ImportError::Log);
            }
            self.batch.put(Table::Log, key, tile);
            frame = frames.next()?;
        }
        self.bytes = 0;
        self.store.commit(std::mem::take(&mut self.batch))?;
        match log::load(&*self.store.view()?, *head) {
            Err(StoreError::Damaged { .. }) => Err(ImportError::Log),
            other => Ok(other.map(|_| frame)?),
        }
    }

    /// Puts a row into the store, sooner or later.
    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.bytes += key.len() + value.len();
        self.batch.put(table, key, value);
        if self.bytes < STEP_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        self.store.commit(std::mem::take(&mut self.batch))
    }
}

/// The value at `key` of the state.
fn row<T: borsh::BorshSerialize + borsh::BorshDeserialize>(
    state: &dyn StoreView,
    key: &StateKey,
) -> Result<Option<T>, StoreError> {
    state.get(Table::State, &key.to_bytes())?.map(|bytes| decode_value(key, &bytes)).transpose()
}

/// A trace that is being read, and how it must end.
struct Trace {
    list: Vec<u8>,
    resource: Digest,
    ends: TraceHead,
    so_far: TraceHead,
}

impl Trace {
    fn extend(&mut self, entry: &TraceEntry) -> Result<(), ImportError> {
        let follows = entry.previous == self.so_far.last && entry.number == self.so_far.count + 1;
        self.so_far = TraceHead::after(entry);
        if follows && entry.number <= self.ends.count {
            Ok(())
        } else {
            Err(ImportError::Trace(self.resource))
        }
    }

    fn close(self) -> Result<(), ImportError> {
        if self.so_far == self.ends { Ok(()) } else { Err(ImportError::Trace(self.resource)) }
    }
}
