//! What several modules test with: published keys, a message type, and hex.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Domain, Identity, Message, Name, Protection, Timestamp, TwinId};

/// The secret key of RFC 8032, section 7.1, test 1, and its public key.
pub(crate) const SIGNING: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
pub(crate) const PARTY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// The secret and public keys of RFC 7748, section 6.1: Alice's, then Bob's.
pub(crate) const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
pub(crate) const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
pub(crate) const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
pub(crate) const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";

/// A signed message with a field of fixed and one of variable size.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Note {
    pub(crate) twin: TwinId,
    pub(crate) at: Timestamp,
    pub(crate) text: Name,
}

impl Message for Note {
    const DOMAIN: Domain = Domain::new("dt/model/test-note/v1");
    const MAX_BYTES: usize = 64;
}

/// Fills [`Note::MAX_BYTES`] but for five bytes.
pub(crate) fn note() -> Note {
    let text = "sensor replaced".parse().unwrap();
    Note { twin: TwinId::from([0x11; 32]), at: Timestamp::from_millis(1_700_000_000_123), text }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// The unencrypted identity file of these secret keys, assembled from its description, not by the code under test.
pub(crate) fn owner_only_file(signing: &str, encryption: &[&str]) -> Vec<u8> {
    let mut keys = unhex(signing);
    keys.extend(u32::try_from(encryption.len()).unwrap().to_le_bytes());
    encryption.iter().for_each(|key| keys.extend(unhex(key)));
    let checksum = blake3::hash(&[b"\x19dt/model/identity-file/v1", keys.as_slice()].concat());
    [&[0], keys.as_slice(), checksum.as_bytes()].concat()
}

/// Writes `bytes` to a file of mode 0600 in a fresh directory, which lives as long as the first value.
pub(crate) fn private_file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    write_private(&path, bytes);
    (folder, path)
}

/// Writes `bytes` to `path` with mode 0600.
pub(crate) fn write_private(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    set_mode(path, 0o600);
}

#[cfg(unix)]
pub(crate) fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn set_mode(_: &std::path::Path, _: u32) {}

/// The identity with these secret keys.
pub(crate) fn identity_of(signing: &str, encryption: &[&str]) -> Identity {
    let (_folder, path) = private_file(&owner_only_file(signing, encryption));
    Identity::load(&path, Protection::OwnerOnly).unwrap()
}

/// Counts up from zero: makes a golden salt that is easy to recognise.
pub(crate) struct CountingRng(pub(crate) u8);

impl rand_core::TryRng for CountingRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Self::Error> {
        for byte in destination {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for CountingRng {}
