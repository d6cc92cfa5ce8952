//! Owns AVIF files: cells of the picture coded with rav1e, a row of cells at a time, several at once. Holds a row of
//! cells, so that a picture of any height is written in the same memory.

mod boxes;
mod cells;
mod grid;

use std::io::{self, Seek, SeekFrom, Write};

use rav1e::prelude::Pixel;

use super::out::BUFFER_BYTES;
use super::{Output, Rows, Stop};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, PixelLayout, ResultFormat};
use crate::codec::sink::SinkSpec;
use boxes::{Coding, Contents, Extent};
use cells::{Band, Coder};
use grid::Grid;

/// BT.601, as the number that files have for it: what JPEG uses, and every reader knows.
const MATRIX: u8 = 6;

/// Writes the picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let outcome = match spec.layout.depth {
        Depth::Eight => Writer::new(spec, out).write::<u8>(rows),
        Depth::Sixteen => Writer::new(spec, out).write::<u16>(rows),
    };
    outcome.map_err(|stop| stop.into_error(ResultFormat::Avif, out))?;
    Ok(Vec::new())
}

fn coding(layout: PixelLayout) -> Coding {
    Coding {
        bits: match layout.depth {
            Depth::Eight => 8,
            // The deepest that every reader knows.
            Depth::Sixteen => 10,
        },
        has_colours: matches!(layout.channels, Channels::Rgb | Channels::Rgba),
        has_alpha: layout.channels.has_alpha(),
    }
}

/// Lengths in the file have 32 bits.
fn short(bytes: usize) -> io::Result<u32> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidData, "the file would exceed 4 GiB");
    u32::try_from(bytes).map_err(too_long)
}

/// A file on its way: its table of contents comes first and is filled in last.
struct Writer<'a> {
    spec: &'a SinkSpec,
    out: &'a mut Output,
    grid: Grid,
    contents: Contents,
    extents: Vec<Extent>,
    at: u32,
}

impl<'a> Writer<'a> {
    fn new(spec: &'a SinkSpec, out: &'a mut Output) -> Self {
        let grid = Grid::of(spec.size);
        let contents = Contents::new(spec.size, grid, coding(spec.layout), &spec.metadata);
        Self {
            spec,
            out,
            grid,
            extents: vec![Extent::default(); contents.len()],
            contents,
            at: 0,
        }
    }

    fn write<P: Pixel>(mut self, rows: &mut Rows<'_>) -> Result<(), Stop> {
        let head = self.contents.head(&self.extents);
        self.append(&head)?;
        let content_at = self.at;
        self.append(b"\0\0\0\0mdat")?;
        self.write_metadata()?;
        self.write_cells::<P>(rows)?;

        let length = self.at - content_at;
        self.out.rewind()?;
        let head = self.contents.head(&self.extents);
        self.out.write_all(&head)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.seek(SeekFrom::Start(self.at.into()))?;
        Ok(())
    }

    /// What is small, and the grids.
    fn write_metadata(&mut self) -> io::Result<()> {
        let mut last = self.contents.len();
        if let Some(xmp) = &self.spec.metadata.xmp {
            last -= 1;
            self.item(last, xmp)?;
        }
        if let Some(exif) = &self.spec.metadata.exif {
            last -= 1;
            // Begins with where in it the TIFF header is.
            self.item(last, &[&[0; 4], exif.as_slice()].concat())?;
        }
        if self.grid.cells() > 1 {
            let content = boxes::grid_content(self.spec.size, self.grid);
            for picture in [Some(0), self.contents.alpha()].into_iter().flatten() {
                self.item(picture, &content)?;
            }
        }
        Ok(())
    }

    fn write_cells<P: Pixel>(&mut self, rows: &mut Rows<'_>) -> Result<(), Stop> {
        let coder = Coder::new(self.spec, self.grid).map_err(Stop::Encoder)?;
        // A grid comes before its cells.
        let skipped = usize::from(self.grid.cells() > 1);
        let first = [Some(skipped), self.contents.alpha().map(|alpha| alpha + skipped)];
        let (mut chunk, mut used) = (Vec::new(), 0);
        for band_index in 0..self.grid.rows {
            let mut band: Band<P> = coder.band().map_err(Stop::Encoder)?;
            let begun = band_index * self.grid.cell.height;
            let wanted = self.grid.cell.height.min(self.spec.size.height - begun);
            for _ in 0..wanted {
                if used == chunk.len() {
                    chunk = rows.next_chunk(std::mem::take(&mut chunk))?.unwrap_or_default();
                    used = 0;
                }
                let end = used + rows.row_bytes();
                band.push_row(&chunk[used..end]);
                used = end;
            }
            let coded = coder.encode(band).map_err(Stop::Encoder)?;
            for (column, pictures) in coded.into_iter().enumerate() {
                let cell = band_index as usize * self.grid.columns as usize + column;
                for (bytes, first) in pictures.iter().zip(first.iter().flatten()) {
                    self.item(first + cell, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an item's content and remembers where.
    fn item(&mut self, index: usize, content: &[u8]) -> io::Result<()> {
        self.extents[index] = Extent {
            at: self.at,
            bytes: short(content.len())?,
        };
        self.append(content)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at = short(self.at as usize + bytes.len())?;
        self.out.write_all(bytes)
    }
}

/// Most bytes held besides the rows: a row of cells, what the coders make of some of them at once, the file's buffer.
pub fn bytes(spec: &SinkSpec) -> u64 {
    cells::bytes(spec, Grid::of(spec.size)) + BUFFER_BYTES as u64
}
