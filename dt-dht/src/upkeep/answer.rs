//! What a replica tells other nodes about its holdings.

use bytes::Bytes;
use dt_model::{Digest, PartyId, Timestamp, codec};

use super::books::{ADDRESSES, AddressRow, address_in, address_key};
use super::listing::{LISTING_HOLDINGS, RangeDigest, page_addresses};
use super::{Holding, Listing, Place, Summary, UpkeepReply, UpkeepRequest};
use crate::agreement::AgreedRow;
use crate::rows::{EVIDENCE, RECORDS, RecordRow, RowsError, agreed_key, open_row, record_key};
use crate::{Address, Key, MAX_RECORD_BYTES, Membership, Order, Record, Refusal, Replica, ReplyBody, Slot};

/// How many bytes of rows are read for one page of a listing, before it ends.
const LISTING_BYTES: usize = 8 << 20;
/// How many rows are read at once.
const SCAN_ROWS: usize = 16;

impl Replica {
    /// Answers a request of upkeep.
    pub(crate) fn answer_upkeep(
        &self,
        membership: &Membership,
        sender: &PartyId,
        request: UpkeepRequest,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let is_node = membership.node(sender).is_some();
        let reply = match request {
            UpkeepRequest::HandOver => UpkeepReply::HandOver(self.statement(membership, now)?),
            _ if !is_node => return Err(Refusal::NotPermitted),
            UpkeepRequest::Summarise { after } => {
                UpkeepReply::Summary(self.summarise(membership, sender, after, None)?)
            }
            UpkeepRequest::List { after, until } => {
                UpkeepReply::Listing(self.list(membership, sender, after, until)?)
            }
            UpkeepRequest::FetchPast { key, .. } if !membership.is_replica(sender, &key.address) => {
                return Err(Refusal::NotPermitted);
            }
            UpkeepRequest::FetchPast { key, former } => {
                UpkeepReply::Past(self.recall(membership, &key, former)?)
            }
            UpkeepRequest::FetchCertificate { blob } => {
                UpkeepReply::Certificate(self.proof(&blob)?.map(|proof| proof.certificate(&blob)))
            }
            UpkeepRequest::FetchShard { blob, index } => UpkeepReply::Shard(self.find_shard(&blob, index)?),
        };
        Ok(ReplyBody::Upkeep { reply })
    }

    /// The digest of what both this node and `peer` are to hold, and this one does, at the next addresses: up to `until`, or as many as
    /// one digest covers.
    pub(crate) fn summarise(
        &self,
        membership: &Membership,
        peer: &PartyId,
        after: Option<Address>,
        until: Option<Option<Address>>,
    ) -> Result<Summary, Refusal> {
        let mut digest = RangeDigest::default();
        let most = page_addresses(membership.nodes().len());
        let mut last = None;
        let mut looked = 0;
        let mut start = after;
        loop {
            let page = self.addresses(start, SCAN_ROWS)?;
            let Some((end, _)) = page.last() else {
                return Ok(Summary { until: None, digest: digest.finish() });
            };
            start = Some(*end);
            for (address, row) in page {
                if until.flatten().is_some_and(|until| address > until) {
                    return Ok(Summary { until: until.flatten(), digest: digest.finish() });
                }
                if until.is_none() && looked == most {
                    return Ok(Summary { until: last, digest: digest.finish() });
                }
                looked += 1;
                last = Some(address);
                if looked > 4 * most {
                    // Far more than the other has: whatever its digest is, it differs.
                    return Ok(Summary { until: until.flatten(), digest: Digest::ZERO });
                }
                if !row.expiring && self.shares(membership, peer, &address) {
                    digest.take(&address, &row.marks, self.policy().period(row.leased));
                }
            }
        }
    }

