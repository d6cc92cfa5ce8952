//! Nets whose behaviour is known exactly, behind the `Upscaler` seam, and the way of a picture through the pipeline.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use upscaled::budget::Budget;
use upscaled::clock::SystemClock;
use upscaled::codec::DecodeLimits;
use upscaled::config::{Format, Provider, Recipe};
use upscaled::inference::card::{Element, Layout};
use upscaled::inference::{InferenceError, ModelCard, Place, Planes, Profile, Upscaler, Windows};
use upscaled::pipeline::{DeviceBudget, PipelineError, Render, render};
use upscaled::progress::{Cancel, Progress};
use upscaled::ratio::Ratio;
use upscaled::report::RenderReport;
use upscaled::size::Size;
use upscaled::tiling::{MemoryNeed, Speed};

/// Values in single precision, plane by plane, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub planes: [Vec<f32>; 3],
}

/// Texture, gradients and edges, of values that 16 bits hold exactly.
pub fn picture(width: u32, height: u32, seed: u32) -> Picture {
    let value = |plane: u32, x: u32, y: u32| {
        let hash = (x.wrapping_mul(73) ^ y.wrapping_mul(151) ^ (seed + plane).wrapping_mul(2_654_435))
            .wrapping_mul(40_503);
        let noise = (hash >> 7 & 0x3fff) as f32 / 16_384.0;
        let slope = (x + 2 * y) as f32 / (width + 2 * height) as f32;
        let edge = if (x / 17 + y / 13).is_multiple_of(3) {
            0.3
        } else {
            0.0
        };
        ((0.3 * noise + 0.4 * slope + edge).clamp(0.0, 1.0) * 65535.0).round() / 65535.0
    };
    let plane = |plane| {
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| value(plane, x, y))
            .collect()
    };
    Picture {
        width: width as usize,
        height: height as usize,
        planes: [plane(0), plane(1), plane(2)],
    }
}

/// A net: mirrors nothing, forgets nothing, blurs by a box of a known radius (zeros beyond its window), and repeats
/// each pixel with a mark for its phase, so that a shift shows.
#[derive(Debug, Clone)]
pub struct Net {
    card: ModelCard,
    place: Place,
    profile: Profile,
    radius: usize,
    gain: f32,
    pools: bool,
    nan: bool,
    fails_above: u64,
    fails_in: Range<usize>,
    another: bool,
    windows: Windows,
    runs: usize,
    since_prepare: u64,
    wasted: u64,
}

impl Net {
    pub fn nearest(scale: Ratio) -> Self {
        Self {
            card: ModelCard {
                name: Cow::Borrowed("net"),
                sha256: Cow::Borrowed("00"),
                scale,
                channels: 3,
                layout: Layout::Nchw,
                input_type: Element::Fp32,
                value_range: [0.0, 1.0],
                precision: Element::Fp32,
                receptive_radius_px: Some(0),
                alignment_px: 1,
                minimum_px: 1,
                border_crop_px: 0,
                fixed_shape: None,
                pools_globally: false,
                batches: false,
                seam_errors: Vec::new(),
                half_decibels: None,
                weights_bytes: 0,
                licence: Cow::Borrowed(""),
                source: Cow::Borrowed(""),
            },
            place: Place {
                provider: Provider::Cpu,
                device: "cpu".to_owned(),
                precision: "fp32",
            },
            profile: Profile {
                memory: MemoryNeed::proportional(1000, 100.0),
                speeds: Vec::new(),
                learned: None,
            },
            radius: 0,
            gain: 1.0,
            pools: false,
            nan: false,
            fails_above: u64::MAX,
            fails_in: 0..0,
            another: false,
            windows: Windows::Any,
            runs: 0,
            since_prepare: 0,
            wasted: 0,
        }
    }

    pub fn blur(scale: u32, radius: u32) -> Self {
        let mut net = Self::nearest(Ratio::whole(scale));
        net.radius = radius as usize;
        net.card.receptive_radius_px = Some(radius);
        net
    }

    /// Returns only what it has seen whole: `crop` pixels less on each side.
    pub fn cropping(scale: u32, crop: u32) -> Self {
        let mut net = Self::blur(scale, crop);
        net.card.border_crop_px = crop;
        net.card.minimum_px = 2 * crop + 1;
        net
    }

