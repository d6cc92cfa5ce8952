//! Owns the AV1 coder: rows of a picture into planes, planes into coded cells, on a few threads. Never touches a file.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use rav1e::color::{
    ChromaSampling, ColorDescription, ColorPrimaries, MatrixCoefficients, PixelRange, TransferCharacteristics,
};
use rav1e::config::{Config, EncoderConfig};
use rav1e::prelude::{Context, EncoderStatus, Frame, Pixel};

use super::coding;
use super::grid::Grid;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::sink::SinkSpec;
use crate::size::Size;

/// rav1e's fastest. On enlarged photos of 3 MP at quality 92, one core, no assembly: half a megapixel a second; speed 8
/// takes 1.7 times as long for a file a tenth smaller, speed 6 (four times) saves nothing more.
const SPEED: u8 = 10;

/// Cells coded at once, if there are as many cores: each holds its own work.
const THREADS: usize = 4;

/// How cells are coded.
pub struct Coder {
    layout: PixelLayout,
    grid: Grid,
    colours: Config,
    alpha: Config,
}

/// A row of cells on its way: of each cell one frame, two where there is alpha.
pub struct Band<P: Pixel> {
    cells: Vec<Vec<Frame<P>>>,
    layout: PixelLayout,
    cell: Size,
    rows: u32,
}

impl Coder {
    /// A coder for the cells of a picture.
    pub fn new(spec: &SinkSpec, grid: Grid) -> Result<Self, String> {
        let coding = coding(spec.layout);
        let quality = f32::from(spec.quality.clamp(1, 100));
        let config = |sampling, quantizer, colours| {
            let mut encoder = EncoderConfig::with_speed_preset(SPEED);
            encoder.width = grid.cell.width as usize;
            encoder.height = grid.cell.height as usize;
            encoder.bit_depth = coding.bits.into();
            encoder.chroma_sampling = sampling;
            encoder.pixel_range = PixelRange::Full;
            encoder.color_description = colours;
            encoder.still_picture = true;
            encoder.low_latency = true;
            encoder.quantizer = quantizer;
            // One thread: cells are what runs at once.
            Config::new().with_encoder_config(encoder).with_threads(1)
        };
        let sampling = if coding.has_colours {
            ChromaSampling::Cs444
        } else {
            ChromaSampling::Cs400
        };
        let colours = config(
            sampling,
            quantizer(quality),
            Some(description(spec.metadata.icc.is_some())),
        );
        // An edge of alpha shows more than one of colours.
        let alpha = config(ChromaSampling::Cs400, quantizer((quality + 100.0) / 2.0), None);
        colours.validate().map_err(|error| error.to_string())?;
        Ok(Self {
            layout: spec.layout,
            grid,
            colours,
            alpha,
        })
    }

    /// Empty cells side by side.
    pub fn band<P: Pixel>(&self) -> Result<Band<P>, String> {
        let pictures = if self.layout.channels.has_alpha() { 2 } else { 1 };
        let configs = [&self.colours, &self.alpha];
        let contexts: Result<Vec<Context<P>>, _> = configs
            .iter()
            .take(pictures)
            .map(|config| config.new_context())
            .collect();
        let contexts = contexts.map_err(|error| error.to_string())?;
        let cell = || contexts.iter().map(Context::new_frame).collect();
        Ok(Band {
            cells: (0..self.grid.columns).map(|_| cell()).collect(),
            layout: self.layout,
            cell: self.grid.cell,
            rows: 0,
        })
    }

    /// The coded pictures of each cell.
    pub fn encode<P: Pixel>(&self, mut band: Band<P>) -> Result<Vec<Vec<Vec<u8>>>, String> {
        band.fill_up();
        let columns = band.cells.len();
        let threads = threads(columns);
        if threads == 1 {
            return band
                .cells
                .into_iter()
                .map(|cell| self.encode_cell(cell))
                .collect();
        }
        let waiting = Mutex::new(band.cells.into_iter().enumerate());
        let done = Mutex::new(vec![Ok(Vec::new()); columns]);
        // A coder that panics took its cell with it; the scope passes the panic on.
        let next = || waiting.lock().ok()?.next();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((column, cell)) = next() {
                        let coded = self.encode_cell(cell);
                        if let Ok(mut done) = done.lock() {
                            done[column] = coded;
                        }
                    }
                });
            }
        });
        done.into_inner().unwrap_or_default().into_iter().collect()
    }

    fn encode_cell<P: Pixel>(&self, frames: Vec<Frame<P>>) -> Result<Vec<Vec<u8>>, String> {
        let configs = [&self.colours, &self.alpha];
        frames
            .into_iter()
            .zip(configs)
            .map(|(frame, config)| code(config, frame))
            .collect()
    }
}

