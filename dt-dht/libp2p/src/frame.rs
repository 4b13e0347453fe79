//! How a message travels in its stream: its length (four bytes, little endian, as in borsh), then its bytes. Each request has a stream of
//! its own, in which the reply comes back; so nothing can be mixed up, and none waits for another.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::MAX_MESSAGE_BYTES;
use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

use crate::account::{Account, Held, Offence};

/// The protocol of requests and replies.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/dt/dht/1");

/// A message, and its share of a budget, which it holds for as long as it is about.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    held: Option<Held>,
}

impl Frame {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self { bytes, held: None }
    }

    pub(crate) const fn holding(bytes: Bytes, held: Option<Held>) -> Self {
        Self { bytes, held }
    }
}

/// Reads and writes the messages of one peer.
#[derive(Clone)]
pub(crate) struct Frames(pub(crate) Arc<Account>);

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Frame;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        let length = self.read_length(io).await?;
        let held = self.0.request(length).await;
        Ok(Frame { bytes: read_body(io, length).await?, held })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        let length = self.read_length(io).await?;
        let held = self.0.reply(length).await;
        Ok(Frame { bytes: read_body(io, length).await?, held })
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame.bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let written = write(io, &frame.bytes).await;
        // Only now is there a place for the peer's next request.
        drop(frame.held);
        written
    }
}

impl Frames {
    async fn read_length(&self, io: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        match usize::try_from(u32::from_le_bytes(length)) {
            Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(length),
            _ => {
                self.0.offend(Offence::Oversized);
                Err(io::ErrorKind::FileTooLarge.into())
            }
        }
    }
}

/// Memory is taken as the bytes come, never more than twice what has come: a length alone costs nothing.
async fn read_body(io: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    const FIRST_BYTES: usize = 16 * 1024;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let read = bytes.len();
        bytes.resize(length.min((2 * read).max(FIRST_BYTES)), 0);
        io.read_exact(&mut bytes[read..]).await?;
    }
    Ok(bytes.into())
}

async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    /// Up to here a copy is cheaper than a packet of its own for the length.
    const COPIED_BYTES: usize = 64 * 1024;
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_MESSAGE_BYTES);
    let length = length.ok_or(io::ErrorKind::FileTooLarge)?.to_le_bytes();
    if bytes.len() <= COPIED_BYTES {
        return io.write_all(&[&length, bytes].concat()).await;
    }
    io.write_all(&length).await?;
    io.write_all(bytes).await
}
