//! Whether tiles can be seen: how far tiled results are from untiled ones, for the built-in models and those that are
//! named. Results have sixteen bits here, so that differences far below a level of 255 are told apart. Also what planning
//! a gigapixel takes.
//!
//! `cargo bench --bench tiles -- [MODEL …]`, or `make bench MODELS="a.onnx b.onnx"`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

mod support;

use std::path::{Path, PathBuf};

use image::RgbImage;
use support::bare::Bare;
use support::pictures::{self, Deep, Difference};
use support::product::{Product, Run};
use support::verdict::{Verdicts, Wanted};
use support::{Words, median, shift, short};
use upscaled::config::Recipe;
use upscaled::inference::{ModelCard, Planes, Profile, Upscaler, Windows};
use upscaled::pipeline::choice;
use upscaled::size::Size;

/// For pictures in one piece.
const PLENTY: (&str, u64) = ("6GiB", 6 << 30);

/// Sides that tiles are held to.
const TILES: [&str; 2] = ["128", "256"];

/// Exact tiles of 128 px still have a core of 16 px at this radius.
const MOST_RADIUS_PX: u32 = (128 - 16) / 2;

/// Sizes that even alignments and cropped borders trip over.
const AWKWARD: [(u32, u32); 3] = [(640, 427), (97, 89), (33, 600)];

const ONE_LEVEL: Wanted = Wanted::AtMost(1.0);

fn main() {
    let words = Words::read();
    let product = Product::new();
    let mut verdicts = Verdicts::default();
    for model in words.with_built_in() {
        println!("\n{}", short(&model));
        if let Err(why) = examine(&product, &model, &mut verdicts) {
            verdicts.require(format!("{}: {why}", short(&model)), false);
        }
    }
    verdicts.finish();
}

fn examine(product: &Product, model: &str, verdicts: &mut Verdicts) -> Result<(), String> {
    let mut bare = Bare::open(model, &product.state_dir(), PLENTY.1)?;
    let card = bare.session.card().clone();
    let profile = bare.session.profile().clone();
    println!(
        "  scale {}, radius {:?} px, crops {} px, multiples of {} px{}",
        card.scale,
        card.receptive_radius_px,
        card.border_crop_px,
        card.alignment_px,
        if card.pools_globally {
            ", pools globally"
        } else {
            ""
        }
    );
    let case = Case {
        product,
        model,
        name: short(model),
    };
    if card.pools_globally {
        return case.pooled(&mut bare, &card, verdicts);
    }
    // Its arena would stand beside those of the product's processes.
    drop(bare);
    case.planning(&card, &profile, verdicts);
    if card.fixed_shape.is_some() {
        println!("  takes one shape only: nothing untiled to compare with");
        return Ok(());
    }
    if card
        .receptive_radius_px
        .is_some_and(|radius| radius <= MOST_RADIUS_PX)
    {
        case.exact(verdicts)?;
        case.a_fifth(&profile, verdicts)
    } else {
        case.feather(verdicts)
    }
}

struct Case<'a> {
    product: &'a Product,
    model: &'a str,
    name: &'a str,
}

