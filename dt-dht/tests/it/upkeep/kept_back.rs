//! A client who keeps to himself what replicas of a former epoch accepted, and has it committed when others have taken over: never two
//! settlements of one sequence.

use dt_dht::{AddressState, CertificateError, Phase, SettlementCertificate, Vote};
use dt_model::Envelope;

use super::agreed::{counted, counts_at};
use super::handover::{Cluster, parties, registered};
use super::*;
use crate::agreement::{commit, first, lock, propose, settlement};

const OLD: [usize; 4] = [0, 1, 2, 3];
const NEW: [usize; 4] = [4, 5, 6, 7];
const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// One who speaks the protocol with his own hands: a record, and the newest proof that a quorum accepts it.
struct Schemer {
    record: Signed<Record>,
    accepted: Vec<Envelope<Vote>>,
    /// The decisions that he keeps to himself.
    kept: Vec<SettlementCertificate>,
}

impl Schemer {
    /// A quorum of the present nodes accepts his record, and nobody else hears of it.
    fn begin(cluster: &Cluster, record: Signed<Record>) -> Self {
        let accepted = votes(cluster, &OLD[..3], &propose(&record, 1, None, vec![]));
        Self { record, accepted, kept: Vec::new() }
    }

    /// Asks `nodes` to commit by the proof that he has, and keeps whatever that gives him.
    fn press(&mut self, cluster: &Cluster, nodes: &[usize]) {
        let votes = votes(cluster, nodes, &commit(&self.record, &self.accepted));
        let of = |phase| {
            votes
                .iter()
                .filter(move |vote: &&Envelope<Vote>| Envelope::clone(vote).open().unwrap().phase == phase)
        };
        let again: Vec<_> = of(Phase::Accept).cloned().collect();
        if lock(&again).verify(&cluster.membership, &self.record.key.address).is_ok() {
            self.accepted = again;
        }
        let committed: Vec<_> = of(Phase::Commit).cloned().collect();
        let certificate = settlement(&first(&self.record), &committed);
        self.kept.extend(certificate.verify(&cluster.membership).is_ok().then_some(certificate));
    }

    /// He has a decision, and what somebody else settles now is the same, though she asked for another.
    async fn is_respected(&self, cluster: &Cluster) {
        let hers = counted(READER, 1);
        drop(cluster.reader.settle(&hers, cluster.now).await);
        let settled = cluster.reader.state(hers.key.address, cluster.now).await.unwrap().unwrap();
        self.kept[0].verify(&cluster.membership).unwrap();
        assert_eq!(self.kept[0].state(), settled.state());
    }
}

/// The votes that these nodes give for a request.
fn votes(cluster: &Cluster, nodes: &[usize], body: &RequestBody) -> Vec<Envelope<Vote>> {
    let ask = |at: &usize| {
        let (replica, membership) = (&cluster.replicas[*at], &cluster.membership);
        let writer = identity(WRITER);
        let call =
            Call::new(&writer, membership, replica.party(), [7; 16], cluster.now, body.clone()).unwrap();
        match call.read(&replica.handle(call.bytes(), cluster.now)).unwrap() {
            ReplyBody::Voted { vote } => Some(vote),
            _ => None,
        }
    };
    nodes.iter().filter_map(ask).collect()
}

/// He presses so often in the joint epoch, when the new nodes have stated that they hold everything, and so often afterwards; then
/// somebody else writes. Whether it was he who decided.
async fn scheme(in_joint: usize, afterwards: usize) -> bool {
    let mut cluster = Cluster::new(&OLD);
    let mut schemer = Schemer::begin(&cluster, counted(WRITER, 1));
    let joint = cluster.membership.successor(registered(&cluster.nodes, &NEW), parties()).unwrap();
    cluster.enter(joint);
    cluster.finish(&ALL).await;
    assert!(cluster.tasks[4].hand_over(cluster.now).await.is_some());
    (0..in_joint).for_each(|_| schemer.press(&cluster, &ALL));
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    (0..afterwards).for_each(|_| schemer.press(&cluster, &NEW));
    let hers = counted(READER, 1);
    drop(cluster.reader.settle(&hers, cluster.now).await);
    let settled = cluster.reader.state(hers.key.address, cluster.now).await.unwrap().unwrap();
    assert_eq!(counts_at(&settled), 1);
    settled.certificate().verify(&cluster.membership).unwrap();
    for kept in &schemer.kept {
        kept.verify(&cluster.membership).unwrap();
        let turns = (in_joint, afterwards);
        assert_eq!(kept.state(), settled.state(), "two settlements of one sequence: {turns:?}");
    }
    !schemer.kept.is_empty()
}

