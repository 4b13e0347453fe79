//! Frees what edits left behind: removed nodes, and the text they pointed to.

use crate::document::Document;

/// Dead nodes and dead bytes that are never worth a compaction.
const SLACK_NODES: u64 = 4096;
const SLACK_BYTES: u64 = 1 << 20;

impl Document {
    /// Reads the document's bytes anew once what is dead outweighs what lives, so memory stays proportional to the
    /// document and the cost per edit constant on average.
    pub(crate) fn compact_if_worthwhile(&mut self) {
        let tree = &self.tree;
        let (nodes, buffers) = (tree.nodes.len() as u64, tree.buffers.len() as u64);
        let live = u64::from(tree.elements);
        let is_worthwhile = nodes > 2 * live + SLACK_NODES
            || buffers > 2 * live + SLACK_NODES
            || tree.held > 2 * tree.bytes + SLACK_BYTES;
        if is_worthwhile {
            // What was edited can always be parsed again; if it could not, nothing would be lost but memory.
            let fresh = Self::parse(self.to_bytes(), &self.limits);
            debug_assert!(fresh.as_ref().is_ok_and(|fresh| fresh.root_hash == self.root_hash));
            if let Ok(fresh) = fresh {
                *self = fresh;
            }
        }
    }
}
