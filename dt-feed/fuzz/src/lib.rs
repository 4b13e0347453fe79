//! What must hold for any bytes: asked by the fuzz targets, and of the kept corpus by the tests.

pub mod decoders;
pub mod feed;
pub mod validators;

pub use decoders::decoders;
pub use validators::validators;
