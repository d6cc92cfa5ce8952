use proptest::prelude::*;

use super::*;

const RGBA: PixelLayout = PixelLayout {
    channels: Channels::Rgba,
    depth: Depth::Eight,
};

/// Rows out of memory.
struct Rows {
    size: Size,
    layout: PixelLayout,
    bytes: Vec<u8>,
    at: usize,
}

impl RowSource for Rows {
    fn size(&self) -> Size {
        self.size
    }
    fn layout(&self) -> PixelLayout {
        self.layout
    }
    fn read_row(&mut self, row: &mut [u8]) -> Result<(), CodecError> {
        row.copy_from_slice(&self.bytes[self.at..self.at + row.len()]);
        self.at += row.len();
        Ok(())
    }
}

fn prepare(transparency: Transparency, size: Size, layout: PixelLayout, bytes: Vec<u8>) -> (Vec<u8>, bool) {
    let mut source = Rows {
        size,
        layout,
        bytes,
        at: 0,
    };
    let mut prepared = Prepared::new(transparency, size, layout);
    let row_bytes = transparency.layout(layout).row_bytes(size.width);
    let mut out = vec![0; row_bytes * size.height as usize];
    for row in out.chunks_exact_mut(row_bytes) {
        prepared.read_row(&mut source, row).unwrap();
    }
    (out, prepared.background_shows())
}

/// The same by looking at every pixel of every square.
fn slowly(size: Size, pixels: &[[u8; 4]]) -> Vec<[u8; 4]> {
    let (width, height) = (size.width as i64, size.height as i64);
    let look = |x: i64, y: i64, half: i64| {
        let mut sums = [0u64; 4];
        for v in (y - half).max(0)..=(y + half).min(height - 1) {
            for u in (x - half).max(0)..=(x + half).min(width - 1) {
                let [r, g, b, a] = pixels[(v * width + u) as usize].map(u64::from);
                for (sum, value) in sums.iter_mut().zip([r * a, g * a, b * a, a]) {
                    *sum += value;
                }
            }
        }
        sums
    };
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| {
            let pixel = pixels[(y * width + x) as usize];
            if pixel[3] > 0 {
                return pixel;
            }
            let found = HALF_SIDES_PX
                .iter()
                .map(|half| look(x, y, i64::from(*half)))
                .find(|sums| sums[3] > 0);
            let [r, g, b] = found.map_or([127; 3], |[r, g, b, a]| {
                [r, g, b].map(|sum| ((sum + a / 2) / a) as u8)
            });
            [r, g, b, 0]
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn colours_bleed_from_the_nearest_visible_ones_however_the_invisible_lie(
        width in 1u32..90, height in 1u32..150, seed: u32, sparse in 1u32..2000
    ) {
        let size = Size::new(width, height);
        let mut state = seed | 1;
        let mut random = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); state >> 8 };
        // Whole rows are visible now and then, so that the sums begin anew.
        let pixels: Vec<[u8; 4]> = (0..height).flat_map(|y| (0..width).map(move |_| y)).map(|y| {
            let visible = y % 70 > 40 || random() % sparse == 0;
            [random() as u8, random() as u8, random() as u8, if visible { (random() as u8).max(1) } else { 0 }]
        }).collect();
        let (out, shows) = prepare(Transparency::Kept, size, RGBA, pixels.concat());
        prop_assert_eq!(out.as_chunks::<4>().0, &slowly(size, &pixels)[..]);
        prop_assert!(!shows);
    }
}

#[test]
fn colours_bleed_at_sixteen_bits_and_in_grey_too() {
    let layout = PixelLayout {
        channels: Channels::GreyAlpha,
        depth: Depth::Sixteen,
    };
    let row: Vec<u8> = [0u16, 0, 40_001, 65_535, 9, 0]
        .iter()
        .flat_map(|s| s.to_ne_bytes())
        .collect();
    let (out, _) = prepare(Transparency::Kept, Size::new(3, 1), layout, row);
    let samples: Vec<u16> = out.as_chunks().0.iter().map(|s| u16::from_ne_bytes(*s)).collect();
    assert_eq!(samples, [40_001, 0, 40_001, 65_535, 40_001, 0]);
}

#[test]
fn a_background_is_put_behind_what_shows_it_and_that_is_told() {
    let background = Background::parse("#0080ff").unwrap();
    let flat = Transparency::Flattened(background);
    let row = vec![10, 20, 30, 255, 10, 20, 30, 0, 100, 100, 100, 128];
    let (out, shows) = prepare(flat, Size::new(3, 1), RGBA, row);
    assert_eq!(out, [10, 20, 30, 0, 128, 255, 50, 114, 177]);
    assert!(shows);
    let (out, shows) = prepare(flat, Size::new(1, 1), RGBA, vec![1, 2, 3, 255]);
    assert_eq!((out, shows), (vec![1, 2, 3], false));
    let deep = PixelLayout {
        channels: Channels::GreyAlpha,
        depth: Depth::Sixteen,
    };
    let row: Vec<u8> = [1000u16, 0].iter().flat_map(|s| s.to_ne_bytes()).collect();
    let white = Transparency::Flattened(Background::parse("white").unwrap());
    assert_eq!(
        prepare(white, Size::new(1, 1), deep, row).0,
        65_535u16.to_ne_bytes()
    );
}