    pub fn pooling(scale: u32) -> Self {
        let mut net = Self::blur(scale, 2);
        net.pools = true;
        net.card.pools_globally = true;
        net.card.receptive_radius_px = None;
        net
    }

    pub fn aligned(mut self, px: u32) -> Self {
        self.card.alignment_px = px;
        self
    }

    pub fn at_least(mut self, px: u32) -> Self {
        self.card.minimum_px = px;
        self
    }

    pub fn of_fixed_shape(mut self, width: u32, height: u32) -> Self {
        self.card.fixed_shape = Some([width, height]);
        self
    }

    pub fn takes_any_shape(&self) -> bool {
        self.card.fixed_shape.is_none()
    }

    pub fn overshooting(mut self, gain: f32) -> Self {
        self.gain = gain;
        self
    }

    pub fn returning_nan(mut self) -> Self {
        self.nan = true;
        self
    }

    pub fn costing(mut self, bytes_per_pixel: f64) -> Self {
        self.profile.memory.bytes_per_pixel = bytes_per_pixel;
        self
    }

    /// Several tiles at once were measured to be a fifth faster.
    pub fn batching(mut self, batch: u32) -> Self {
        let speed = |side: u32, batch: u32, rate: f64| Speed {
            width: side,
            height: side,
            batch,
            seconds: f64::from(side).powi(2) * f64::from(batch) / rate,
        };
        self.card.batches = batch > 1;
        self.profile.speeds = [32, 64, 90, 120, 160, 250, 512]
            .into_iter()
            .flat_map(|side| {
                [
                    speed(side, 1, 1e6),
                    speed(side, batch / 2, 1.1e6),
                    speed(side, batch, 1.2e6),
                ]
            })
            .filter(|speed| speed.batch > 0)
            .collect();
        self
    }

    /// Runs with these numbers fail if they are larger than this.
    pub fn failing_above(mut self, pixels: u64, runs: Range<usize>) -> Self {
        self.fails_above = pixels;
        self.fails_in = runs;
        self
    }

    pub fn with_another_provider(mut self) -> Self {
        self.place.provider = Provider::Cuda;
        self.another = true;
        self
    }

    /// Refuses other windows than these.
    pub fn taking(mut self, windows: Windows) -> Self {
        self.windows = windows;
        self
    }

    /// Pixels of bands that were not finished.
    pub fn wasted_pixels(&self) -> u64 {
        self.wasted
    }

    /// What it makes of a tile.
    pub fn run(&self, tile: &Picture) -> Picture {
        let crop = self.card.border_crop_px as usize;
        let (width, height) = (tile.width - 2 * crop, tile.height - 2 * crop);
        let out = Size::new(
            self.card.scale.of(u32::try_from(width).unwrap()),
            self.card.scale.of(u32::try_from(height).unwrap()),
        );
        let back = 1.0 / self.card.scale.as_f64();
        // The net's own period: a shift by whole input pixels changes nothing but the place.
        let period = self.card.scale.of(self.card.scale.input_step());
        let planes = tile.planes.each_ref().map(|plane| {
            let blurred = blur(plane, tile.width, tile.height, self.radius);
            let mean = plane.iter().sum::<f32>() / plane.len() as f32;
            let bias = if self.pools { 0.2 * mean } else { 0.0 };
            let mut values = Vec::with_capacity(out.pixels() as usize);
            for y in 0..out.height {
                for x in 0..out.width {
                    let source = |at: u32| (f64::from(at) * back + 1e-9) as usize;
                    let phase = (x % period + 3 * (y % period)) as f32 * 0.004;
                    let value = blurred[(source(y) + crop) * tile.width + source(x) + crop];
                    values.push((value * 0.9 + phase + bias - 0.5) * self.gain + 0.5);
                }
            }
            if self.nan {
                values[out.width as usize * (out.height as usize / 2) + out.width as usize / 2] = f32::NAN;
            }
            values
        });
        Picture {
            width: out.width as usize,
            height: out.height as usize,
            planes,
        }
    }

