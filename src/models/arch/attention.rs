//! Owns attention among the pixels of square windows that every other block moves by half a side, with a bias for each
//! distance between two pixels: SwinIR's, and that of the networks that follow it. Never knows the rest of a block.

use super::super::error::ImportError;
use super::super::graph::Value;
use super::Layers;
use super::layers::sizes;
use super::windows::{Frame, Grid, HeadSize, Pattern};

/// Longest side of a window: the largest that is known is 32, and the pairs of its pixels grow with the fourth power.
pub const SIDE_MAX: usize = 32;

/// The tensor with a bias for each distance (lines) and head (columns).
pub const TABLE: &str = "relative_position_bias_table";

/// What the attentions of all blocks of a network have in common.
pub struct Attention {
    /// Channels of the picture.
    pub channels: usize,
    /// The windows.
    pub grid: Grid,
    /// Their side.
    pub side: usize,
    /// The line of the table of distances for each pair of pixels.
    index: Value,
    /// What keeps opposite borders apart where the windows are moved.
    apart: Value,
}

impl Attention {
    /// In windows of `side` × `side` of pictures of so many channels that are as large as `x`, channels first.
    pub fn new(net: &mut Layers, x: &Value, channels: usize, side: usize) -> Self {
        let frame = Frame::of(net, x);
        let grid = Grid::new(net, &frame, [side; 2], channels, Pattern::Block);
        Self {
            channels,
            side,
            index: net.graph.ints(&distances([side; 2])),
            apart: grid.apart(net, [side / 2; 2]),
            grid,
        }
    }

    /// What the pixels of `x` (channels last) gather, with the tensors `NAME.qkv`, `NAME.proj` and the table.
    ///
    /// # Errors
    /// [`ImportError::Missing`] and [`ImportError::Shape`].
    pub fn among(&self, net: &mut Layers, x: &Value, name: &str, moved: bool) -> Result<Value, ImportError> {
        let (channels, pixels) = (self.channels, self.grid.pixels());
        let by = if moved { (self.side / 2) as i64 } else { 0 };
        let (table, heads) = self.table(net, name, (2 * self.side - 1) * (2 * self.side - 1))?;
        let bias = net.pair_bias(&table, &self.index, [pixels, pixels]);

        let x = net.rolled(x, [by, by]);
        let x = self.grid.windows(net, &x);
        let x = net.linear(&x, &format!("{name}.qkv"), [3 * channels, channels])?;
        let [q, k, v] = net.heads(&x, heads);
        let mut biases = vec![&bias];
        biases.extend(moved.then_some(&self.apart));
        let x = net.attend([&q, &k, &v], heads.scale(), &biases);
        let x = net.joined(&x, heads);
        let x = net.linear(&x, &format!("{name}.proj"), [channels, channels])?;
        let x = self.grid.picture(net, &x);
        Ok(net.rolled(&x, [-by, -by]))
    }

    /// The table of distances of so many lines, and the heads that it is for.
    ///
    /// # Errors
    /// [`ImportError::Missing`]; [`ImportError::Shape`] if the heads do not share the channels evenly.
    pub fn table(
        &self,
        net: &mut Layers,
        name: &str,
        lines: usize,
    ) -> Result<(Value, HeadSize), ImportError> {
        let name = format!("{name}.{TABLE}");
        let [_, heads] = sizes(net.network(), &net.weights, &name)?;
        if !self.channels.is_multiple_of(heads) {
            return Err(ImportError::Shape {
                network: net.network(),
                found: vec![lines, heads],
                expected: vec![lines, 1],
                name,
            });
        }
        let table = net.take(&name, &[lines, heads])?;
        let size = HeadSize {
            heads,
            channels: self.channels / heads,
        };
        Ok((net.graph.constant(table), size))
    }
}

/// For each pixel of a window and each of the same window, the line of a table of all distances.
pub fn distances([rows, columns]: [usize; 2]) -> Vec<i64> {
    let wide = 2 * columns - 1;
    let pixels = || (0..rows * columns).map(move |pixel| (pixel / columns, pixel % columns));
    pixels()
        .flat_map(|(row, column)| {
            pixels().map(move |(other_row, other_column)| {
                let down = row + rows - 1 - other_row;
                let across = column + columns - 1 - other_column;
                (down * wide + across) as i64
            })
        })
        .collect()
}

/// The side of the windows whose table of distances has so many lines: (2 · side − 1)².
///
/// # Errors
/// [`ImportError::UnknownNetwork`] if there is no such window.
pub fn side_of(network: &'static str, lines: usize) -> Result<usize, ImportError> {
    let fits = |side: &usize| (2 * side - 1) * (2 * side - 1) == lines;
    (1..=SIDE_MAX).find(fits).ok_or_else(|| {
        ImportError::UnknownNetwork(format!(
            "closest to {network}; its table of distances has {lines} lines, which fits no window up to {SIDE_MAX} px"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a window of 2 rows and 3 columns the table has 3 × 5 distances.
    #[test]
    fn pairs_of_pixels_find_their_distance() {
        let lines = distances([2, 3]);
        assert_eq!(lines.len(), 36);
        let line = |from: usize, to: usize| lines[6 * from + to];
        // Each pixel and itself: the middle of the table.
        assert!((0..6).all(|pixel| line(pixel, pixel) == 7));
        // The last pixel seen from the first is one row down and two columns right, and the other way round.
        assert_eq!((line(0, 5), line(5, 0)), (0, 14));
        assert_eq!((line(0, 1), line(0, 3)), (6, 2));
    }

    #[test]
    fn sides_come_from_the_table_and_are_bounded() {
        for side in [1, 4, 7, 8, 16, 32] {
            assert_eq!(side_of("SwinIR", (2 * side - 1) * (2 * side - 1)), Ok(side));
        }
        let error = side_of("SwinIR", 65 * 65).unwrap_err().to_string();
        assert!(error.contains("SwinIR") && error.contains("4225"), "{error}");
        assert!(side_of("SwinIR", 50).is_err() && side_of("SwinIR", usize::MAX).is_err());
    }
}
