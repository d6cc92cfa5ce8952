//! What reading and writing pictures costs: raw megabytes of rows per second of one core, and the size of the file
//! next to that of its rows, for a picture that was enlarged as results are. The median of some runs.
//!
//! `cargo bench --bench codec`, or `-- photo.jpg 5` for another picture, enlarged four times, and number of runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::path::Path;

use image::DynamicImage;
use image::imageops::FilterType;
use upscaled::clock::{SystemClock, seconds_between};
use upscaled::codec::{
    self, Carried, Channels, DecodeLimits, Depth, FeedStopped, PixelLayout, ResultFormat, RowFeed, Sequence,
    SinkSpec,
};
use upscaled::config::EncodeSettings;
use upscaled::size::Size;

/// As tall as the bands of the pipeline.
const ROWS_PER_CHUNK: usize = 128;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let small = args.first().map_or_else(
        || support::photo(1024, 768).into(),
        |path| image::open(path).expect("the picture is read"),
    );
    let runs = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let large = small.resize_exact(small.width() * 4, small.height() * 4, FilterType::CatmullRom);
    let size = Size::new(large.width(), large.height());
    let rgb8 = DynamicImage::from(large.to_rgb8());
    let rgb16 = DynamicImage::from(large.to_rgb16());
    println!("{size} pixels; write and read in raw MB/s, file in % of raw, most bytes promised in MB");
    println!("format          write    read    file  encoder  decoder");
    for (format, picture, depth, quality) in [
        (ResultFormat::Png, &rgb8, Depth::Eight, 92),
        (ResultFormat::Png, &rgb16, Depth::Sixteen, 92),
        (ResultFormat::Jpeg, &rgb8, Depth::Eight, 92),
        (ResultFormat::Tiff, &rgb8, Depth::Eight, 92),
        (ResultFormat::Tiff, &rgb16, Depth::Sixteen, 92),
        (ResultFormat::Webp, &rgb8, Depth::Eight, 92),
    ] {
        let layout = PixelLayout {
            channels: Channels::Rgb,
            depth,
        };
        let spec = SinkSpec {
            size,
            layout,
            format,
            quality,
            settings: EncodeSettings::default(),
            metadata: Carried::default(),
            sequence: Sequence::Single,
        };
        measure(&spec, picture.as_bytes(), runs);
    }
}

fn measure(spec: &SinkSpec, rows: &[u8], runs: usize) {
    let clock = SystemClock::shared();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("result");
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let (mut file_bytes, mut decode_bytes) = (0, 0);
    for _ in 0..runs {
        let file = File::create(&path).expect("the result's file");
        let mut feed = Chunks {
            rows,
            chunk_bytes: spec.layout.row_bytes(spec.size.width) * ROWS_PER_CHUNK,
        };
        let started = clock.monotonic();
        file_bytes = codec::encode(spec, &mut feed, file)
            .expect("the picture is written")
            .bytes;
        writes.push(seconds_between(started, clock.monotonic()));
        let started = clock.monotonic();
        decode_bytes = read(&path);
        reads.push(seconds_between(started, clock.monotonic()));
    }
    let speed = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        rows.len() as f64 / 1e6 / seconds[seconds.len() / 2]
    };
    println!(
        "{:<5} {:>2} bits {:>7.0} {:>7.0} {:>7.1} {:>8.1} {:>8.1}",
        spec.format.as_str(),
        spec.layout.depth.bits(),
        speed(writes),
        speed(reads),
        file_bytes as f64 * 100.0 / rows.len() as f64,
        codec::encode_bytes(spec) as f64 / 1e6,
        decode_bytes as f64 / 1e6,
    );
}

/// Reads a file's rows and tells what its header promised to hold.
fn read(path: &Path) -> u64 {
    let limits = DecodeLimits::default();
    let header = codec::probe(path, &limits).expect("the header is read");
    let mut source = codec::open(path, &header, &limits).expect("the file is opened");
    let mut row = vec![0; header.layout.row_bytes(header.stored.width)];
    for _ in 0..header.stored.height {
        source.read_row(&mut row).expect("the row is read");
    }
    header.decode_bytes
}

/// Rows as the pipeline gives them.
struct Chunks<'a> {
    rows: &'a [u8],
    chunk_bytes: usize,
}

impl RowFeed for Chunks<'_> {
    fn next_rows(&mut self, mut spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let (chunk, rest) = self.rows.split_at(self.chunk_bytes.min(self.rows.len()));
        self.rows = rest;
        spent.clear();
        spent.extend_from_slice(chunk);
        Ok(spent)
    }
}
