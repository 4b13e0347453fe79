//! The audit of the node's own chain: executed again from its beginning, in steps, for as long as somebody listens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use dt_ledger::{AuditReport, MemoryStore, Replica};
use futures_util::stream;
use tokio::sync::mpsc;

use super::Node;
use crate::api::{AuditNews, Audited};
use crate::failure::Failure;

/// So many blocks are executed between two lines of news.
const STEP_BLOCKS: u64 = 500;

/// Starts an audit; its news, one line of JSON each. Whoever takes no more of them has it end.
pub(super) fn start(node: &Arc<Node>) -> Body {
    let (tell, news) = mpsc::channel(1);
    let node = Arc::clone(node);
    // A thread of its own: it computes without a pause.
    tokio::task::spawn_blocking(move || {
        let end = match run(&node, &tell) {
            Ok(Some(audited)) => AuditNews::Done(audited),
            Ok(None) => return,
            Err(failure) => AuditNews::Failed(failure),
        };
        // Whoever asked may be gone.
        let _ = tell.blocking_send(end);
    });
    let next = async |mut news: mpsc::Receiver<AuditNews>| {
        let mut line = serde_json::to_vec(&news.recv().await?).ok()?;
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), news))
    };
    Body::from_stream(stream::unfold(news, next))
}

/// What the audit found in order; `None` if nobody listens any more.
fn run(node: &Node, tell: &mpsc::Sender<AuditNews>) -> Result<Option<Audited>, Failure> {
    let internal = |error: &(dyn std::error::Error + 'static)| Failure::internal(error);
    let (audited, target) = (node.replica(), node.replica().tip().height);
    let auditor = Replica::open(Arc::new(MemoryStore::default()), audited.genesis());
    let auditor = auditor.map_err(|error| internal(&error))?;
    let (mut applied, mut rejected) = (0, 0);
    loop {
        let step = auditor.tip().height + STEP_BLOCKS;
        let until = if step < target { step } else { u64::MAX };
        let report = auditor.audit(&**audited.store(), until, &mut |_| {});
        let AuditReport { tip, applied: more, rejected: refused, rows, .. } =
            report.map_err(|error| internal(&error))?;
        (applied, rejected) = (applied + more, rejected + refused);
        if until == u64::MAX {
            let (height, block, state_root) = (tip.height, tip.block, tip.state_root);
            return Ok(Some(Audited { height, block, state_root, applied, rejected, rows }));
        }
        if node.is_stopping() || tell.blocking_send(AuditNews::Height(tip.height)).is_err() {
            return Ok(None);
        }
    }
}
