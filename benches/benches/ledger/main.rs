//! Blocks of the ledger: applied in memory beside their signatures alone, made durable beside the store and the disk alone; and edits of a
//! large specification.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

mod durable;
mod edit;
mod memory;

/// Of all that a block takes memory for most is small and given back soon; what is kept would lie scattered among it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = benches::criterion();
    memory::bench(&mut criterion);
    edit::bench(&mut criterion);
    for transactions in [1, durable::BLOCK] {
        durable::bench(&mut criterion, transactions);
    }
    criterion.final_summary();
}
