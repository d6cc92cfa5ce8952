use proptest::prelude::*;

use super::*;
use crate::codec::Channels;
use crate::pipeline::alpha::Transparency;

fn course(made: Size, size: Size, channels: Channels, depth: Depth) -> Course {
    let layout = PixelLayout { channels, depth };
    Course {
        source: Size::new(1, 1),
        source_layout: layout,
        transparency: Transparency::Absent,
        passes: 1,
        made,
        size,
        layout,
    }
}

/// Gives rows in chunks of these heights, over and over.
struct Chunks {
    rows: Vec<u8>,
    row_bytes: usize,
    heights: Vec<usize>,
    given: usize,
    at: usize,
}

impl RowFeed for Chunks {
    fn next_rows(&mut self, _: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let height = self.heights[self.given % self.heights.len()];
        self.given += 1;
        let end = (self.at + height * self.row_bytes).min(self.rows.len());
        let chunk = self.rows[self.at..end].to_vec();
        self.at = end;
        if chunk.is_empty() {
            Err(FeedStopped)
        } else {
            Ok(chunk)
        }
    }
}

fn samples(len: usize, seed: u32) -> Vec<u16> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u16
        })
        .collect()
}

fn resized(course: Course, samples: &[u16], heights: Vec<usize>) -> Vec<u8> {
    let (width, rows) = (course.size.width, course.size.height);
    let row_bytes = course.layout.channels.count() * 2 * course.made.width as usize;
    let bytes = course.layout.row_bytes(width) * rows as usize;
    let target = Target {
        format: crate::codec::ResultFormat::Png,
        courses: vec![course],
        pictures: 1,
        warnings: Vec::new(),
    };
    let chunks = Chunks {
        rows: bytemuck::cast_slice(samples).to_vec(),
        row_bytes,
        heights,
        given: 0,
        at: 0,
    };
    let mut feed = Resized::new(chunks, &target);
    let mut out = Vec::new();
    while out.len() < bytes {
        out.extend(feed.next_rows(Vec::new()).unwrap());
    }
    assert_eq!(out.len(), bytes);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn strips_are_the_picture_resampled_in_one_piece(
        width in 1u32..60, height in 1u32..400, across in 0.2f64..1.6, down in 0.2f64..1.6,
        channels in prop::sample::select(vec![Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba]),
        heights in prop::collection::vec(1usize..150, 1..4), seed: u32
    ) {
        let made = Size::new(width, height);
        let side = |side: u32, factor: f64| ((f64::from(side) * factor).round() as u32).max(1);
        let size = Size::new(side(width, across), side(height, down));
        let course = course(made, size, channels, Depth::Sixteen);
        let samples = samples(channels.count() * (width * height) as usize, seed);
        let out = resized(course, &samples, heights);

        let kind = [PixelType::U16, PixelType::U16x2, PixelType::U16x3, PixelType::U16x4][channels.count() - 1];
        let from = ImageRef::new(width, height, bytemuck::cast_slice(&samples), kind).unwrap();
        let mut whole = Image::new(size.width, size.height, kind);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        Resizer::new().resize(&from, &mut whole, &options).unwrap();
        for (at, (ours, theirs)) in out.as_chunks::<2>().0.iter().zip(whole.buffer().as_chunks::<2>().0).enumerate() {
            let (ours, theirs) = (u16::from_ne_bytes(*ours), u16::from_ne_bytes(*theirs));
            // Weights are rounded to the machine's integers from centres that differ in their last digits; the division
            // by a small alpha magnifies that.
            let most = if channels.has_alpha() { 600 } else { 2 };
            prop_assert!(ours.abs_diff(theirs) <= most, "sample {at}: {ours} and {theirs}");
        }
    }
}

#[test]
fn an_even_picture_stays_even_at_every_size_and_depth() {
    for (level, eight) in [
        (0u16, 0u8),
        (65_535, 255),
        (257 * 128, 128),
        (257 * 128 + 129, 129),
    ] {
        for size in [Size::new(3, 70), Size::new(29, 211), Size::new(64, 300)] {
            let course = course(Size::new(32, 256), size, Channels::Rgb, Depth::Eight);
            let out = resized(course, &vec![level; 32 * 256 * 3], vec![100]);
            assert!(out.iter().all(|sample| *sample == eight), "{level} at {size}");
        }
    }
}

#[test]
fn invisible_colours_do_not_reach_visible_ones() {
    let made = Size::new(64, 64);
    let course = course(made, Size::new(48, 48), Channels::Rgba, Depth::Eight);
    // Red and visible on the left, green and invisible on the right.
    let pixel = |x: usize| {
        if x < 32 {
            [65_535, 0, 0, 65_535]
        } else {
            [0, 65_535, 0, 0]
        }
    };
    let samples: Vec<u16> = (0..64 * 64).flat_map(|at| pixel(at % 64)).collect();
    for pixel in resized(course, &samples, vec![64]).as_chunks::<4>().0 {
        assert!(pixel[3] == 0 || pixel[1] <= 1 && pixel[0] >= 254, "{pixel:?}");
    }
}
