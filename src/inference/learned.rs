//! Owns what follows from running out of memory: the window that the next picture starts with, when a larger one is
//! tried again, and when the lesson is forgotten. Pure; never measures and never writes files.
//!
//! The lesson does not scale with the budget: that the device had less room than its budget said, because another program
//! holds some of it, is likelier than that the need was measured wrongly.

use super::profile::{Learned, Profile};

/// Pictures without a step down before a larger window is tried again. A failed try costs one band, so at eight it
/// is lost in what the pictures take, and memory that came back is used within minutes.
pub const CLEAN_PICTURES: u32 = 8;

/// What the runs of one picture at one place told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The device budget, bytes.
    pub device_bytes: u64,
    /// The largest run (window times batch, input pixels) that worked after the last one that did not.
    pub worked_pixels: Option<u64>,
    /// The smallest run that did not fit.
    pub failed_pixels: Option<u64>,
}

/// The most input pixels of one run to plan the next picture with; `None` where nothing but the estimate limits it.
pub fn ceiling(profile: &Profile, device_bytes: u64) -> Option<u64> {
    let learned = profile.learned?;
    let pixels = if is_step_due(&learned, device_bytes) {
        learned.window_pixels.saturating_mul(2)
    } else {
        learned.window_pixels
    };
    (pixels < profile.memory.largest_window(device_bytes)).then_some(pixels)
}

/// Draws the lesson from a picture that was planned with [`ceiling`].
pub fn after_picture(profile: &mut Profile, evidence: &Evidence) {
    let Some(worked) = evidence.worked_pixels else {
        // Not even the smallest window fitted, or nothing was run: there is no window to start with.
        return;
    };
    profile.learned = match (profile.learned, evidence.failed_pixels) {
        (None, None) => None,
        (None, Some(_)) => Some(Learned {
            window_pixels: worked,
            device_bytes: evidence.device_bytes,
            clean_pictures: 0,
        }),
        (Some(learned), Some(failed)) => Some(Learned {
            // A step up that failed says nothing against the window below it, and the ladder may have gone past that.
            window_pixels: if failed > learned.window_pixels {
                worked.max(learned.window_pixels)
            } else {
                worked
            },
            // The highest budget that did not help: budgets that come and go are no reason to try again.
            device_bytes: learned.device_bytes.max(evidence.device_bytes),
            clean_pictures: 0,
        }),
        (Some(learned), None) => after_clean_picture(profile, learned, worked, evidence.device_bytes),
    };
}

fn after_clean_picture(
    profile: &Profile,
    learned: Learned,
    worked: u64,
    device_bytes: u64,
) -> Option<Learned> {
    if worked > learned.window_pixels {
        // Up a step. Without a ceiling it was as far as the estimate goes: there is nothing left to remember, unless it
        // was only a smaller budget that set the limit.
        if ceiling(profile, device_bytes).is_none() && device_bytes >= learned.device_bytes {
            return None;
        }
        return Some(Learned {
            window_pixels: worked,
            device_bytes: learned.device_bytes.max(device_bytes),
            // Memory came back, so the next picture tries the next step: only a failure makes it wait again.
            clean_pictures: CLEAN_PICTURES,
        });
    }
    // A picture (or a budget) too small to come near the window proves nothing about it.
    let counts = worked > learned.window_pixels / 2;
    Some(Learned {
        clean_pictures: (learned.clean_pictures + u32::from(counts)).min(CLEAN_PICTURES),
        ..learned
    })
}

