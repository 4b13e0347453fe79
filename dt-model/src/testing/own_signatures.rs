//! Signatures that this thread made itself and need not verify: for simulations, in which one thread is everybody, and would spend most of
//! its time on that.

use core::cell::RefCell;

use crate::{PartyId, Signature};

/// How many of the last signatures are remembered: more than are under way at once. Each takes 32 bytes.
const REMEMBERED: usize = 1 << 14;

thread_local! {
    static OWN: RefCell<Vec<[u8; 32]>> = const { RefCell::new(Vec::new()) };
}

/// From now on what this thread has signed lately counts as verified: exactly these bytes, by this party, with this signature. No verdict is
/// another for it, since what a key signs verifies under it.
pub fn trust_own_signatures() {
    OWN.with_borrow_mut(|own| own.resize(REMEMBERED, [0; 32]));
}

fn name(party: &PartyId, message: &[u8], signature: &Signature) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(party.as_bytes()).update(signature.as_bytes()).update(message);
    *hasher.finalize().as_bytes()
}

fn place(name: &[u8; 32]) -> usize {
    usize::from(u16::from_le_bytes([name[0], name[1]])) % REMEMBERED
}

pub(crate) fn note_own_signature(party: &PartyId, message: &[u8], signature: &Signature) {
    OWN.with_borrow_mut(|own| {
        if !own.is_empty() {
            let name = name(party, message, signature);
            own[place(&name)] = name;
        }
    });
}

pub(crate) fn is_own_signature(party: &PartyId, message: &[u8], signature: &Signature) -> bool {
    OWN.with_borrow(|own| {
        !own.is_empty() && {
            let name = name(party, message, signature);
            own[place(&name)] == name
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::identity;
    use crate::{SignatureError, Signer};

    #[test]
    fn only_what_was_signed_is_trusted() {
        trust_own_signatures();
        let (signer, other) = (identity(1), identity(2));
        let signature = signer.sign(b"this").unwrap();
        assert!(is_own_signature(&signer.party(), b"this", &signature));
        for (party, message) in
            [(signer.party(), &b"that"[..]), (other.party(), b"this"), (signer.party(), b"")]
        {
            assert!(!is_own_signature(&party, message, &signature));
            assert_eq!(party.verify(message, &signature), Err(SignatureError));
        }
        let mut altered = *signature.as_bytes();
        altered[63] ^= 1;
        assert_eq!(signer.party().verify(b"this", &altered.into()), Err(SignatureError));
        assert_eq!(signer.party().verify(b"this", &signature), Ok(()));
    }
}
