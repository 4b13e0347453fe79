//! Writing an image.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use dt_model::codec;
use thiserror::Error;

use super::{Frame, Head, IMAGE, ORIGIN};
use crate::block::load_header;
use crate::evidence::log;
use crate::history::TRACES;
use crate::replica::opening::{MAX_META_BYTES, read_meta};
use crate::replica::{Replica, Tip};
use crate::store::{StoreError, StoreView, Table};

/// Why no image was written, or only a part of one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The chain has no block yet: where it begins follows from its genesis.
    #[error("a chain without blocks has no image")]
    NoBlock,
    /// The writer did not take it.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Replica {
    /// Writes an image of the state after the last block; where that is. Blocks may be committed meanwhile: they do not show in it. The
    /// header of the next block, once there is one, or a checkpoint of this one is what an importer needs to have certified.
    ///
    /// Takes memory for one row and the specifications that the replica holds anyway; and for as long as it takes, the store keeps what
    /// later blocks replace.
    ///
    /// # Errors
    /// [`ExportError`]; what was written then is no image.
    pub fn export(&self, to: impl Write) -> Result<Tip, ExportError> {
        let (current, view) = self.consistent()?;
        let mut to = BufWriter::new(to);
        to.write_all(&IMAGE.prefix())?;
        put(&mut to, &Frame::Head(Box::new(self.head(&*view, &current.tip)?)))?;
        each(&*view, Table::State, &[], |key, value| {
            put(&mut to, &Frame::State(key.to_vec(), value.to_vec()))
        })?;
        for (twin, specified) in &*current.specifications {
            put(&mut to, &Frame::Specification(*twin, specified.document.to_bytes()))?;
        }
        each(&*view, Table::Index, TRACES, |key, value| {
            let damaged = |_| StoreError::Damaged { table: Table::Index, key: key.to_vec() };
            put(&mut to, &Frame::Trace(codec::decode(value, MAX_META_BYTES).map_err(damaged)?))
        })?;
        for (key, _) in log::edge(&current.tip.log) {
            let tile = view.get(Table::Log, &key)?.ok_or(StoreError::Damaged { table: Table::Log, key })?;
            put(&mut to, &Frame::Log(tile))?;
        }
        put(&mut to, &Frame::End)?;
        to.flush()?;
        Ok(current.tip)
    }

    fn head(&self, view: &dyn StoreView, tip: &Tip) -> Result<Head, ExportError> {
        if tip.height == 0 {
            return Err(ExportError::NoBlock);
        }
        // A replica that came from an image lacks the header before it, but has kept the image's head.
        if let Some(origin) =
            read_meta::<Head>(view, ORIGIN)?.filter(|origin| origin.header.digest() == tip.block)
        {
            return Ok(origin);
        }
        let header_at = |height: u64| {
            let damaged = StoreError::Damaged { table: Table::Blocks, key: height.to_be_bytes().to_vec() };
            load_header(view, height)?.ok_or(damaged)
        };
        let (header, certificate) = header_at(tip.height)?;
        let previous = if tip.height == 1 { None } else { Some(header_at(tip.height - 1)?.0) };
        let unknown = StoreError::Damaged { table: Table::Index, key: Vec::new() };
        let validators = self.validators(tip.height)?.ok_or(unknown)?;
        let (genesis, next_validators) = (self.genesis().clone(), tip.validators.clone());
        Ok(Head { genesis, previous, header, certificate, validators, next_validators })
    }
}

fn put(to: &mut impl Write, frame: &Frame) -> Result<(), ExportError> {
    let bytes = codec::encode(frame);
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_le_bytes())?;
    Ok(to.write_all(&bytes)?)
}

/// Shows each row whose key starts with `prefix` to `show`, until it fails.
fn each(
    view: &dyn StoreView,
    table: Table,
    prefix: &[u8],
    mut show: impl FnMut(&[u8], &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut outcome = Ok(());
    view.scan(table, prefix, &mut |key, value| {
        if !key.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        outcome = show(key, value);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome
}
