//! Owns the out-of-memory ladder: what is tried after a run did not fit, and when to try more again. Never runs a
//! tile.
//!
//! Finished rows are final; only the current band is done again: with half the batch, then with windows half as high
//! and half as wide. A much smaller window makes the session start anew (`Upscaler::prepare`), so what its arena held
//! of the larger one is given back. What the device has for us is asked anew at each step. Below the last rung lies the next provider, if the configuration has one.

use crate::size::Size;
use crate::tiling::plan::{Joint, Limits, MIN_WINDOW_PX, TilePlan};

/// One rung: how tiles are joined, and what bounds them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// How tiles become one picture.
    pub joint: Joint,
    /// What there is for them.
    pub limits: Limits,
}

/// Bands done on a lower rung before the one above is tried again: memory that another program took may be free
/// again. Doubled each time that it is not.
const BANDS_BEFORE_STEP_UP: u32 = 4;

/// The smallest tile of the reference node.
const SMALLEST_REFERENCE_TILE_PX: u32 = 128;

/// The steps taken for one picture.
#[derive(Debug)]
pub struct Ladder {
    /// From the top to where we stand.
    rungs: Vec<Rung>,
    /// What follows on a picture in one piece that does not fit, if it may be cut after all.
    otherwise: Option<Joint>,
    history: Vec<Size>,
    retries: u32,
    bands_here: u32,
    bands_before_step_up: u32,
}

impl Ladder {
    /// Stands on the highest rung.
    pub fn new(joint: Joint, limits: Limits, otherwise: Option<Joint>) -> Self {
        Self {
            rungs: vec![Rung { joint, limits }],
            otherwise,
            history: Vec::new(),
            retries: 0,
            bands_here: 0,
            bands_before_step_up: BANDS_BEFORE_STEP_UP,
        }
    }

    /// Where we stand.
    pub fn rung(&self) -> Rung {
        self.rungs[self.rungs.len() - 1]
    }

    /// The device has another amount of memory for us now, on all rungs.
    pub fn set_budget(&mut self, device_bytes: u64) {
        for rung in &mut self.rungs {
            rung.limits.device_bytes = device_bytes;
        }
    }

    /// Notes that windows of this shape are about to be tried.
    pub fn try_window(&mut self, window: Size) {
        if self.history.last() != Some(&window) {
            self.history.push(window);
        }
    }

    /// Steps down from `plan`, which did not fit. `None` at the foot of the ladder.
    pub fn step_down(&mut self, plan: &TilePlan) -> Option<Rung> {
        let rung = below(self.rung(), plan, self.otherwise)?;
        if self.rungs.len() > 1 && self.bands_here == 0 {
            self.bands_before_step_up = self.bands_before_step_up.saturating_mul(2);
        }
        self.rungs.push(rung);
        self.retries += 1;
        self.bands_here = 0;
        Some(rung)
    }

    /// Notes a band that was done. `true`: it is time to try the rung above, on which we then stand.
    pub fn band_done(&mut self) -> bool {
        self.bands_here += 1;
        let up = self.rungs.len() > 1 && self.bands_here >= self.bands_before_step_up;
        if up {
            self.rungs.pop();
            self.bands_before_step_up = self.bands_before_step_up.saturating_mul(2);
            self.bands_here = 0;
        }
        up
    }

    /// Starts over on the highest rung, after another provider was taken.
    pub fn start_over(&mut self) {
        self.rungs.truncate(1);
        self.retries += 1;
        self.bands_here = 0;
    }

    /// Steps down so far, another provider included.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The longer sides of the windows tried, in order.
    pub fn tile_history(&self) -> Vec<u32> {
        self.history
            .iter()
            .map(|window| window.width.max(window.height))
            .collect()
    }
}