    /// The next holdings in a range that both nodes are to hold.
    fn list(
        &self,
        membership: &Membership,
        peer: &PartyId,
        after: Option<(Address, Place)>,
        until: Option<Address>,
    ) -> Result<Listing, Refusal> {
        let mut page = Page::default();
        // The address where the last page ended may have more.
        if let Some((address, place)) = after
            && let Some(row) = self.address_row(&address)?.filter(|row| !row.expiring)
            && self.shares(membership, peer, &address)
        {
            self.list_address(&address, &row, Some(place), &mut page)?;
        }
        let mut start = after.map(|(address, _)| address);
        let mut looked = 0;
        while !page.is_full() {
            let addresses = self.addresses(start, SCAN_ROWS)?;
            let Some((end, _)) = addresses.last() else { return Ok(page.listing(false)) };
            start = Some(*end);
            for (address, row) in addresses {
                if until.is_some_and(|until| address > until) {
                    return Ok(page.listing(false));
                }
                looked += 1;
                if !row.expiring && self.shares(membership, peer, &address) {
                    self.list_address(&address, &row, None, &mut page)?;
                }
                if page.is_full() {
                    break;
                }
            }
            if looked > 2 * page_addresses(membership.nodes().len()) {
                // More than one digest covers: nobody who asks as he should gets here.
                return Ok(page.listing(false));
            }
        }
        Ok(page.listing(true))
    }

    /// Whether `peer` and this node both are to hold an address. It is placed once.
    fn shares(&self, membership: &Membership, peer: &PartyId, address: &Address) -> bool {
        let groups = membership.groups(address);
        let holds = |party: &PartyId| groups.iter().any(|group| group.contains(party));
        holds(peer) && holds(&self.party())
    }

    /// What lies at one address after `after`.
    fn list_address(
        &self,
        address: &Address,
        row: &AddressRow,
        after: Option<Place>,
        page: &mut Page,
    ) -> Result<(), Refusal> {
        let holding = |place, version, digest| Holding {
            address: *address,
            place,
            version,
            digest,
            leased: row.leased,
        };
        if let Some(agreed) = self.agreed_at(address)? {
            let settled = agreed.settled.as_ref().map(|settled| settled.state().digest());
            let locked = agreed.lock.as_ref().map(|lock| lock.record);
            let sequence = agreed.sequence();
            let settled = settled.map(|digest| holding(Place::Agreed, sequence, digest));
            let locked = locked.map(|digest| holding(Place::Locked, sequence.saturating_add(1), digest));
            let both = settled.into_iter().chain(locked);
            page.holdings.extend(both.filter(|holding| after.is_none_or(|after| holding.place > after)));
        }
        for (prefix, first) in [(RECORDS, Place::Record(LAST)), (EVIDENCE, Place::Evidence(LAST))] {
            if after.is_some_and(|after| after > first) {
                continue;
            }
            let slots = [&[prefix], &address.as_bytes()[..]].concat();
            let mut from = match after {
                Some(Place::Record(slot)) if prefix == RECORDS => {
                    Some(record_key(prefix, &key(address, slot)))
                }
                Some(Place::Evidence(slot)) if prefix == EVIDENCE => {
                    Some(record_key(prefix, &key(address, slot)))
                }
                _ => None,
            };
            loop {
                let rows = self
                    .store()
                    .scan(&slots, from.as_deref(), SCAN_ROWS)
                    .map_err(|_| Refusal::Unavailable)?;
                let Some((last, _)) = rows.last() else { break };
                from = Some(last.clone());
                for (key, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
                    if page.is_full() {
                        return Ok(());
                    }
                    let slot = slot_in(key)?;
                    page.bytes += value.len();
                    if prefix == RECORDS && self.order(&slot.kind) == Some(Order::Agreed) {
                        // These come with their state.
                        continue;
                    }
                    page.holdings.push(if prefix == RECORDS {
                        let (version, digest) = record_in(key, value)?;
                        holding(Place::Record(slot), version, digest)
                    } else {
                        holding(Place::Evidence(slot), 0, Digest::ZERO)
                    });
                }
            }
        }
        let has_shard = after.is_none_or(|after| after < Place::Shard) && row.shards > 0;
        if has_shard && !page.is_full() {
            let since = self.proof(address)?.map_or(0, |proof| proof.since().as_millis());
            page.holdings.push(holding(Place::Shard, since, Digest::ZERO));
        }
        Ok(())
    }

