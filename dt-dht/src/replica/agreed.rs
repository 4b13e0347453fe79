//! Records of order [`Order::Agreed`]: the replica's side of agreement, between the wire and the rows.

use super::Replica;
use crate::{Kind, Order};

impl Replica {
    /// The order of records of `kind`, if somebody judges it here.
    pub(super) fn order(&self, kind: &Kind) -> Option<Order> {
        self.validators.get(kind).map(|validator| validator.order())
    }
}
