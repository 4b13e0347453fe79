//! What must hold for any bytes: asked by the fuzz targets, and of the kept corpus by the tests.

pub mod actions;
pub mod content;
pub mod messages;
pub mod replica;

pub use content::content;
pub use messages::messages;
pub use replica::replica;