#[tokio::test]
async fn a_lock_that_is_kept_back_decides_nothing_later() {
    let mut decided = Vec::new();
    for in_joint in 0..4 {
        for afterwards in 0..4 {
            if scheme(in_joint, afterwards).await {
                decided.push((in_joint, afterwards));
            }
        }
    }
    // In one epoch he has to have it accepted again, and committed.
    assert!(decided.contains(&(2, 0)) && decided.contains(&(1, 2)), "{decided:?}");
    assert!(!decided.iter().any(|(in_joint, afterwards)| *in_joint < 2 && *afterwards < 2), "{decided:?}");
}

/// What was decided in a joint epoch, and told nobody, is respected through the next joint one, by a group that both have.
#[tokio::test]
async fn a_decision_of_a_joint_epoch_binds_through_the_next() {
    let mut cluster = Cluster::new(&OLD);
    let mut schemer = Schemer::begin(&cluster, counted(WRITER, 1));
    let joint = cluster.membership.successor(registered(&cluster.nodes, &NEW), parties()).unwrap();
    cluster.enter(joint);
    cluster.finish(&ALL).await;
    (0..2).for_each(|_| schemer.press(&cluster, &ALL));
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    let joint = cluster.membership.successor(registered(&cluster.nodes, &OLD), parties()).unwrap();
    cluster.enter(joint);
    schemer.is_respected(&cluster).await;
}

/// Where the change concerns others and all replicas are locked alike, nothing differs that one of them could find; each has its own lock
/// settled before it states that it has taken over.
#[tokio::test]
async fn a_decision_that_is_kept_back_stays_where_no_node_changes() {
    let mut cluster = Cluster::new(&OLD);
    let mut schemer = Schemer::begin(&cluster, counted(WRITER, 1));
    schemer.press(&cluster, &OLD);
    let joint = cluster.membership.successor(registered(&cluster.nodes, &OLD), parties()).unwrap();
    cluster.enter(joint);
    cluster.finish(&OLD).await;
    assert!(cluster.tasks[0].hand_over(cluster.now).await.is_some());
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    schemer.is_respected(&cluster).await;
}

/// What anybody needs offline: who the replicas were in the epoch that the certificate names, and nothing of what came after.
#[tokio::test]
async fn a_settlement_is_checked_by_the_nodes_of_its_epoch() {
    let mut cluster = Cluster::new(&OLD);
    let before = cluster.membership.clone();
    let first = cluster.writer.settle(&counted(WRITER, 1), cluster.now).await.unwrap();
    let joint = cluster.membership.successor(registered(&cluster.nodes, &NEW), parties()).unwrap();
    cluster.enter(joint.clone());
    cluster.finish(&ALL).await;
    let second = cluster.writer.settle(&counted(WRITER, 2), cluster.now).await.unwrap();
    let after = joint.complete().unwrap();
    cluster.enter(after.clone());
    let third = cluster.writer.settle(&counted(WRITER, 3), cluster.now).await.unwrap();
    for (settled, epoch) in [(&first, 1), (&second, 2), (&third, 3)] {
        let certificate = settled.certificate();
        assert_eq!(certificate.epoch(), Some(epoch));
        for membership in [&before, &joint, &after, &after.clone().without_epochs_before(2)] {
            let verdict = certificate.verify(membership);
            match membership.remembers(epoch) {
                true => verdict.unwrap(),
                false => assert_eq!(verdict, Err(CertificateError::OtherMembership)),
            }
        }
    }
    // Of the joint epoch both groups are needed.
    let bytes = borsh::to_vec(second.certificate()).unwrap();
    let (state, votes): (AddressState, Vec<Envelope<Vote>>) = borsh::from_slice(&bytes).unwrap();
    for group in [OLD, NEW] {
        let of_group =
            |vote: &&Envelope<Vote>| group.iter().any(|at| cluster.nodes[*at].party() == vote.signer());
        let votes: Vec<_> = votes.iter().filter(of_group).cloned().collect();
        let verdict = settlement(&state, &votes).verify(&after);
        assert_eq!(verdict, Err(CertificateError::TooFew { receipts: 0, needed: 3 }));
    }
    let known =
        [&before, &joint, &after].map(|membership| (1..=3).filter(|at| membership.remembers(*at)).count());
    assert_eq!(known, [1, 2, 3]);
}
