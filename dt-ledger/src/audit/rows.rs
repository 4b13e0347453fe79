//! Comparing what is stored, row by row, with what must be there.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use dt_model::{Digest, PartyId, codec};

use super::{AuditError, Audited};
use crate::block::{Block, CommitCertificate, Header, body_key, validators_digest};
use crate::evidence::log;
use crate::history::Place;
use crate::replica::Tip;
use crate::replica::image::ORIGIN;
use crate::replica::opening::{GENESIS, MAX_META_BYTES, OpenReplicaError, TIP, validators_key};
use crate::replica::pruning::FIRST;
use crate::replica::specification::rebuild;
use crate::store::{Row, StoreError, StoreView, Table};

/// Rows that are read ahead.
const CHUNK: usize = 1024;

/// Compares all rows of the audited store with those that a replay of its chain since `start` has led to; how many there are.
pub(super) fn compare(audited: &Audited, replayed: &dyn StoreView, start: &Tip) -> Result<u64, AuditError> {
    let mut count = 0;
    for table in Table::ALL {
        count += match table {
            Table::Blocks => headers(audited, start)?,
            Table::Specifications => specifications(&*audited.view)?,
            Table::Pending => pending(audited)?,
            Table::Meta => meta(audited, replayed)?,
            Table::Log => tiles(audited, replayed, start)?,
            Table::Index => walk(&*audited.view, replayed, table, &mut |excuse| {
                start.height > 0 && is_of_before(excuse, audited, start.height)
            })?,
            Table::State | Table::Tree => walk(&*audited.view, replayed, table, &mut |_| false)?,
        };
    }
    Ok(count)
}

/// The tiles of the log. A replica that came from an image has none but those at its edge, which must make the root; what both have is
/// the same.
fn tiles(audited: &Audited, replayed: &dyn StoreView, start: &Tip) -> Result<u64, AuditError> {
    log::load(&*audited.view, audited.tip.log).map_err(|error| match error {
        StoreError::Damaged { table, key } => AuditError::Row { table, key },
        other => other.into(),
    })?;
    walk(&*audited.view, replayed, Table::Log, &mut |_| start.height > 0)
}

/// A row that one of two stores lacks.
pub(super) enum Excuse<'a> {
    /// The audited store has it.
    Added(&'a [u8], &'a [u8]),
    /// The audited store lacks it.
    Missing(&'a [u8], &'a [u8]),
}

