//! Frees what edits left behind: removed nodes, and the text they pointed to.

use std::sync::Arc;

use crate::document::Document;
use crate::index::Index;
use crate::tree::{Node, NodeId, Span, Tree, Visit};

/// Dead nodes and dead bytes that are never worth a compaction.
const SLACK_NODES: u64 = 4096;
const SLACK_BYTES: u64 = 1 << 20;

impl Document {
    /// Compacts once what is dead outweighs what lives, so memory stays proportional to the document and the cost per
    /// edit constant on average.
    pub(crate) fn compact_if_worthwhile(&mut self) {
        let tree = &self.tree;
        let nodes = tree.nodes.len() as u64;
        let buffers = tree.buffers.len() as u64;
        let live = u64::from(tree.elements);
        if nodes > 2 * live + SLACK_NODES
            || tree.held > 2 * tree.bytes + SLACK_BYTES
            || buffers > 2 * live + SLACK_NODES
        {
            self.tree = compact(tree);
            self.index = Index::of(&self.tree);
        }
    }
}

/// The same document in fresh memory: one buffer, and nodes in document order.
fn compact(old: &Tree) -> Tree {
    let mut copy = Copy { old, text: String::new(), nodes: Vec::new() };
    let mut open: Vec<NodeId> = Vec::new();
    for visit in old.walk(old.root) {
        match visit {
            Visit::Enter(from) => {
                let id = copy.enter(from, open.last().copied());
                open.push(id);
            }
            Visit::Leave(from) => {
                if let Some(id) = open.pop() {
                    copy.leave(from, id);
                }
            }
        }
    }
    let epilog = copy.span(old.epilog);
    Tree {
        nodes: copy.nodes,
        version: old.version,
        epilog,
        elements: old.elements,
        ..Tree::bare(Arc::from(copy.text))
    }
}

struct Copy<'t> {
    old: &'t Tree,
    text: String,
    nodes: Vec<Node>,
}

impl Copy<'_> {
    fn span(&mut self, span: Span) -> Span {
        let start = self.text.len();
        self.text.push_str(self.old.text(span));
        Span::new(0, start, self.text.len())
    }

    fn enter(&mut self, from: NodeId, parent: Option<NodeId>) -> NodeId {
        let id = NodeId::from_index(self.nodes.len());
        let node = *self.old.node(from);
        let (gap, head) = (self.span(node.gap), self.span(node.head));
        let prev = parent.and_then(|parent| self.nodes[parent.index()].last);
        self.nodes.push(Node { parent, first: None, last: None, prev, next: None, gap, head, ..node });
        if let Some(prev) = prev {
            self.nodes[prev.index()].next = Some(id);
        }
        if let Some(parent) = parent {
            let parent = &mut self.nodes[parent.index()];
            parent.first = parent.first.or(Some(id));
            parent.last = Some(id);
        }
        id
    }

    fn leave(&mut self, from: NodeId, id: NodeId) {
        let node = *self.old.node(from);
        let (tail, end) = (self.span(node.tail), self.span(node.end));
        let copy = &mut self.nodes[id.index()];
        copy.tail = tail;
        copy.end = end;
    }
}
