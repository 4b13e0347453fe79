//! The seal of a finished run: a digest of every file, signed by the auditor, so that not one bit changes unseen, wherever it lies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, Name, PartyId, Signed, Signer, file};

use crate::Failure;

/// What lies in the folder of a run.
#[derive(Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Inventory {
    /// The chain.
    pub(crate) chain: Digest,
    /// BLAKE3 of each file, by its path in the folder.
    pub(crate) files: BTreeMap<Name, Digest>,
}

impl Message for Inventory {
    const DOMAIN: Domain = Domain::new("dt/example/bottling-plant/inventory/v1");
    const MAX_BYTES: usize = 64 * 1024;
}

/// The seal's own file.
const SEAL: &str = "seal.json";

/// What a seal says of a folder.
pub(crate) struct Checked {
    /// Who sealed it, if that can still be said.
    pub(crate) by: Option<PartyId>,
    /// How many files it holds.
    pub(crate) files: usize,
    /// The files that are missing, new, or changed.
    pub(crate) wrong: Vec<String>,
}

/// Whether the folder has been sealed.
pub(crate) fn is_sealed(folder: &Path) -> bool {
    folder.join(SEAL).exists()
}

/// Seals the folder. Nothing in it may be open.
pub(crate) fn seal(folder: &Path, chain: Digest, auditor: &dyn Signer) -> Result<usize, Failure> {
    let files = digests(folder)?;
    let count = files.len();
    let envelope = Signed::new(Inventory { chain, files }, auditor)?.into_envelope();
    file::write_private(&folder.join(SEAL), &serde_json::to_vec_pretty(&envelope)?)?;
    Ok(count)
}

/// Holds the folder against its seal; `None` if it has none.
pub(crate) fn check(folder: &Path) -> Result<Option<Checked>, Failure> {
    let text = match fs::read(folder.join(SEAL)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let broken = |why: &str| Ok(Some(Checked { by: None, files: 0, wrong: vec![why.to_owned()] }));
    let Ok(envelope) = serde_json::from_slice::<Envelope<Inventory>>(&text) else {
        return broken("the seal itself is damaged");
    };
    // The one form in which a seal is written: a flipped bit that JSON does not mind is found, too.
    if serde_json::to_vec_pretty(&envelope)? != text {
        return broken("the seal itself is damaged");
    }
    let Ok(inventory) = envelope.open() else { return broken("the seal's signature does not verify") };
    let found = digests(folder)?;
    let names = inventory.files.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let wrong =
        names.into_iter().filter(|name| inventory.files.get(*name) != found.get(*name)).map(Name::to_string);
    Ok(Some(Checked { by: Some(inventory.signer()), files: inventory.files.len(), wrong: wrong.collect() }))
}

fn digests(folder: &Path) -> Result<BTreeMap<Name, Digest>, Failure> {
    let mut files = BTreeMap::new();
    for part in [folder.to_owned(), folder.join("keys")] {
        for entry in fs::read_dir(&part)? {
            let path = entry?.path();
            if !path.is_file() || path.file_name().is_some_and(|name| name == SEAL) {
                continue;
            }
            let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(&path)?)?;
            files.insert(Name::new(name)?, Digest::from(*hasher.finalize().as_bytes()));
        }
    }
    Ok(files)
}
