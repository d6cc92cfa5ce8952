//! Owns how a picture is cut into cells, each a picture of its own for the AV1 encoder. Pure.

use crate::size::Size;

/// Longest side of a cell, that of phones, where the eye finds nothing either. The encoder holds every symbol of a cell
/// before it codes the first, which for noise at quality 100 comes to half a kilobyte for each pixel.
const CELL_SIDE: u32 = 512;

/// Shortest side of one of several cells, by the rules of MIAF.
const CELL_SIDE_LEAST: u32 = 64;

/// Cells of one size that cover a picture. Those at its right and lower border may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Cells side by side.
    pub columns: u32,
    /// Cells one below the other.
    pub rows: u32,
    /// Columns × rows of each.
    pub cell: Size,
}

impl Grid {
    /// The fewest cells that cover a picture, as equal as can be.
    pub fn of(size: Size) -> Self {
        let (columns, rows) = (size.width.div_ceil(CELL_SIDE), size.height.div_ceil(CELL_SIDE));
        if columns == 1 && rows == 1 {
            return Self {
                columns,
                rows,
                cell: size,
            };
        }
        let side = |side: u32, cells: u32| side.div_ceil(cells).next_multiple_of(8).max(CELL_SIDE_LEAST);
        Self {
            columns,
            rows,
            cell: Size::new(side(size.width, columns), side(size.height, rows)),
        }
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.columns as usize * self.rows as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cover_every_picture_and_none_lies_outside_of_it() {
        for width in (1..9000).step_by(37).chain([511, 512, 513, 1024, 1025, 32_768]) {
            for height in [1, 63, 64, 512, 513, 5000] {
                let grid = Grid::of(Size::new(width, height));
                let covered = (grid.columns * grid.cell.width, grid.rows * grid.cell.height);
                assert!(covered.0 >= width && covered.1 >= height, "{width} × {height}");
                assert!((grid.columns - 1) * grid.cell.width < width, "{width}");
                assert!((grid.rows - 1) * grid.cell.height < height, "{height}");
                assert!(grid.cells() == 1 || grid.cell.width.min(grid.cell.height) >= CELL_SIDE_LEAST);
            }
        }
    }
}
