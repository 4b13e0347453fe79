//! Repeatable randomness: what a reading deviates from the truth, as a pure function of (seed, stream, step).
//!
//! The generator is splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014), used as a
//! counter-based hash: no state is carried, so that a replay from any log of interventions meets the same values. It serves a
//! simulation and MUST NOT be used for keys.

/// The odd constant by which splitmix64 advances: 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// Ticks between two support points of the slow drift: one minute.
const DRIFT_STEP: u64 = 600;
/// Keeps the drift's streams apart from the noise's.
const DRIFT_STREAM: u64 = 1 << 32;

/// A well-mixed word for one step of one stream.
pub(crate) fn draw(seed: u64, stream: u64, step: u64) -> u64 {
    let start = mix(seed ^ mix(stream.wrapping_add(GAMMA)));
    mix(start.wrapping_add(step.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// Noise with a triangular distribution between `-amplitude` and `amplitude`, new at each step.
pub(crate) fn noise(seed: u64, stream: u64, step: u64, amplitude: i64) -> i64 {
    let word = draw(seed, stream, step);
    (uniform(word & 0xffff_ffff, amplitude) + uniform(word >> 32, amplitude)) / 2
}

/// A slow wander between `-amplitude` and `amplitude`: straight lines between points one minute apart.
pub(crate) fn drift(seed: u64, stream: u64, tick: u64, amplitude: i64) -> i64 {
    let (point, part) = (tick / DRIFT_STEP, (tick % DRIFT_STEP) as i64);
    let at = |point| uniform(draw(seed, stream | DRIFT_STREAM, point) & 0xffff_ffff, amplitude);
    let (from, to) = (at(point), at(point + 1));
    from + (to - from) * part / DRIFT_STEP as i64
}

/// Maps a 32-bit word evenly onto `-amplitude..=amplitude`.
fn uniform(word: u64, amplitude: i64) -> i64 {
    let width = 2 * i128::from(amplitude) + 1;
    // word < 2^32, so the quotient is below `width` and fits an i64.
    ((i128::from(word) * width) >> 32) as i64 - amplitude
}

/// splitmix64's output function (Stafford's variant 13).
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_function_is_splitmix64() {
        // First outputs of the reference generator started at 0.
        assert_eq!(mix(GAMMA), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GAMMA.wrapping_mul(2)), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn noise_and_drift_fill_their_band_and_keep_to_it() {
        let values: Vec<i64> = (0..4_000).map(|step| noise(7, 1, step, 400)).collect();
        assert!(values.iter().all(|value| value.abs() <= 400));
        assert!(values.iter().any(|value| *value > 250) && values.iter().any(|value| *value < -250));
        for tick in 0..20_000 {
            assert!(drift(7, 1, tick, 1_500).abs() <= 1_500);
            let step = drift(7, 1, tick + 1, 1_500) - drift(7, 1, tick, 1_500);
            assert!(step.abs() <= 6, "drift is slow");
        }
    }
}