impl Case<'_> {
    fn source(&self, name: &str, picture: &RgbImage) -> PathBuf {
        let path = self.product.dir().join(format!("{name}.png"));
        pictures::write_deep(&path, picture);
        path
    }

    fn upscale(&self, source: &Path, options: &[&str]) -> Result<(Run, Deep), String> {
        let run = self.product.upscale(self.model, &[source], "png", options)?;
        let result = pictures::read_deep(&run.result);
        Ok((run, result))
    }

    fn whole(&self, source: &Path) -> Result<Deep, String> {
        let options = ["--tiling", "none", "--device-memory", PLENTY.0];
        self.upscale(source, &options).map(|(_, result)| result)
    }

    /// Windows that carry what the net sees give the same pixels, wherever they are cut.
    fn exact(&self, verdicts: &mut Verdicts) -> Result<(), String> {
        let cases = [
            ("photo", pictures::natural(400, 300)),
            ("pattern", pictures::test_pattern(333, 257)),
        ];
        for (word, picture) in cases {
            let source = self.source(word, &picture);
            let whole = self.whole(&source)?;
            for tile in TILES {
                let (run, tiled) = self.upscale(&source, &["--tiling", "exact", "--tile", tile])?;
                let difference = Difference::between(&whole, &tiled);
                let what = format!(
                    "{} exact on the {word}, {} tiles of {}×{}, greatest difference to untiled",
                    self.name,
                    run.plan().tiles,
                    run.plan().tile[0],
                    run.plan().tile[1]
                );
                verdicts.check(what, difference.greatest, " levels", ONE_LEVEL);
            }
        }
        Ok(())
    }

    /// Too far-sighted for halos: neighbours are blended, and compared with the reference node's way of doing so.
    fn feather(&self, verdicts: &mut Verdicts) -> Result<(), String> {
        const TILE: &str = "256";
        let source = self.source("photo", &pictures::natural(448, 320));
        let whole = self.whole(&source)?;
        let mut measured = Vec::new();
        for tiling in ["feather", "comfy"] {
            let (run, tiled) = self.upscale(&source, &["--tiling", tiling, "--tile", TILE])?;
            let difference = Difference::between(&whole, &tiled);
            let plan = run.plan();
            println!(
                "  {tiling}: {} tiles of {}×{}, overlap {} px, {:.2} × the pixels; 99.9th percentile {:.3}, greatest {:.3} levels",
                plan.tiles,
                plan.tile[0],
                plan.tile[1],
                plan.overlap,
                plan.computed.unwrap_or_default(),
                difference.percentile_99_9,
                difference.greatest
            );
            measured.push(difference.percentile_99_9);
        }
        let what = format!(
            "{} feather, 99.9th percentile of the difference to untiled",
            self.name
        );
        verdicts.check(what, measured[0], " levels", ONE_LEVEL);
        let what = format!("{} feather over comfy, 99.9th percentile of either", self.name);
        verdicts.check(what, measured[0] / measured[1], "", Wanted::AtMost(1.0));
        Ok(())
    }

    /// A net that sees everything at once is right only in one piece: the size, the place, and the pixels.
    fn pooled(&self, bare: &mut Bare, card: &ModelCard, verdicts: &mut Verdicts) -> Result<(), String> {
        for (width, height) in AWKWARD {
            let picture = pictures::natural(width, height);
            let source = self.source("awkward", &picture);
            let (run, result) = self.upscale(&source, &["--device-memory", PLENTY.0])?;
            let what = format!("{} {width}×{height}", self.name);
            let due = (card.scale.of(width), card.scale.of(height));
            let is_right = result.dimensions() == due;
            verdicts.require(
                format!(
                    "{what}: {}×{} of {}×{} due",
                    result.width(),
                    result.height(),
                    due.0,
                    due.1
                ),
                is_right,
            );
            if !is_right {
                continue;
            }
            let (across, down) = shift::between(&picture, &result);
            verdicts.check(
                format!("{what}, shift to the right in the result"),
                across,
                " px",
                Wanted::Within(0.5),
            );
            verdicts.check(
                format!("{what}, shift downwards in the result"),
                down,
                " px",
                Wanted::Within(0.5),
            );
            if run.plan().tiling != "none" {
                println!("  {what}: cut by {}", run.plan().tiling);
            }
            let whole = whole_by_hand(bare, card, &picture)?;
            let greatest = Difference::between(&whole, &result).greatest;
            let what = format!("{what}, greatest difference to a run padded by reflection");
            verdicts.check(what, greatest, " levels", ONE_LEVEL);
        }
        Ok(())
    }

    /// Little memory costs time and nothing else.
    fn a_fifth(&self, profile: &Profile, verdicts: &mut Verdicts) -> Result<(), String> {
        let need = profile.memory.of_window(512 * 512);
        let kibibytes = |bytes: u64| format!("{}KiB", bytes / 1024);
        let source = self.source("fifth", &pictures::natural(700, 560));
        let again = self.source("fifth-again", &pictures::natural(560, 700));
        let (_, wanted) = self.upscale(
            &source,
            &["--tile", "512", "--device-memory", &kibibytes(2 * need)],
        )?;
        let little = kibibytes(need / 5);
        let options = ["--tile", "512", "--device-memory", &little];
        let run = self
            .product
            .upscale(self.model, &[&source, &again], "png", &options)?;
        let result = pictures::read_deep(&run.result);
        let (first, second) = (&run.documents[0].report, &run.documents[1].report);
        println!(
            "  a fifth of tile 512 ({little}): windows of {}×{}, {} steps down by way of {:?}, {:.3} × the pixels",
            run.plan().tile[0],
            run.plan().tile[1],
            first.oom_retries,
            first.tile_history,
            run.plan().computed.unwrap_or_default()
        );
        let what = format!(
            "{} with a fifth of the memory, greatest difference to plenty",
            self.name
        );
        verdicts.check(
            what,
            Difference::between(&wanted, &result).greatest,
            " levels",
            ONE_LEVEL,
        );
        let what = format!(
            "{} with a fifth of the memory, steps down of the second picture",
            self.name
        );
        verdicts.check(what, f64::from(second.oom_retries), "", Wanted::AtMost(0.0));
        Ok(())
    }

    /// Much memory makes few windows, little makes many: planning is quick with either.
    fn planning(&self, card: &ModelCard, profile: &Profile, verdicts: &mut Verdicts) {
        let image = Size::new(40_000, 25_000);
        let recipe = Recipe::default();
        let demands = choice::demands(card, profile, Windows::Any);
        let clock = self.product.clock();
        let mut worst = 0.0f64;
        for mebibytes in [512, 1024, 4096] {
            let times = (0..9).map(|_| {
                let started = clock.monotonic();
                let limits = choice::limits(&recipe, profile, Windows::Any, mebibytes << 20, None, u32::MAX);
                let chosen = choice::choose(image, &recipe, card, &demands, limits);
                let took = clock.monotonic().since(started).as_secs_f64() * 1000.0;
                if let Err(error) = std::hint::black_box(chosen) {
                    println!("  {mebibytes} MiB: {error}");
                }
                took
            });
            worst = worst.max(median(times.collect()));
        }
        let what = format!("{}, planning a gigapixel", self.name);
        verdicts.check(what, worst, " ms", Wanted::AtMost(10.0));
    }
}

