//! Making the shards of a blob that a node lacks, and telling whether they are to be had.
//!
//! That a shard lies at a node says nothing of the others: its put may have broken off. A put is acknowledged when a quorum holds the
//! proof that a quorum holds its shards, so what was acknowledged is known by its proof at one honest node at least, whichever *k* keep silent.
//! Such shards are waited for; others are made if they can be.
//!
//! A proof says who held the shards in its epoch. It stands by itself in a later one as long as no group of replicas has left since
//! ([`Membership::binding_since`]). After that a hand-over may have passed the blob by, while somebody kept the proof back. So an older
//! one counts if more replicas hold one than can lie: the honest ones took it while it stood.

use std::collections::BTreeMap;

use bytes::Bytes;
use dt_model::PartyId;

use super::fetch::{Fetched, Fetcher};
use super::link::{upkeep, upkeep_reply};
use super::local::own_indexes;
use super::{Holding, UpkeepReply, UpkeepRequest};
use crate::proof::ProofRow;
use crate::{
    Address, BlobError, BlobRef, Membership, QuorumCertificate, Refusal, Resilience, decode_stripe,
    encode_stripe,
};

/// Whether a quorum holds its shards of a blob, going by what one node shows.
enum Standing {
    /// Nothing proves it.
    Unproven,
    /// There is a proof, but it is old, and too few replicas are known to hold one.
    Unsure,
    /// It is proven.
    Proven(QuorumCertificate),
}

/// What came of making shards.
enum Made {
    All,
    TooFew,
    /// The blob was encoded inconsistently.
    Bad,
    NoRoom,
}