    /// What it makes of a whole picture that is extended by reflection to what it demands, and of that the picture.
    pub fn in_one_piece(&self, picture: &Picture) -> Image {
        let card = &self.card;
        let padded = |len: usize, fixed: Option<u32>| {
            let least = (len as u32 + 2 * card.border_crop_px)
                .max(card.minimum_px)
                .max(fixed.unwrap_or(0));
            if fixed == Some(least) {
                least
            } else {
                least.next_multiple_of(card.alignment_px)
            }
        };
        let width = padded(picture.width, card.fixed_shape.map(|[width, _]| width)) as usize;
        let height = padded(picture.height, card.fixed_shape.map(|[_, height]| height)) as usize;
        let crop = card.border_crop_px as i64;
        let planes = picture.planes.each_ref().map(|plane| {
            let value = |x: usize, y: usize| {
                let (x, y) = (
                    mirror(x as i64 - crop, picture.width),
                    mirror(y as i64 - crop, picture.height),
                );
                plane[y * picture.width + x]
            };
            (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .map(|(x, y)| value(x, y))
                .collect()
        });
        let out = self.run(&Picture {
            width,
            height,
            planes,
        });
        let side = |len: usize| card.scale.of(u32::try_from(len).unwrap()) as usize;
        Image::cut(&out, side(picture.width), side(picture.height))
    }
}

fn mirror(index: i64, len: usize) -> usize {
    let last = len as i64 - 1;
    if last == 0 {
        return 0;
    }
    let index = index.rem_euclid(2 * last);
    index.min(2 * last - index) as usize
}

/// A box blur, zeros beyond the border; every output is the same sum in the same order wherever its window lies.
fn blur(plane: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    let box_sum = |line: &dyn Fn(usize) -> f32, len: usize, at: usize| -> f32 {
        (at.saturating_sub(radius)..=(at + radius).min(len - 1))
            .map(line)
            .sum()
    };
    let area = ((2 * radius + 1) * (2 * radius + 1)) as f32;
    let mut across = vec![0.0; plane.len()];
    let mut out = vec![0.0; plane.len()];
    for y in 0..height {
        for x in 0..width {
            across[y * width + x] = box_sum(&|x| plane[y * width + x], width, x);
        }
    }
    for y in 0..height {
        for x in 0..width {
            out[y * width + x] = box_sum(&|y| across[y * width + x], height, y) / area;
        }
    }
    out
}

impl Upscaler for Net {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    fn windows(&self) -> Windows {
        self.windows
    }

    fn prepare(&mut self, _: Size, _: u32, _: u64) -> Result<(), InferenceError> {
        self.since_prepare = 0;
        Ok(())
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        let pixels = tiles.size.pixels() * tiles.count as u64;
        let is_taken = match self.windows {
            Windows::Any => true,
            Windows::Within(least, most) => {
                let sides = [tiles.size.width, tiles.size.height];
                tiles.count == 1 && sides.iter().all(|side| (least..=most).contains(side))
            }
            Windows::Only(window) => tiles.count == 1 && tiles.size == window,
        };
        assert!(
            is_taken,
            "{} × {} where {:?} are taken",
            tiles.count, tiles.size, self.windows
        );
        self.runs += 1;
        if pixels > self.fails_above && self.fails_in.contains(&self.runs) {
            self.wasted += self.since_prepare;
            return Err(InferenceError::OutOfMemory("no room for the window".to_owned()));
        }
        self.since_prepare += pixels;
        let (width, height) = (tiles.size.width as usize, tiles.size.height as usize);
        let ([fixed_width, fixed_height], any) = match self.card.fixed_shape {
            Some(shape) => (shape, false),
            None => ([0, 0], true),
        };
        assert!(
            any || (tiles.size.width, tiles.size.height) == (fixed_width, fixed_height),
            "not the one shape"
        );
        assert!(
            !any || (
                tiles.size.width % self.card.alignment_px,
                tiles.size.height % self.card.alignment_px
            ) == (0, 0)
        );
        assert!(
            tiles.size.width.min(tiles.size.height) >= self.card.minimum_px,
            "too small a window"
        );
        let mut data = Vec::new();
        let mut size = tiles.size;
        for index in 0..tiles.count {
            let tile = tiles.tile(index);
            let plane =
                |plane: usize| tile.data[plane * width * height..(plane + 1) * width * height].to_vec();
            let out = self.run(&Picture {
                width,
                height,
                planes: [plane(0), plane(1), plane(2)],
            });
            size = Size::new(out.width as u32, out.height as u32);
            out.planes.iter().for_each(|plane| data.extend_from_slice(plane));
        }
        take(Planes::batch(&data, size, tiles.count));
        Ok(())
    }

