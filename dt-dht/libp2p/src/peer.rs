//! The names that parties have on this network, and the addresses that they may have.

use dt_model::PartyId;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The peer of a party: both are the same Ed25519 key. `None` if libp2p does not take the key, which it does for every [`PartyId`].
pub(crate) fn peer_of(party: &PartyId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(party.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The address without the peer's name, if it is one that this transport can dial: an IP address, then TCP or QUIC. (Others would let a
/// peer make us dial what he likes: relays, names that he serves.)
pub(crate) fn dialable(address: &Multiaddr, peer: &PeerId) -> Option<Multiaddr> {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    if let Some(Protocol::P2p(named)) = parts.last() {
        if named != peer {
            return None;
        }
        parts.pop();
    }
    let is_known = match parts.as_slice() {
        [Protocol::Ip4(ip), rest @ ..] => !ip.is_unspecified() && is_transport(rest),
        [Protocol::Ip6(ip), rest @ ..] => !ip.is_unspecified() && is_transport(rest),
        _ => false,
    };
    is_known.then(|| parts.into_iter().collect())
}

fn is_transport(parts: &[Protocol<'_>]) -> bool {
    match parts {
        [Protocol::Tcp(port)] | [Protocol::Udp(port), Protocol::QuicV1] => *port != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use dt_model::Signer as _;
    use dt_model::testing::identity;

    use super::*;

    #[test]
    fn a_party_is_its_peer() {
        for seed in 0..50 {
            let identity = identity(seed);
            let pair =
                libp2p::identity::Keypair::ed25519_from_bytes(*identity.handshake_seed().expose()).unwrap();
            assert_eq!(peer_of(&identity.party()), Some(pair.public().to_peer_id()));
        }
    }

    #[test]
    fn only_ip_addresses_are_dialled() {
        let (peer, other) = (peer_of(&identity(1).party()).unwrap(), peer_of(&identity(2).party()).unwrap());
        let dialled = |text: &str| dialable(&text.parse().unwrap(), &peer).map(|address| address.to_string());
        for good in ["/ip4/10.0.0.1/tcp/4001", "/ip6/fd00::1/udp/4001/quic-v1"] {
            assert_eq!(dialled(good).as_deref(), Some(good));
            assert_eq!(dialled(&format!("{good}/p2p/{peer}")).as_deref(), Some(good));
            assert_eq!(dialled(&format!("{good}/p2p/{other}")), None);
            assert_eq!(dialled(&format!("{good}/p2p/{other}/p2p-circuit/p2p/{peer}")), None);
        }
        for bad in [
            "/dns4/a.example/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/10.0.0.1/tcp/0",
            "/ip4/10.0.0.1/udp/1",
            "/memory/1",
        ] {
            assert_eq!(dialled(bad), None, "{bad}");
        }
    }
}