    /// What this node holds in one place.
    pub(crate) fn holding(&self, address: &Address, place: Place) -> Result<Option<Holding>, Refusal> {
        let Some(row) = self.address_row(address)?.filter(|row| !row.expiring) else { return Ok(None) };
        let found = match place {
            Place::Agreed => {
                let agreed = self.agreed_at(address)?.and_then(|agreed| agreed.settled);
                agreed.map(|settled| (settled.state().sequence(), settled.state().digest()))
            }
            // Whatever was locked is over when its step is settled, so that only how far this node is counts.
            Place::Locked => self.agreed_at(address)?.map(|agreed| (agreed.sequence(), Digest::ZERO)),
            Place::Record(slot) => {
                let row_key = record_key(RECORDS, &key(address, slot));
                match self.rows().read::<RecordRow>(&row_key).map_err(unavailable)? {
                    Some(row) => Some((version_of(&row)?, row.record.digest())),
                    None => None,
                }
            }
            Place::Evidence(slot) => {
                let evidence = self.rows().evidence(&key(address, slot)).map_err(unavailable)?;
                evidence.map(|_| (0, Digest::ZERO))
            }
            // Of a blob that cannot be restored there is no more to be had.
            Place::Shard if self.is_bad(address)? => Some((u64::MAX, Digest::ZERO)),
            Place::Shard => {
                let since = self.proof(address)?.map_or(0, |proof| proof.since().as_millis());
                (row.shards > 0).then_some((since, Digest::ZERO))
            }
        };
        Ok(found.map(|(version, digest)| Holding {
            address: *address,
            place,
            version,
            digest,
            leased: row.leased,
        }))
    }

    fn agreed_at(&self, address: &Address) -> Result<Option<AgreedRow>, Refusal> {
        self.rows().read(&agreed_key(address)).map_err(unavailable)
    }

    /// The next addresses, with what lies there.
    pub(crate) fn addresses(
        &self,
        after: Option<Address>,
        limit: usize,
    ) -> Result<Vec<(Address, AddressRow)>, Refusal> {
        let after = after.map(|address| address_key(&address));
        let rows =
            self.store().scan(&[ADDRESSES], after.as_deref(), limit).map_err(|_| Refusal::Unavailable)?;
        let open = |(key, value): &(Bytes, Bytes)| {
            let address = address_in(key)?;
            // A tombstone: nothing lies there.
            let row = if value.is_empty() { AddressRow::default() } else { open_row(key, value)?.0 };
            Ok::<_, RowsError>((address, row))
        };
        rows.iter().map(open).collect::<Result<_, _>>().map_err(unavailable)
    }
}

/// After every slot.
const LAST: Slot = Slot { kind: crate::Kind::new([u8::MAX; 4]), index: u64::MAX };

#[derive(Default)]
struct Page {
    holdings: Vec<Holding>,
    bytes: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.holdings.len() >= LISTING_HOLDINGS || self.bytes >= LISTING_BYTES
    }

    fn listing(self, more: bool) -> Listing {
        Listing { holdings: self.holdings, more }
    }
}

fn key(address: &Address, slot: Slot) -> Key {
    Key { address: *address, slot }
}

/// The slot in the row key of a record or of evidence.
fn slot_in(key: &[u8]) -> Result<Slot, Refusal> {
    let kind: Option<[u8; 4]> = key.get(33..37).and_then(|bytes| bytes.try_into().ok());
    let index: Option<[u8; 8]> = key.get(37..45).and_then(|bytes| bytes.try_into().ok());
    match (kind, index) {
        (Some(kind), Some(index)) => {
            Ok(Slot { kind: crate::Kind::new(kind), index: u64::from_be_bytes(index) })
        }
        _ => Err(Refusal::Unavailable),
    }
}

fn record_in(key: &[u8], value: &[u8]) -> Result<(u64, Digest), Refusal> {
    let (row, _) = open_row::<RecordRow>(key, value).map_err(|_| Refusal::Unavailable)?;
    Ok((version_of(&row)?, row.record.digest()))
}

/// The version of a stored record. Its signature was checked when it was stored, and the row's checksum holds.
fn version_of(row: &RecordRow) -> Result<u64, Refusal> {
    let record: Record =
        codec::decode(row.record.body(), MAX_RECORD_BYTES).map_err(|_| Refusal::Unavailable)?;
    Ok(record.version)
}

fn unavailable(error: RowsError) -> Refusal {
    error.refusal()
}