fn below(rung: Rung, plan: &TilePlan, otherwise: Option<Joint>) -> Option<Rung> {
    let window = plan.window();
    if plan.batch > 1 {
        let limits = Limits {
            batch: plan.batch / 2,
            ..rung.limits
        };
        return Some(Rung { limits, ..rung });
    }
    let side_px = (window.width.max(window.height) / 2).max(MIN_WINDOW_PX);
    let pixels = (window.pixels() / 4).max(u64::from(MIN_WINDOW_PX).pow(2));
    let limits = Limits {
        window_pixels: pixels.min(rung.limits.window_pixels),
        window_side_px: side_px.min(rung.limits.window_side_px),
        ..rung.limits
    };
    let smaller = pixels < window.pixels();
    match rung.joint {
        Joint::Comfy { tile_px, overlap_px } => {
            let tile_px = tile_px / 2;
            let joint = Joint::Comfy { tile_px, overlap_px };
            (tile_px >= SMALLEST_REFERENCE_TILE_PX && tile_px > overlap_px).then_some(Rung {
                joint,
                limits: rung.limits,
            })
        }
        Joint::Whole => otherwise.filter(|_| smaller).map(|joint| Rung { joint, limits }),
        joint => smaller.then_some(Rung { joint, limits }),
    }
    .map(|rung| Rung {
        joint: affordable(rung.joint, side_px),
        ..rung
    })
}

/// A window of this side cannot be blended over more than a quarter of it: less overlap is better than no result.
fn affordable(joint: Joint, side_px: u32) -> Joint {
    match joint {
        Joint::Feather { overlap_px } => Joint::Feather {
            overlap_px: overlap_px.min(side_px / 4),
        },
        joint => joint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Ratio;
    use crate::tiling::plan::{Demands, plan};
    use crate::tiling::{MemoryNeed, Speed};

    const LIMITS: Limits = Limits {
        device_bytes: 1 << 30,
        window_side_px: u32::MAX,
        window_pixels: 1 << 18,
        run_pixels: u64::MAX,
        window_rows: u32::MAX,
        batch: 8,
    };

    fn plan_on(rung: Rung) -> TilePlan {
        let speed = |batch, seconds| Speed {
            width: 512,
            height: 512,
            batch,
            seconds,
        };
        let demands = Demands {
            align_px: 1,
            min_px: 1,
            crop_px: 0,
            fixed: None,
            scale: Ratio::whole(2),
            batches: true,
            memory: MemoryNeed::proportional(0, 100.0),
            speeds: vec![speed(1, 1.0), speed(2, 1.0)],
        };
        plan(Size::new(3000, 2000), 0, rung.joint, &demands, &rung.limits).unwrap()
    }

    #[test]
    fn every_step_is_smaller_and_the_ladder_ends() {
        for joint in [Joint::Exact { halo_px: 20 }, Joint::Feather { overlap_px: 16 }] {
            let mut ladder = Ladder::new(
                joint,
                Limits {
                    window_pixels: 1 << 20,
                    ..LIMITS
                },
                None,
            );
            let mut held = plan_on(ladder.rung());
            ladder.try_window(held.window());
            let mut steps = 0;
            while let Some(rung) = ladder.step_down(&held) {
                let next = plan_on(rung);
                let run = |plan: &TilePlan| plan.window().pixels() * u64::from(plan.batch);
                assert!(
                    run(&next) < run(&held),
                    "{} after {}",
                    next.window(),
                    held.window()
                );
                held = next;
                ladder.try_window(held.window());
                steps += 1;
            }
            assert!(held.window().pixels() <= 80 * 80, "{}", held.window());
            assert_eq!(ladder.retries(), steps);
        }
    }

    #[test]
    fn the_references_tile_is_halved_twice() {
        let mut ladder = Ladder::new(
            Joint::Comfy {
                tile_px: 512,
                overlap_px: 32,
            },
            LIMITS,
            None,
        );
        let mut sides = Vec::new();
        while let Some(rung) = ladder.step_down(&plan_on(ladder.rung())) {
            sides.push(plan_on(rung).window());
        }
        assert_eq!(sides, [Size::new(256, 256), Size::new(128, 128)]);
    }

    #[test]
    fn after_clean_bands_the_rung_above_is_tried_and_less_often_when_it_fails() {
        let mut ladder = Ladder::new(Joint::Exact { halo_px: 20 }, LIMITS, None);
        let mut failed_steps_up = 0;
        let mut bands = 0;
        ladder.step_down(&plan_on(ladder.rung())).unwrap();
        while bands < 100 {
            bands += 1;
            if ladder.band_done() {
                failed_steps_up += 1;
                ladder.step_down(&plan_on(ladder.rung())).unwrap();
            }
        }
        assert!((2..=5).contains(&failed_steps_up), "{failed_steps_up}");
    }
}
