//! Documents on their way in and out, piece by piece: no request holds one in memory.
//!
//! ```text
//! put: body ──▶ a file that nobody else can open ──hash──▶ name of the item ──▶ sealed, stored, registered
//! get: stripes of the DHT ──opened──▶ channel of a few pieces ──▶ body; its last piece only when the whole is what was registered
//! ```

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use dt_ledger::DocumentId;
use dt_model::{ContentHash, ContentHasher, TwinId};
use dt_sync::DocumentReader;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::{Node, on_a_thread};
use crate::api;
use crate::clock;
use crate::failure::{Failure, Kind};

/// How long whoever sends or takes a document may take for a piece of it.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Pieces that are ready before they are taken.
const PIECES_AHEAD: usize = 2;

/// A document that has come: in a file that goes with it.
pub(super) struct Incoming {
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) hash: ContentHash,
}

/// A document that is read: what the ledger registered of it, and its pieces, as they come.
pub(super) struct Outgoing {
    pub(super) size: u64,
    pub(super) hash: ContentHash,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

/// That a body has more than `limit` bytes, if it says so before anything of it has come.
pub(super) fn check_announced(request: &Request, limit: usize) -> Result<(), Failure> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match announced.and_then(|value| value.parse::<u64>().ok()) {
        Some(length) if length > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

pub(super) fn too_large(limit: usize) -> Failure {
    Failure::new(Kind::TooLarge, format_args!("the body has more than {limit} bytes"))
}

impl Incoming {
    /// Takes the body of `request`.
    pub(super) async fn take(node: &Node, request: Request) -> Result<Self, Failure> {
        let limit = node.settings.api.max_document_bytes;
        check_announced(&request, limit)?;
        let unwritten = |error: io::Error| Failure::internal(&error);
        let mut file = tempfile::tempfile_in(node.folder.path()).map_err(unwritten)?;
        let (mut hasher, mut size) = (ContentHasher::default(), 0);
        let mut pieces = request.into_body().into_data_stream();
        let slow = |_| Failure::bad_input("the body has not come in time");
        while let Some(piece) = timeout(PIECE_TIME, pieces.next()).await.map_err(slow)? {
            let piece = piece.map_err(|_| Failure::bad_input("the body breaks off"))?;
            size += piece.len() as u64;
            if size > limit as u64 {
                return Err(too_large(limit));
            }
            hasher.update(&piece);
            file.write_all(&piece).map_err(unwritten)?;
        }
        Ok(Self { file, size, hash: hasher.finish() })
    }
}

impl Outgoing {
    /// Starts to read a document. When this returns, its first piece has been opened: most of what may be wrong is known by then.
    pub(super) async fn open(
        node: Arc<Node>,
        twin: TwinId,
        document: DocumentId,
        get: api::Get,
    ) -> Result<Self, Failure> {
        let (tell, told) = oneshot::channel();
        on_a_thread(move || async move { read(&node, (twin, document), get, tell).await });
        told.await.map_err(|error| Failure::internal(&error))?
    }

    pub(super) fn into_body(self) -> Body {
        let next = async |mut pieces: mpsc::Receiver<_>| Some((pieces.recv().await?, pieces));
        Body::from_stream(stream::unfold(self.pieces, next))
    }
}

/// Reads a document to its end, as fast as somebody takes it.
async fn read(
    node: &Node,
    (twin, document): (TwinId, DocumentId),
    get: api::Get,
    tell: oneshot::Sender<Result<Outgoing, Failure>>,
) {
    let begun = async {
        let client = &node.storage()?.client;
        let mut reader = client.open_document(twin, document, get.version, clock::now()).await?;
        Ok((reader.next(clock::now()).await?, reader))
    };
    let (first, reader) = match begun.await {
        Ok(begun) => begun,
        // Whoever asked may be gone.
        Err(failure) => return drop(tell.send(Err(failure))),
    };
    let (send, pieces) = mpsc::channel(PIECES_AHEAD);
    let outgoing = Outgoing { size: reader.size(), hash: reader.hash(), pieces };
    if tell.send(Ok(outgoing)).is_err() {
        return;
    }
    if let Err(failure) = send_all(first.map(Bytes::from_owner), reader, &send).await {
        warn!(document = %document.short(), %failure, "a document's answer breaks off");
        // So that it is not taken for the whole.
        let _ = send.send(Err(io::Error::other(failure))).await;
    }
}

/// A piece is sent when there is a next one, or the end was found sound.
async fn send_all(
    mut piece: Option<Bytes>,
    mut reader: DocumentReader<'_>,
    send: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Failure> {
    while let Some(present) = piece {
        piece = reader.next(clock::now()).await?.map(Bytes::from_owner);
        let sent = timeout(PIECE_TIME, send.send(Ok(present))).await;
        if !sent.is_ok_and(|sent| sent.is_ok()) {
            return Err(Failure::unreachable("nobody takes it"));
        }
    }
    Ok(())
}
