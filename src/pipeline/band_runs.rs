//! Owns the runs of one band: its windows are cut as the device asks for them, and cores are put into the band in the
//! order in which they were cut, however many runs are in flight. Never decides what a band is made of and never goes
//! down the ladder.

use std::collections::VecDeque;

use super::Render;
use super::assemble::{Band, Placement};
use super::blend::Blend;
use super::extract::{RowWindow, Samples};
use crate::clock::{Monotonic, seconds_between};
use crate::inference::{InferenceError, Planes, Run, Runs, Upscaler};
use crate::size::Size;
use crate::tiling::{Span, TilePlan};

/// Where cores of the band in work go.
pub(super) enum Assembly {
    /// Cores partition the band.
    Direct(Band),
    /// They overlap.
    Blended,
}

impl Assembly {
    fn place(
        &mut self,
        blend: Option<&mut Blend>,
        result: Planes<'_>,
        column: &Span,
        row: &Span,
        samples: Samples,
    ) -> bool {
        match (self, blend) {
            (Self::Direct(band), _) => {
                band.place(result, &Placement::of(column, row, row.result_start), samples)
            }
            (Self::Blended, Some(blend)) => blend.add(result, column, row, samples),
            (Self::Blended, None) => unreachable!("a blended band was begun with its blend"),
        }
    }

    fn place_constant(
        &mut self,
        blend: Option<&mut Blend>,
        value: f32,
        column: &Span,
        row: &Span,
        samples: Samples,
    ) {
        match (self, blend) {
            (Self::Direct(band), _) => {
                band.place_constant(value, &Placement::of(column, row, row.result_start), samples);
            }
            (Self::Blended, Some(blend)) => blend.add_constant(value, column, row, samples),
            (Self::Blended, None) => unreachable!("a blended band was begun with its blend"),
        }
    }
}

/// A tile in a run: its column, and which of its samples.
#[derive(Debug, Clone, Copy)]
struct Tile {
    column: usize,
    samples: Samples,
    /// The only value of its alpha: it is not asked for, the model would give it back.
    constant: Option<f32>,
}

/// Tiles whose results are due.
struct Due {
    tiles: Vec<Tile>,
    /// Pixels that go through the model for them.
    pixels: u64,
}

/// What a band is made from, and where it goes.
pub(super) struct BandWork<'a> {
    pub plan: &'a TilePlan,
    /// Which band.
    pub index: usize,
    /// Rows of the source, as far as its windows reach.
    pub rows: &'a RowWindow,
    /// What each tile is asked for.
    pub asked: &'a [Samples],
    pub assembly: &'a mut Assembly,
    pub blend: Option<&'a mut Blend>,
    pub buffers: &'a mut Vec<Vec<f32>>,
    pub render: &'a Render<'a>,
}

/// What was done, well or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct BandDone {
    /// Pixels of the source that were told as finished.
    pub advanced: u64,
    /// Pixels that went through the model.
    pub computed_pixels: u64,
    /// Time for cutting and putting together.
    pub own_s: f64,
}

/// The runs of a band, as the session has them done.
pub(super) struct BandRuns<'a> {
    work: BandWork<'a>,
    /// All tiles, in order.
    tiles: Vec<Tile>,
    /// The first that was not cut yet.
    uncut: usize,
    /// Tiles of the runs whose results are due, in order. One whose tiles are all constant is no run.
    due: VecDeque<Due>,
    /// Whether somebody asked to stop, or what came back is worthless.
    stopped: Option<InferenceError>,
    done: BandDone,
}

impl<'a> BandRuns<'a> {
    pub(super) fn new(work: BandWork<'a>) -> Self {
        let columns = 0..work.plan.columns.spans.len();
        let tile = |column| {
            work.asked.iter().map(move |samples| Tile {
                column,
                samples: *samples,
                constant: None,
            })
        };
        let tiles = columns.flat_map(tile).collect();
        Self {
            tiles,
            uncut: 0,
            due: VecDeque::new(),
            stopped: None,
            done: BandDone {
                advanced: 0,
                computed_pixels: 0,
                own_s: 0.0,
            },
            work,
        }
    }

    /// # Errors
    /// As [`Upscaler::upscale`]; [`InferenceError::Terminated`] where somebody asked to stop.
    pub(super) fn have_done_by(&mut self, upscaler: &mut dyn Upscaler) -> Result<(), InferenceError> {
        upscaler.upscale_all(self)?;
        match self.stopped.take() {
            Some(error) => Err(error),
            None => {
                assert!(self.due.is_empty(), "I6: a band ended with tiles missing");
                Ok(())
            }
        }
    }