/// One picture, coded.
fn code<P: Pixel>(config: &Config, frame: Frame<P>) -> Result<Vec<u8>, String> {
    let mut context: Context<P> = config.new_context().map_err(|error| error.to_string())?;
    context.send_frame(frame).map_err(|error| error.to_string())?;
    context.flush();
    let mut coded = Vec::new();
    loop {
        match context.receive_packet() {
            Ok(packet) => coded.extend(packet.data),
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::LimitReached) => return Ok(coded),
            Err(error) => return Err(error.to_string()),
        }
    }
}

impl<P: Pixel> Band<P> {
    /// The next row of the picture.
    pub fn push_row(&mut self, row: &[u8]) {
        let (y, width) = (self.rows, self.cell.width as usize);
        let pixel_bytes = self.layout.bytes_per_pixel();
        for (cell, pixels) in self.cells.iter_mut().zip(row.chunks(width * pixel_bytes)) {
            for (number, frame) in cell.iter_mut().enumerate() {
                match (self.layout.depth, number) {
                    (Depth::Eight, 0) => put_colours::<P, 1>(frame, y, pixels, self.layout.channels),
                    (Depth::Sixteen, 0) => put_colours::<P, 2>(frame, y, pixels, self.layout.channels),
                    (Depth::Eight, _) => put_alpha::<P, 1>(frame, y, pixels, self.layout.channels),
                    (Depth::Sixteen, _) => put_alpha::<P, 2>(frame, y, pixels, self.layout.channels),
                }
                repeat_last_column(frame, y, pixels.len() / pixel_bytes, width);
            }
        }
        self.rows += 1;
    }

    /// Repeats the last row where cells reach below the picture.
    fn fill_up(&mut self) {
        let rows = self.rows as usize;
        for plane in self
            .cells
            .iter_mut()
            .flatten()
            .flat_map(|frame| &mut frame.planes)
        {
            let (stride, width) = (plane.cfg.stride, plane.cfg.width.min(self.cell.width as usize));
            if width == 0 {
                continue;
            }
            let data = plane.data_origin_mut();
            for y in rows..self.cell.height as usize {
                data.copy_within((rows - 1) * stride..(rows - 1) * stride + width, y * stride);
            }
        }
    }
}

/// Samples of `N` bytes as numbers, 8 bits as they are, 16 as 10.
fn sample<const N: usize>(bytes: &[u8], index: usize) -> f32 {
    if N == 1 {
        f32::from(bytes[index])
    } else {
        let sample = u16::from_ne_bytes([bytes[2 * index], bytes[2 * index + 1]]);
        f32::from(sample) * (1023.0 / 65_535.0)
    }
}

/// The largest number, and the one in its middle where colour differences are nothing.
const fn range(bytes_per_sample: usize) -> (f32, f32) {
    if bytes_per_sample == 1 {
        (255.0, 128.0)
    } else {
        (1023.0, 512.0)
    }
}

fn pixel<P: Pixel>(value: f32, most: f32) -> P {
    // Rounded, within 0 to 1023.
    P::cast_from((value + 0.5).clamp(0.0, most) as u16)
}

/// A row of colours as light and two differences (BT.601, all numbers used), or of grey as it is.
fn put_colours<P: Pixel, const N: usize>(frame: &mut Frame<P>, y: u32, pixels: &[u8], channels: Channels) {
    let (most, middle) = range(N);
    let count = channels.count();
    let [light, blue, red] = &mut frame.planes;
    let row = |plane: &rav1e::prelude::Plane<P>| y as usize * plane.cfg.stride;
    let rows = [row(light), row(blue), row(red)];
    for (x, samples) in pixels.chunks_exact(count * N).enumerate() {
        if count < 3 {
            light.data_origin_mut()[rows[0] + x] = pixel(sample::<N>(samples, 0), most);
            continue;
        }
        let [r, g, b] = [0, 1, 2].map(|index| sample::<N>(samples, index));
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        light.data_origin_mut()[rows[0] + x] = pixel(luma, most);
        blue.data_origin_mut()[rows[1] + x] = pixel((b - luma) / 1.772 + middle, most);
        red.data_origin_mut()[rows[2] + x] = pixel((r - luma) / 1.402 + middle, most);
    }
}

