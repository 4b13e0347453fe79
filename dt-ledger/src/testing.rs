//! For those who implement the seams, and for property tests.
