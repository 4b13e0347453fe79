//! How all benchmarks measure, and the bare operations that several of them stand beside.
#![expect(clippy::expect_used, reason = "a benchmark's set-up reports by panicking")]

use core::hint::black_box;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::Criterion;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use tokio::runtime::{Builder, Runtime};

/// Samples of each figure: enough for a median on a noisy machine.
const SAMPLES: usize = 15;
/// How long each figure is measured. Together with [`WARM_UP`] it keeps the whole run within some three minutes.
const MEASUREMENT: Duration = Duration::from_millis(1800);
/// How long each figure is run before.
const WARM_UP: Duration = Duration::from_millis(400);
/// Resamples of the bootstrap: the ratios are far from needing criterion's 100,000.
const RESAMPLES: usize = 5_000;

/// The configuration of every benchmark, with the arguments of the command line.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(SAMPLES)
        .measurement_time(MEASUREMENT)
        .warm_up_time(WARM_UP)
        .nresamples(RESAMPLES)
        .configure_from_args()
}

/// Whether nothing is measured (`--test`): then set-up need not be large.
#[must_use]
pub fn is_trial() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// A runtime of the calling thread alone: in-process networks are always ready, so it adds next to nothing.
///
/// # Panics
/// If the system gives no runtime.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

/// 0, 1, 2, …: for names and versions that no two iterations share.
#[derive(Debug, Default)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// The next number.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Ed25519 without anything around it: what signatures cost in any design.
#[derive(Debug)]
pub struct Ed25519 {
    signing: SigningKey,
    verifying: VerifyingKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Ed25519 {
    /// A key pair, and a signature over `message`.
    #[must_use]
    pub fn over(message: &[u8]) -> Self {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let (verifying, signature) = (signing.verifying_key(), signing.sign(message));
        Self { signing, verifying, message: message.to_vec(), signature }
    }

    /// Signs the message `times` times.
    pub fn sign(&self, times: usize) {
        for _ in 0..times {
            black_box(self.signing.sign(black_box(&self.message)));
        }
    }

    /// Verifies the signature `times` times, one by one and strictly, as replicas must.
    ///
    /// # Panics
    /// Never: the signature is good.
    pub fn verify(&self, times: usize) {
        for _ in 0..times {
            self.verifying
                .verify_strict(black_box(&self.message), &self.signature)
                .expect("a good signature");
        }
    }
}