/// Compares the rows of `table`, but for those that are excused; how many are stored.
fn walk(
    stored: &dyn StoreView,
    expected: &dyn StoreView,
    table: Table,
    excused: &mut dyn FnMut(Excuse<'_>) -> bool,
) -> Result<u64, AuditError> {
    let (count, wrong) = first_difference(stored, expected, table, excused)?;
    wrong.map_or(Ok(count), |key| Err(AuditError::Row { table, key }))
}

/// How many rows of `table` are stored up to the first that is not as expected, and its key.
pub(super) fn first_difference(
    stored: &dyn StoreView,
    expected: &dyn StoreView,
    table: Table,
    excused: &mut dyn FnMut(Excuse<'_>) -> bool,
) -> Result<(u64, Option<Vec<u8>>), StoreError> {
    let mut expected = Ahead { view: expected, table, rows: VecDeque::new(), from: Some(Vec::new()) };
    let (mut count, mut wrong) = (0, Ok(None));
    stored.scan(table, &[], &mut |key, value| {
        count += 1;
        wrong = expected.meet(key, value, excused);
        if matches!(wrong, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut wrong = wrong?;
    while let (None, Some((key, value))) = (&wrong, expected.pop()?) {
        if !excused(Excuse::Missing(&key, &value)) {
            wrong = Some(key);
        }
    }
    Ok((count, wrong))
}

/// The rows of a table in order, read some at a time.
struct Ahead<'a> {
    view: &'a dyn StoreView,
    table: Table,
    rows: VecDeque<Row>,
    /// Where to read on; `None` after the last.
    from: Option<Vec<u8>>,
}

impl Ahead<'_> {
    /// The key at which the stored row and the expected ones part, if they do.
    fn meet(
        &mut self,
        key: &[u8],
        value: &[u8],
        excused: &mut dyn FnMut(Excuse<'_>) -> bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        while let Some((next, expected)) = self.pop()? {
            if next == key {
                return Ok((expected != value).then_some(next));
            }
            if next.as_slice() > key {
                self.rows.push_front((next, expected));
                break;
            }
            if !excused(Excuse::Missing(&next, &expected)) {
                return Ok(Some(next));
            }
        }
        Ok((!excused(Excuse::Added(key, value))).then(|| key.to_vec()))
    }

    fn pop(&mut self) -> Result<Option<Row>, StoreError> {
        if self.rows.is_empty()
            && let Some(from) = self.from.take()
        {
            self.view.scan(self.table, &from, &mut |key, value| {
                self.rows.push_back((key.to_vec(), value.to_vec()));
                if self.rows.len() < CHUNK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if self.rows.len() == CHUNK {
                self.from = self.rows.back().map(|(last, _)| [last.as_slice(), &[0]].concat());
            }
        }
        Ok(self.rows.pop_front())
    }
}

/// Whether a row of the index that only one store has belongs to a block at or before the height at which the replay began: which of
/// them a store has depends on how it came about. Traces are the same everywhere.
fn is_of_before(excuse: Excuse<'_>, audited: &Audited, start: u64) -> bool {
    let (key, place, first) = match excuse {
        Excuse::Added(key, place) => (key, place, audited.first),
        Excuse::Missing(key, place) => (key, place, 1),
    };
    let place = match key {
        [b't', ..] => codec::decode::<(u64, u32)>(place, MAX_META_BYTES).ok().map(|(height, _)| height),
        [b'e' | b'p' | b'w' | b'c', ..] => key
            .last_chunk::<{ Place::LEN }>()
            .and_then(|place| Place::from_bytes(place))
            .map(|place| place.height),
        [b'v', height @ ..] => {
            let height = <[u8; 8]>::try_from(height).map(|height| !u64::from_be_bytes(height));
            return height
                .is_ok_and(|height| height <= start + 1 && height >= first.min(audited.first_header));
        }
        _ => None,
    };
    place.is_some_and(|height| (first..=start).contains(&height))
}

/// The keys of the blocks. What the replay went through is compared; of the headers before, that each leads to the next, and names the
/// validators that the index names.
fn headers(audited: &Audited, start: &Tip) -> Result<u64, AuditError> {
    let mut before = Before { start, validators: validators_before(audited, start)?, last: None };
    let mut count = 0;
    let mut wrong = None;
    let mut next = audited.first_header;
    let mut body: Option<u64> = None;
    audited.view.scan(Table::Blocks, &[], &mut |key, value| {
        count += 1;
        let is_right = match body.take() {
            Some(height) => key == body_key(height),
            None => {
                let is_header = key == next.to_be_bytes() && next <= audited.tip.height;
                let is_right = is_header && (next > start.height || before.leads_on(next, value));
                body = (next >= audited.first).then_some(next);
                next += 1;
                is_right
            }
        };
        wrong = (!is_right).then(|| key.to_vec());
        if is_right { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let missing = body.map(body_key);
    let missing = missing.or_else(|| (next <= audited.tip.height).then(|| next.to_be_bytes().to_vec()));
    match wrong.or(missing) {
        Some(key) => Err(AuditError::Row { table: Table::Blocks, key }),
        None => Ok(count),
    }
}

/// The headers before the replay began.
struct Before<'a> {
    start: &'a Tip,
    /// The digest of the validators from each height on.
    validators: BTreeMap<u64, Digest>,
    /// The digest of the last header.
    last: Option<Digest>,
}

impl Before<'_> {
    /// Whether the header at `height` builds on the last and names the next block's validators; and is the trusted one in the end.
    fn leads_on(&mut self, height: u64, value: &[u8]) -> bool {
        let Ok((header, _)) = codec::decode::<(Header, CommitCertificate)>(value, usize::MAX) else {
            return false;
        };
        let digest = header.digest();
        let builds_on = self.last.replace(digest).is_none_or(|last| last == header.previous);
        let named = self.validators.range(..=height + 1).next_back().map(|(_, validators)| *validators);
        builds_on
            && header.height == height
            && named == Some(header.next_validators)
            && (height < self.start.height || digest == self.start.block)
    }
}

/// The validators that the index names, from the first header up to the first block of the replay.
fn validators_before(audited: &Audited, start: &Tip) -> Result<BTreeMap<u64, Digest>, AuditError> {
    let mut sets = BTreeMap::new();
    let mut wrong = None;
    audited.view.scan(Table::Index, &validators_key(start.height + 1), &mut |key, value| {
        let Some((b'v', height)) = key.split_first() else { return ControlFlow::Break(()) };
        let height = <[u8; 8]>::try_from(height).map(|height| !u64::from_be_bytes(height));
        match (height, codec::decode::<Vec<PartyId>>(value, MAX_META_BYTES)) {
            (Ok(height), Ok(validators)) => {
                sets.insert(height, validators_digest(&validators));
                ControlFlow::Continue(())
            }
            _ => {
                wrong = Some(key.to_vec());
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(sets), |key| Err(AuditError::Row { table: Table::Index, key }))
}

/// The specifications: whatever base and edits they are kept as, they make the documents that the state names.
fn specifications(stored: &dyn StoreView) -> Result<u64, AuditError> {
    let row = |key| AuditError::Row { table: Table::Specifications, key };
    rebuild(stored).map_err(|error| match error {
        OpenReplicaError::Specification(twin) => row(twin.as_bytes().to_vec()),
        OpenReplicaError::Store(StoreError::Damaged { table: Table::Specifications, key }) => row(key),
        other => other.into(),
    })?;
    let mut count = 0;
    stored.scan(Table::Specifications, &[], &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// What is proposed is nobody's yet; but it is a block for the next height.
fn pending(audited: &Audited) -> Result<u64, AuditError> {
    let next = audited.tip.height + 1;
    let mut count = 0;
    let mut wrong = None;
    audited.view.scan(Table::Pending, &[], &mut |key, value| {
        count += 1;
        // By its round, or by its digest.
        let is_right = [8 + 4, 8 + 32].contains(&key.len())
            && key.starts_with(&next.to_be_bytes())
            && codec::decode::<Block>(value, usize::MAX)
                .is_ok_and(|block| block.header.height == next && block.header.previous == audited.tip.block);
        wrong = (!is_right).then(|| key.to_vec());
        if is_right { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    wrong.map_or(Ok(count), |key| Err(AuditError::Row { table: Table::Pending, key }))
}

/// What the ledger knows of itself; how it came about is its own affair.
fn meta(audited: &Audited, replayed: &dyn StoreView) -> Result<u64, AuditError> {
    let mut count = 0;
    for key in [GENESIS, TIP] {
        if audited.view.get(Table::Meta, key)? != replayed.get(Table::Meta, key)? {
            return Err(AuditError::Row { table: Table::Meta, key: key.to_vec() });
        }
    }
    let mut wrong = None;
    audited.view.scan(Table::Meta, &[], &mut |key, _| {
        count += 1;
        wrong = (![GENESIS, TIP, FIRST, ORIGIN].contains(&key)).then(|| key.to_vec());
        if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    wrong.map_or(Ok(count), |key| Err(AuditError::Row { table: Table::Meta, key }))
}