/// What the bare session makes of the whole picture, extended by reflection to what the net asks for.
fn whole_by_hand(bare: &mut Bare, card: &ModelCard, picture: &RgbImage) -> Result<Deep, String> {
    let crop = card.border_crop_px;
    let padded = |len: u32| {
        (len + 2 * crop)
            .max(card.minimum_px)
            .next_multiple_of(card.alignment_px.max(1))
    };
    let size = Size::new(padded(picture.width()), padded(picture.height()));
    let mut planes = Vec::with_capacity(3 * size.pixels() as usize);
    for plane in 0..3 {
        for y in 0..size.height {
            for x in 0..size.width {
                let at = |index: u32, len: u32| pictures::mirrored(i64::from(index) - i64::from(crop), len);
                let pixel = picture.get_pixel(at(x, picture.width()), at(y, picture.height()));
                planes.push(f32::from(pixel.0[plane]) / 255.0);
            }
        }
    }
    let (width, height) = (card.scale.of(picture.width()), card.scale.of(picture.height()));
    let mut whole = Deep::new(width, height);
    bare.session
        .prepare(size, 1, bare.device_bytes)
        .and_then(|()| {
            bare.session.upscale(Planes::new(&planes, size), &mut |result| {
                for (x, y, pixel) in whole.enumerate_pixels_mut() {
                    pixel.0 = [0, 1, 2].map(|plane| {
                        let value = result.row(plane, y as usize)[x as usize];
                        (value.clamp(0.0, 1.0) * 65535.0).round() as u16
                    });
                }
            })
        })
        .map_err(|error| error.to_string())?;
    Ok(whole)
}
