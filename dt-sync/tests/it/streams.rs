//! Documents that are not in memory: written from a source, read piece by piece.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use dt_ledger::{DocumentId, State as _};
use dt_model::ContentHash;
use dt_sync::{Client, ClientError, Draft, Heading, Source};

use crate::world::{Who::*, World, component, name};

/// A stripe and a half.
fn content() -> Vec<u8> {
    (0..1_500_001_u64).map(|at| (at * at % 251) as u8).collect()
}

async fn share(world: &World, client: &Client, content: &mut dyn Source) -> Result<DocumentId, ClientError> {
    let (title, media_type, press) = (name("scan"), name("application/octet-stream"), component("press"));
    let heading = Heading { title: &title, media_type: &media_type, component: Some(&press) };
    client.stream_document(world.twin, heading, content, world.now()).await
}

#[tokio::test]
async fn streams_are_the_same_documents() {
    let (world, content) = (World::new().await, content());
    let client = world.client(Maintainer);
    let document = share(&world, &client, &mut Cursor::new(&content)).await.unwrap();
    let whole = world.client(Auditor).read_document(world.twin, document, None, world.now()).await.unwrap();
    assert!(whole.bytes == content);

    let auditor = world.client(Auditor);
    let mut reader = auditor.open_document(world.twin, document, None, world.now()).await.unwrap();
    assert_eq!((reader.size(), reader.hash()), (content.len() as u64, ContentHash::of(&content)));
    let (mut read, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = reader.next(world.now()).await.unwrap() {
        read.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(read == content && pieces > 2);
    assert_eq!(reader.next(world.now()).await.unwrap(), None, "the end stays the end");

    // From memory or from a source: the same is registered once.
    let (title, media_type, press) = (name("scan"), name("application/octet-stream"), component("press"));
    let draft =
        Draft { title: &title, media_type: &media_type, component: Some(&press), content: &content[..] };
    assert_eq!(client.write_document(world.twin, draft, world.now()).await.unwrap(), document);
    let next = &content[1..];
    client.stream_version(world.twin, document, &mut Cursor::new(next), world.now()).await.unwrap();
    client.write_version(world.twin, document, next, world.now()).await.unwrap();
    assert_eq!(world.state().document(&world.twin, &document).unwrap().unwrap().versions, 2);
    let newest = auditor.read_document(world.twin, document, None, world.now()).await.unwrap();
    assert!(newest.bytes == next);

    let empty = share(&world, &client, &mut Cursor::new(b"")).await.unwrap();
    let mut reader = auditor.open_document(world.twin, empty, None, world.now()).await.unwrap();
    assert_eq!(reader.next(world.now()).await.unwrap(), None);
}

/// A source that fails when it is read for the second time, or gives something else then.
struct Fickle {
    content: Cursor<Vec<u8>>,
    rewound: u32,
    fails: bool,
}

impl Read for Fickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rewound == 2 && self.content.position() > 1_000_000 {
            if self.fails {
                return Err(io::Error::other("the disk is gone"));
            }
            let length = self.content.read(buffer)?;
            buffer[..length].iter_mut().for_each(|byte| *byte ^= 1);
            return Ok(length);
        }
        self.content.read(buffer)
    }
}

impl Seek for Fickle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.rewound += 1;
        self.content.seek(to)
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_or_changes_registers_nothing() {
    let (world, content) = (World::new().await, content());
    let client = world.client(Maintainer);
    for fails in [true, false] {
        let mut fickle = Fickle { content: Cursor::new(content.clone()), rewound: 0, fails };
        let broken = share(&world, &client, &mut fickle).await;
        assert!(matches!(broken, Err(ClientError::Source(_))), "{broken:?}");
        assert!(world.state().documents(&world.twin).unwrap().is_empty());
    }
    // Made again, it goes on from what is there.
    let document = share(&world, &client, &mut Cursor::new(&content)).await.unwrap();
    let read = world.client(Owner).read_document(world.twin, document, None, world.now()).await.unwrap();
    assert!(read.bytes == content);
}

/// What the author has put in the place of what he registered is given up at the latest when it ends, or is longer.
#[tokio::test]
async fn a_replaced_content_is_not_read_to_its_end() {
    let (world, content) = (World::new().await, content());
    let client = world.client(Maintainer);
    let document = share(&world, &client, &mut Cursor::new(&content)).await.unwrap();
    let mut other = content.clone();
    other[1_499_999] ^= 1;
    for replaced in [other, content[..1_000_000].to_vec(), [&content[..], b"more"].concat()] {
        let (item, mut rng) = (world.item(document), dt_model::testing::SeedRng::new(1));
        client.items().write(item, &replaced, world.now(), &mut rng).await.unwrap();
        let auditor = world.client(Auditor);
        let mut reader = auditor.open_document(world.twin, document, None, world.now()).await.unwrap();
        let end = loop {
            match reader.next(world.now()).await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Err(ClientError::Mismatch(of)) if of == document), "{end:?}");
    }
}