fn put_alpha<P: Pixel, const N: usize>(frame: &mut Frame<P>, y: u32, pixels: &[u8], channels: Channels) {
    let count = channels.count();
    let plane = &mut frame.planes[0];
    let from = y as usize * plane.cfg.stride;
    for (x, samples) in pixels.chunks_exact(count * N).enumerate() {
        plane.data_origin_mut()[from + x] = pixel(sample::<N>(samples, count - 1), range(N).0);
    }
}

/// Where a cell reaches beyond the picture's right border.
fn repeat_last_column<P: Pixel>(frame: &mut Frame<P>, y: u32, filled: usize, width: usize) {
    for plane in frame.planes.iter_mut().filter(|plane| plane.cfg.width >= width) {
        let from = y as usize * plane.cfg.stride;
        let data = plane.data_origin_mut();
        let last = data[from + filled - 1];
        data[from + filled..from + width].fill(last);
    }
}

/// libavif's and ravif's scale of quality, so that a number means what it means elsewhere.
fn quantizer(quality: f32) -> usize {
    let lost = 1.0 - quality / 100.0;
    let share = if lost <= 0.18 {
        lost * 2.6
    } else if lost < 0.75 {
        0.375 + 0.5 * lost
    } else {
        lost
    };
    (share * 255.0).round() as usize
}

fn description(has_profile: bool) -> ColorDescription {
    let (color_primaries, transfer_characteristics) = if has_profile {
        (ColorPrimaries::Unspecified, TransferCharacteristics::Unspecified)
    } else {
        (ColorPrimaries::BT709, TransferCharacteristics::SRGB)
    };
    ColorDescription {
        color_primaries,
        transfer_characteristics,
        matrix_coefficients: MatrixCoefficients::BT601,
    }
}

fn threads(columns: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(THREADS).min(columns)
}

/// Rows and columns around a plane that the coder may look at.
const LUMA_PADDING: usize = 88;

/// What the coder holds of a pixel of a cell up to such a quality, of noise, which costs most: its own planes and the
/// symbols, which are the more the less is lost. As measured, and a third more.
const WORK_BYTES_PER_PIXEL: [(u8, u64); 4] = [(60, 120), (92, 200), (97, 330), (100, 600)];
const WORK_TABLE_BYTES: u64 = 8 << 20;

/// The same at this quality.
fn work_bytes_per_pixel(quality: u8) -> u64 {
    let [.., (_, most)] = WORK_BYTES_PER_PIXEL;
    let step = WORK_BYTES_PER_PIXEL.iter().find(|(up_to, _)| quality <= *up_to);
    step.map_or(most, |(_, bytes)| *bytes)
}

/// Most bytes held: the planes of a row of cells, and the work on as many as are coded at once.
pub(super) fn bytes(spec: &SinkSpec, grid: Grid) -> u64 {
    let padded = |side: u32| u64::from(side.next_multiple_of(8)) + 2 * LUMA_PADDING as u64;
    let planes = match spec.layout.channels {
        Channels::Grey => 1,
        Channels::GreyAlpha => 2,
        Channels::Rgb => 3,
        Channels::Rgba => 4,
    };
    let sample_bytes = spec.layout.depth.bytes() as u64;
    let cell_pixels = padded(grid.cell.width) * padded(grid.cell.height);
    let band = u64::from(grid.columns) * cell_pixels * planes * sample_bytes;
    let pixels = u64::from(grid.cell.width) * u64::from(grid.cell.height);
    let work =
        pixels * work_bytes_per_pixel(spec.quality) + cell_pixels * planes * sample_bytes + WORK_TABLE_BYTES;
    band + threads(grid.columns as usize) as u64 * work
}