fn is_step_due(learned: &Learned, device_bytes: u64) -> bool {
    learned.clean_pictures >= CLEAN_PICTURES
        || device_bytes >= learned.device_bytes.saturating_add(learned.device_bytes / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::MemoryNeed;

    const BUDGET: u64 = 1 << 30;

    fn profile() -> Profile {
        Profile {
            memory: MemoryNeed::proportional(1 << 20, 1024.0),
            speeds: Vec::new(),
            learned: None,
        }
    }

    /// One picture on a device that really has room for so many pixels: goes down the ladder as the pipeline does,
    /// and tells whether it had to.
    fn picture(profile: &mut Profile, wanted: u64, capacity: u64, device_bytes: u64) -> bool {
        let mut window = wanted
            .min(profile.memory.largest_window(device_bytes))
            .min(ceiling(profile, device_bytes).unwrap_or(u64::MAX));
        let mut failed = None;
        while window > capacity {
            failed = Some(window);
            window /= 4;
        }
        let evidence = Evidence {
            device_bytes,
            worked_pixels: Some(window),
            failed_pixels: failed,
        };
        after_picture(profile, &evidence);
        failed.is_some()
    }

    #[test]
    fn the_picture_after_a_step_down_starts_where_that_one_ended() {
        let mut profile = profile();
        assert!(picture(&mut profile, 262_144, 70_000, BUDGET));
        assert_eq!(ceiling(&profile, BUDGET), Some(65_536));
        assert!(!picture(&mut profile, 262_144, 70_000, BUDGET));
    }

    #[test]
    fn a_failed_step_up_keeps_the_window_that_had_worked() {
        let mut profile = profile();
        picture(&mut profile, 262_144, 70_000, BUDGET);
        for _ in 0..CLEAN_PICTURES {
            assert!(!picture(&mut profile, 262_144, 70_000, BUDGET));
        }
        assert_eq!(ceiling(&profile, BUDGET), Some(131_072));
        assert!(picture(&mut profile, 262_144, 70_000, BUDGET));
        assert_eq!(ceiling(&profile, BUDGET), Some(65_536));
    }

    #[test]
    fn memory_that_came_back_is_used_again_and_the_lesson_forgotten() {
        let mut profile = profile();
        picture(&mut profile, u64::MAX, 10_000, BUDGET);
        let pictures = (0..)
            .take_while(|_| profile.learned.is_some() && !picture(&mut profile, u64::MAX, u64::MAX, BUDGET))
            .count();
        assert!(pictures < CLEAN_PICTURES as usize + 12, "{pictures}");
        assert_eq!(ceiling(&profile, BUDGET), None);
    }

    #[test]
    fn a_budget_grown_by_half_is_tried_at_once() {
        let mut profile = profile();
        picture(&mut profile, 262_144, 70_000, BUDGET);
        assert_eq!(ceiling(&profile, BUDGET / 2 * 3), Some(131_072));
    }

    #[test]
    fn small_pictures_prove_nothing_about_large_windows() {
        let mut profile = profile();
        picture(&mut profile, 262_144, 70_000, BUDGET);
        for _ in 0..100 {
            picture(&mut profile, 10_000, 70_000, BUDGET);
        }
        assert_eq!(ceiling(&profile, BUDGET), Some(65_536));
    }

    #[test]
    fn a_picture_that_did_not_fit_at_all_teaches_no_window() {
        let mut profile = profile();
        let evidence = Evidence {
            device_bytes: BUDGET,
            worked_pixels: None,
            failed_pixels: Some(4096),
        };
        after_picture(&mut profile, &evidence);
        assert_eq!(profile.learned, None);
    }

    proptest! {
        /// On a device that stays as it is, at most one picture in so many goes down the ladder, whatever the pictures.
        #[test]
        fn failed_steps_are_rare(
            capacity in 5_000u64..2_000_000,
            budget_mb in 8u64..4_000,
            pictures in proptest::collection::vec(4_096u64..4_000_000, 1..200),
        ) {
            let mut profile = profile();
            let mut clean_since_failure = None;
            for wanted in pictures {
                if picture(&mut profile, wanted, capacity, budget_mb << 20) {
                    if let Some(clean) = clean_since_failure {
                        prop_assert!(clean >= CLEAN_PICTURES, "failed again after {clean} pictures");
                    }
                    clean_since_failure = Some(0);
                } else if let Some(clean) = &mut clean_since_failure {
                    *clean += 1;
                }
            }
        }
    }
}