impl Fetcher<'_> {
    /// Makes the node's own shards of a blob from those of others, and takes over the proof that `node` has. No key is needed: shards are checked
    /// against the reference, and the reference against the address.
    pub(super) async fn fetch_shards(
        &mut self,
        node: PartyId,
        holding: &Holding,
    ) -> Result<Fetched, Refusal> {
        let address = holding.address;
        let own = own_indexes(self.membership, &address, &self.replica.party());
        if own.is_empty() || self.replica.is_bad(&address)? {
            return Ok(Fetched::Done);
        }
        let standing = self.standing(node, holding).await?;
        let made = if self.replica.has_shards(&address, &own)? {
            self.replica.renew(&address, holding.leased)?;
            Made::All
        } else {
            self.make_shards(holding, &own).await?
        };
        Ok(match (made, standing) {
            (Made::All, Standing::Proven(certificate)) => self.take_proof(&address, &certificate)?,
            (Made::All, Standing::Unproven) if holding.version == 0 => Fetched::Done,
            // Also of what cannot be restored, so that nodes do not differ.
            (Made::Bad, Standing::Proven(certificate)) => {
                self.take_proof(&address, &certificate)?;
                Fetched::Refused
            }
            (_, Standing::Unproven) | (Made::Bad, _) => Fetched::Refused,
            (_, Standing::Unsure | Standing::Proven(_)) => Fetched::Unresolved,
        })
    }

    async fn make_shards(&mut self, holding: &Holding, own: &[u16]) -> Result<Made, Refusal> {
        let address = holding.address;
        let Some(found) = self.gather(&address).await? else { return Ok(Made::TooFew) };
        let Ok(shards) = found.encode_again() else {
            // It took a shard from an honest replica to find this out, and every other reader finds it, too.
            self.replica.remember_bad(&address, holding.leased)?;
            return Ok(Made::Bad);
        };
        let payer = found.payer(self.membership, self.replica.party());
        for index in own {
            let Some(shard) = shards.get(usize::from(*index)) else { return Ok(Made::Bad) };
            match self.replica.keep_shard(&found.blob, *index, shard.clone(), payer, holding.leased) {
                Ok(()) => {}
                Err(Refusal::QuotaExceeded) => return Ok(Made::NoRoom),
                Err(refusal) => return Err(refusal),
            }
        }
        // While nodes change, others may ask for the one that was its own before.
        if !self.membership.is_changing() {
            self.replica.drop_shards(&address, own)?;
        }
        Ok(Made::All)
    }

    /// How the blob stands, by what `node` shows for what it listed.
    async fn standing(&mut self, node: PartyId, holding: &Holding) -> Result<Standing, Refusal> {
        let (address, me) = (holding.address, self.replica.party());
        if holding.version == 0 {
            return Ok(Standing::Unproven);
        }
        if node == me {
            let proven = |row: ProofRow| Standing::Proven(row.certificate(&address));
            return Ok(self.replica.proof(&address)?.map_or(Standing::Unproven, proven));
        }
        let Some(proof) = self.fetch_proof(node, &address).await else {
            return Ok(Standing::Unproven);
        };
        let epoch = proof.claimed_epoch();
        let is_binding = epoch.is_some_and(|epoch| epoch >= self.membership.binding_since());
        let is_sure = is_binding || self.is_widely_proven(node, &address).await?;
        Ok(if is_sure { Standing::Proven(proof) } else { Standing::Unsure })
    }

    /// The proof that a node has, if it is one and has not lapsed.
    async fn fetch_proof(&mut self, node: PartyId, blob: &Address) -> Option<QuorumCertificate> {
        let request = UpkeepRequest::FetchCertificate { blob: *blob };
        let answer = self.ask(node, upkeep(request)).await;
        let Some(UpkeepReply::Certificate(Some(certificate))) = upkeep_reply(answer.as_ref()) else {
            return None;
        };
        let since = certificate.verify_blob(self.membership, blob).ok()?;
        (self.replica.policy().ends(since) > self.now).then(|| certificate.clone())
    }

    /// Keeps a proof, charged to whom the shards are charged to.
    fn take_proof(&self, blob: &Address, certificate: &QuorumCertificate) -> Result<Fetched, Refusal> {
        let payer = self.replica.any_shard(blob)?.map_or(self.replica.party(), |row| row.payer);
        let Some(row) = ProofRow::new(certificate, payer) else { return Ok(Fetched::Garbage) };
        match self.replica.take_proof(blob, &row) {
            Ok(()) => Ok(Fetched::Done),
            Err(Refusal::QuotaExceeded) => Ok(Fetched::Unresolved),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether more replicas of a group than can lie have a proof, of which `first` has shown one.
    async fn is_widely_proven(&mut self, first: PartyId, blob: &Address) -> Result<bool, Refusal> {
        let mut holders = vec![first];
        if self.replica.proven_since(blob, self.now)? > 0 {
            holders.push(self.replica.party());
        }
        let liars = self.membership.resilience().max_faulty();
        for group in self.membership.groups(blob) {
            for node in &group {
                if !holders.contains(node) && self.fetch_proof(*node, blob).await.is_some() {
                    holders.push(*node);
                }
                if group.iter().filter(|node| holders.contains(node)).count() > liars {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// As many sound shards as restore the blob, from wherever they are.
    async fn gather(&mut self, address: &Address) -> Result<Option<Gathered>, Refusal> {
        let me = self.replica.party();
        let mut gathered: Option<Gathered> = None;
        if let Some(row) = self.replica.any_shard(address)? {
            gathered = Some(Gathered::new(row.blob, row.index, row.bytes, row.payer));
        }
        for group in self.membership.groups(address) {
            for (index, node) in (0u16..).zip(group) {
                if gathered.as_ref().is_some_and(Gathered::is_enough) {
                    return Ok(gathered);
                }
                if node == me || gathered.as_ref().is_some_and(|found| found.shards.contains_key(&index)) {
                    continue;
                }
                let request = UpkeepRequest::FetchShard { blob: *address, index };
                let answer = self.ask(node, upkeep(request)).await;
                let Some(UpkeepReply::Shard(Some(found))) = upkeep_reply(answer.as_ref()) else { continue };
                if found.blob.address() != *address || !found.blob.names(index, &found.shard) {
                    continue;
                }
                match &mut gathered {
                    Some(gathered) => gathered.add(index, found.shard.bytes().clone(), found.payer),
                    None => {
                        let (blob, bytes) = (found.blob.clone(), found.shard.bytes().clone());
                        gathered = Some(Gathered::new(blob, index, bytes, found.payer));
                    }
                }
            }
        }
        Ok(gathered.filter(Gathered::is_enough))
    }
}

/// Sound shards of one blob.
struct Gathered {
    blob: BlobRef,
    shards: BTreeMap<u16, Bytes>,
    payers: BTreeMap<PartyId, usize>,
}

impl Gathered {
    fn new(blob: BlobRef, index: u16, bytes: Bytes, payer: PartyId) -> Self {
        let mut gathered = Self { blob, shards: BTreeMap::new(), payers: BTreeMap::new() };
        gathered.add(index, bytes, payer);
        gathered
    }

    fn add(&mut self, index: u16, bytes: Bytes, payer: PartyId) {
        self.shards.insert(index, bytes);
        *self.payers.entry(payer).or_default() += 1;
    }

    fn is_enough(&self) -> bool {
        self.shards.len() >= self.blob.data_shards()
    }

    /// All shards, if the blob was encoded as it should be.
    fn encode_again(&self) -> Result<Vec<Bytes>, BlobError> {
        let shards = self.shards.iter().map(|(index, bytes)| (*index, bytes.as_ref()));
        let content = decode_stripe(&self.blob, shards)?;
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let (total, data) = (count(self.blob.shards().len()), count(self.blob.data_shards()));
        let resilience =
            Resilience::new(total, data.saturating_sub(1)).map_err(|_| BlobError::BadEncoding)?;
        Ok(encode_stripe(&content, resilience)?.1)
    }

    /// Whom more nodes name than can lie; else the node itself pays, so that nobody is charged on a liar's word.
    fn payer(&self, membership: &Membership, me: PartyId) -> PartyId {
        let most = self.payers.iter().max_by_key(|(_, count)| **count);
        most.filter(|(_, count)| **count > membership.resilience().max_faulty())
            .map_or(me, |(payer, _)| *payer)
    }
}
