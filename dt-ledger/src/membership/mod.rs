//! Who takes part: what a chain begins with, its organisations and how they decide, and the certificates by which parties are enrolled.

pub(crate) mod certificate;
pub(crate) mod consortium;
pub(crate) mod genesis;
pub(crate) mod x509;
