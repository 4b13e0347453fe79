//! A region: what stands between two children of an element.

use crate::arena::tree::{Node, NodeId, Span, Tree};

/// Everything between two children of an element, the gap of the second included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) parent: NodeId,
    /// The child before it; `None`: it begins behind the start tag.
    pub(crate) prev: Option<NodeId>,
    /// The child behind it; `None`: it ends at the end tag.
    pub(crate) next: Option<NodeId>,
}

impl Region {
    /// The region of one element.
    pub(crate) fn around(tree: &Tree, parent: NodeId, node: NodeId) -> Self {
        let Node { prev, next, .. } = *tree.node(node);
        Self { parent, prev, next }
    }

    /// The elements in it.
    pub(crate) fn nodes(self, tree: &Tree) -> impl Iterator<Item = NodeId> + '_ {
        let first = match self.prev {
            Some(prev) => tree.node(prev).next,
            None => tree.node(self.parent).first,
        };
        std::iter::successors(first, |node| tree.node(*node).next)
            .take_while(move |node| Some(*node) != self.next)
    }

    /// What stands in it behind its last element.
    pub(crate) fn closing(self, tree: &Tree) -> Span {
        match self.next {
            Some(next) => tree.node(next).gap,
            None => tree.node(self.parent).tail,
        }
    }

    /// All its text.
    pub(crate) fn text(self, tree: &Tree) -> String {
        let mut text = String::new();
        for node in self.nodes(tree) {
            text.push_str(tree.text(tree.node(node).gap));
            tree.pieces(node).for_each(|piece| text.push_str(tree.text(piece)));
        }
        text.push_str(tree.text(self.closing(tree)));
        text
    }
}
