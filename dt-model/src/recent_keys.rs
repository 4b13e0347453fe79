//! Public keys by which this thread verified lately, decompressed: to find a key's point takes a tenth of what a signature takes.

use core::cell::RefCell;

use ed25519_dalek::VerifyingKey;

/// Keys that are remembered per thread. A chain's parties are few at a time; each key takes some 200 bytes.
const KEYS: usize = 256;

/// A key that was accepted, and its bytes.
type Known = ([u8; 32], VerifyingKey);

thread_local! {
    static RECENT: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// The place of `bytes`. Whoever makes keys that share one gains nothing but the time that each would take without this memory.
fn place(bytes: &[u8; 32]) -> usize {
    usize::from(bytes[0]) % KEYS
}

/// What `parse` makes of `bytes`, which is a function of them alone; only keys that are accepted are remembered.
pub(crate) fn recall<E>(
    bytes: &[u8; 32],
    parse: impl FnOnce(&[u8; 32]) -> Result<VerifyingKey, E>,
) -> Result<VerifyingKey, E> {
    let known = RECENT.with_borrow(|recent| recent.get(place(bytes)).copied().flatten());
    if let Some((of, key)) = known
        && of == *bytes
    {
        return Ok(key);
    }
    let key = parse(bytes)?;
    RECENT.with_borrow_mut(|recent| {
        recent.resize(KEYS, None);
        recent[place(bytes)] = Some((*bytes, key));
    });
    Ok(key)
}