    pub(super) fn done(self) -> BandDone {
        self.done
    }

    fn row(&self) -> &'a Span {
        &self.work.plan.rows.spans[self.work.index]
    }

    fn now(&self) -> Monotonic {
        self.work.render.clock.monotonic()
    }

    fn cut(&mut self) -> Option<Run> {
        let row = self.row();
        let plan = self.work.plan;
        // Ragged tiles of one run differ in shape; the reference has no batches.
        while self.uncut < self.tiles.len() {
            let end = (self.uncut + plan.batch as usize).min(self.tiles.len());
            let mut tiles = self.tiles[self.uncut..end].to_vec();
            self.uncut = end;
            let mut planes = self.work.buffers.pop().unwrap_or_default();
            planes.clear();
            for tile in &mut tiles {
                let (column, begin) = (&plan.columns.spans[tile.column], planes.len());
                let constant = self.work.rows.fill(column, row, tile.samples, &mut planes);
                if tile.samples == Samples::Alpha && constant.is_some() {
                    planes.truncate(begin);
                    tile.constant = constant;
                }
            }
            let mut asked = tiles.iter().filter(|tile| tile.constant.is_none());
            let Some(first) = asked.next() else {
                self.work.buffers.push(planes);
                self.due.push_back(Due { tiles, pixels: 0 });
                self.place_constants();
                continue;
            };
            let window = Size::new(plan.columns.spans[first.column].window_len, row.window_len);
            let count = asked.count() + 1;
            let pixels = window.pixels() * count as u64;
            self.due.push_back(Due { tiles, pixels });
            return Some(Run {
                planes,
                window,
                count,
            });
        }
        None
    }

    /// Puts the next tiles into the band that need no results.
    fn place_constants(&mut self) {
        while let Some(due) = self.due.pop_front_if(|due| due.pixels == 0) {
            self.place(&due.tiles, None);
        }
    }

    fn place(&mut self, tiles: &[Tile], results: Option<Planes<'_>>) {
        let row = self.row();
        let BandWork {
            plan,
            assembly,
            blend,
            ..
        } = &mut self.work;
        let (mut taken, mut finite) = (0, true);
        for tile in tiles {
            let column = &plan.columns.spans[tile.column];
            match (tile.constant, results) {
                (Some(value), _) => {
                    assembly.place_constant(blend.as_deref_mut(), value, column, row, tile.samples);
                }
                (None, Some(results)) => {
                    let result = results.tile(taken);
                    taken += 1;
                    finite &= assembly.place(blend.as_deref_mut(), result, column, row, tile.samples);
                }
                (None, None) => unreachable!("tiles without results are constant"),
            }
        }
        if !finite {
            let text = "it returned values that are not numbers";
            self.stopped
                .get_or_insert_with(|| InferenceError::Model(text.to_owned()));
            return;
        }
        let colours = tiles.iter().filter(|tile| tile.samples == Samples::Colour);
        let pixels: u64 = colours.map(|tile| self.new_pixels(tile.column)).sum();
        self.work.render.progress.advance(pixels);
        self.done.advanced += pixels;
    }

    /// Pixels of the source that a tile answers for and none before it did.
    fn new_pixels(&self, column: usize) -> u64 {
        let new = |spans: &[Span], index: usize| {
            let end = spans
                .get(index + 1)
                .map_or(spans[index].core_end(), |next| next.core_start);
            u64::from(end - spans[index].core_start)
        };
        let plan = self.work.plan;
        new(&plan.columns.spans, column) * new(&plan.rows.spans, self.work.index)
    }
}

impl Runs for BandRuns<'_> {
    fn next(&mut self) -> Option<Run> {
        if self.work.render.cancel.is_cancelled() {
            self.stopped.get_or_insert(InferenceError::Terminated);
        }
        if self.stopped.is_some() {
            return None;
        }
        let begun = self.now();
        let run = self.cut();
        self.done.own_s += seconds_between(begun, self.now());
        run
    }

    fn take(&mut self, results: Planes<'_>) {
        let begun = self.now();
        if let Some(due) = self.due.pop_front() {
            self.done.computed_pixels += due.pixels;
            self.place(&due.tiles, Some(results));
            self.place_constants();
        }
        self.done.own_s += seconds_between(begun, self.now());
    }

    fn give_back(&mut self, planes: Vec<f32>) {
        self.work.buffers.push(planes);
    }
}