    fn fall_back(&mut self, _: u64) -> Result<bool, InferenceError> {
        if std::mem::take(&mut self.another) {
            self.place.provider = Provider::Cpu;
            self.fails_in = 0..0;
            return Ok(true);
        }
        Ok(false)
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        None
    }
}

/// A result of 16 bits per sample, and what was told of it.
#[derive(Debug)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    /// Interleaved samples.
    pub pixels: Vec<u16>,
    /// The same before rounding, where it is known.
    values: Vec<f32>,
    pub report: RenderReport,
}

impl Image {
    /// The upper left part of a picture.
    pub fn cut(picture: &Picture, width: usize, height: usize) -> Self {
        let values: Vec<f32> = (0..width * height * 3)
            .map(|at| {
                let (pixel, plane) = (at / 3, at % 3);
                picture.planes[plane][pixel / width * picture.width + pixel % width].clamp(0.0, 1.0)
            })
            .collect();
        let pixels = values
            .iter()
            .map(|value| (value * 65535.0 + 0.5) as u16)
            .collect();
        Self {
            width,
            height,
            pixels,
            values,
            report: RenderReport::default(),
        }
    }

    /// The greatest difference of two samples, of 0..1.
    pub fn differs_by(&self, other: &Self) -> f32 {
        assert_eq!(
            (self.width, self.height),
            (other.width, other.height),
            "the sizes differ"
        );
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

/// Where sources and results lie.
pub struct Site {
    dir: tempfile::TempDir,
    /// What the data plane may hold on the host.
    pub host_bytes: u64,
    /// What inference may hold on the device.
    pub device_bytes: u64,
    /// What the device has for us later on; `None`: the same.
    pub budget: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl Site {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            host_bytes: 1 << 30,
            device_bytes: 1 << 30,
            budget: None,
        }
    }

    /// The picture as a PNG of 16 bits.
    pub fn source(&self, picture: &Picture) -> PathBuf {
        let path = self
            .dir
            .path()
            .join(format!("{}x{}.png", picture.width, picture.height));
        let buffer = image::ImageBuffer::<image::Rgb<u16>, _>::from_fn(
            picture.width as u32,
            picture.height as u32,
            |x, y| {
                let at = y as usize * picture.width + x as usize;
                image::Rgb(
                    picture
                        .planes
                        .each_ref()
                        .map(|plane| (plane[at] * 65535.0).round() as u16),
                )
            },
        );
        buffer.save(&path).unwrap();
        path
    }

    pub fn render(&self, source: &Path, net: &mut dyn Upscaler, set: impl FnOnce(&mut Recipe)) -> Image {
        self.try_render(source, net, set).unwrap()
    }

    pub fn try_render(
        &self,
        source: &Path,
        net: &mut dyn Upscaler,
        set: impl FnOnce(&mut Recipe),
    ) -> Result<Image, PipelineError> {
        let mut recipe = Recipe {
            format: Format::Png,
            ..Recipe::default()
        };
        set(&mut recipe);
        let path = self.dir.path().join("result.png");
        let out = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        let mut report = RenderReport::default();
        render(
            Render {
                source,
                recipe: &recipe,
                decode_limits: &DecodeLimits::default(),
                out,
                host: &Budget::new(self.host_bytes),
                device_bytes: self.device_bytes,
                budget: DeviceBudget(&|_| self.budget.as_ref().map_or(self.device_bytes, |now| now())),
                window_pixels_ceiling: None,
                progress: &Progress::default(),
                cancel: &Cancel::default(),
                clock: &*SystemClock::shared(),
            },
            net,
            &mut report,
        )?;
        let image = image::open(&path).unwrap().to_rgb16();
        let pixels: Vec<u16> = image.as_raw().clone();
        let values = pixels.iter().map(|value| f32::from(*value) / 65535.0).collect();
        Ok(Image {
            width: image.width() as usize,
            height: image.height() as usize,
            pixels,
            values,
            report,
        })
    }
}
