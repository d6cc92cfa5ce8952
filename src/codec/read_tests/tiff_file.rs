//! Owns TIFFs that no encoder at hand writes: tiles, samples apart, the other byte order, all kinds of samples, pages.
//! For tests.

use tiff::encoder::compression::{CompressionAlgorithm, Deflate};

/// How a picture lies in the file.
#[derive(Debug, Clone, Copy)]
pub struct TiffFile {
    pub width: usize,
    pub height: usize,
    pub samples: usize,
    pub bits: usize,
    /// Rows of a strip.
    pub strip: usize,
    /// Columns and rows of a tile, instead of strips.
    pub tile: Option<(usize, usize)>,
    pub planar: bool,
    pub deflate: bool,
    pub big_endian: bool,
    /// Tags beside those that all have, or instead of them: a number, and values that are SHORT.
    pub tags: &'static [(u16, &'static [u32])],
}

impl TiffFile {
    /// One strip of interleaved samples, as they are.
    pub fn new(width: usize, height: usize, samples: usize, bits: usize) -> Self {
        Self {
            width,
            height,
            samples,
            bits,
            strip: height,
            tile: None,
            planar: false,
            deflate: false,
            big_endian: false,
            tags: &[],
        }
    }

    /// The file of interleaved samples in the machine's byte order; of less than eight bits, each in a byte.
    #[allow(dead_code, reason = "not everybody who includes this file needs it")]
    pub fn bytes(self, pixels: &[u8]) -> Vec<u8> {
        let mut file = self.begin();
        self.add_page(&mut file, 4, pixels);
        file
    }

    /// A file of several pages. They have the byte order of the first.
    #[allow(dead_code, reason = "not everybody who includes this file needs it")]
    pub fn document(pages: &[(TiffFile, &[u8])]) -> Vec<u8> {
        let mut file = pages[0].0.begin();
        let mut link = 4;
        for (page, pixels) in pages {
            link = page.add_page(&mut file, link, pixels);
        }
        file
    }

    fn begin(self) -> Vec<u8> {
        let order: &[u8; 4] = if self.big_endian { b"MM\0\x2a" } else { b"II\x2a\0" };
        [&order[..], &[0; 4]].concat()
    }

    /// Adds a page, to which the offset at `link` will point, and tells where that of the next one is.
    fn add_page(self, file: &mut Vec<u8>, link: usize, pixels: &[u8]) -> usize {
        let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
        for chunk in self.chunks(pixels) {
            offsets.push(file.len() as u32);
            lengths.push(chunk.len() as u32);
            file.extend(chunk);
            file.resize(file.len().next_multiple_of(2), 0);
        }
        let (offset_tag, length_tag) = if self.tile.is_some() {
            (324, 325)
        } else {
            (273, 279)
        };
        let mut tags: Vec<(u16, Vec<u32>)> = vec![
            (256, vec![self.width as u32]),
            (257, vec![self.height as u32]),
            (258, vec![self.bits as u32; self.samples]),
            (259, vec![if self.deflate { 8 } else { 1 }]),
            (262, vec![if self.samples < 3 { 1 } else { 2 }]),
            (offset_tag, offsets),
            (277, vec![self.samples as u32]),
            (length_tag, lengths),
            (284, vec![if self.planar { 2 } else { 1 }]),
        ];
        match self.tile {
            Some((width, height)) => tags.extend([(322, vec![width as u32]), (323, vec![height as u32])]),
            None => tags.push((278, vec![self.strip as u32])),
        }
        if self.samples > 3 {
            // The fourth is alpha, the others mean nothing.
            let mut extra = vec![0; self.samples - 3];
            extra[0] = 2;
            tags.push((338, extra));
        }
        tags.retain(|(tag, _)| self.tags.iter().all(|(own, _)| own != tag));
        tags.extend(self.tags.iter().map(|(tag, values)| (*tag, values.to_vec())));
        tags.sort_unstable();
        self.write_directory(file, link, &tags)
    }

    fn write_directory(self, file: &mut Vec<u8>, link: usize, tags: &[(u16, Vec<u32>)]) -> usize {
        let mut entries = Vec::new();
        for (tag, values) in tags {
            // Sides, places and lengths are LONG, all others SHORT.
            let long = matches!(tag, 256 | 257 | 273 | 278 | 279 | 322..=325);
            let mut bytes = Vec::new();
            for value in values {
                if long {
                    bytes.extend(self.long(*value));
                } else {
                    bytes.extend(self.short(*value as u16));
                }
            }
            let field = if bytes.len() > 4 {
                let place = self.long(file.len() as u32).to_vec();
                file.extend(bytes);
                file.resize(file.len().next_multiple_of(2), 0);
                place
            } else {
                bytes.resize(4, 0);
                bytes
            };
            entries.extend(self.short(*tag));
            entries.extend(self.short(if long { 4 } else { 3 }));
            entries.extend(self.long(values.len() as u32));
            entries.extend(field);
        }
        let directory = self.long(file.len() as u32);
        file[link..link + 4].copy_from_slice(&directory);
        file.extend(self.short(tags.len() as u16));
        file.extend(entries);
        file.extend([0; 4]);
        file.len() - 4
    }

    fn long(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn short(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn chunks(self, pixels: &[u8]) -> Vec<Vec<u8>> {
        let sample = self.bits.div_ceil(8);
        let (wide, high) = self.tile.unwrap_or((self.width, self.strip));
        let planes = if self.planar { self.samples } else { 1 };
        let per_pixel = if self.planar { 1 } else { self.samples };
        let mut chunks = Vec::new();
        for plane in 0..planes {
            for top in (0..self.height).step_by(high) {
                for left in (0..self.width).step_by(wide) {
                    // Tiles are filled up, strips end with the picture.
                    let bottom = if self.tile.is_some() {
                        top + high
                    } else {
                        self.height.min(top + high)
                    };
                    let mut chunk = Vec::new();
                    for y in top..bottom {
                        let begin = chunk.len();
                        for x in left..left + wide {
                            for s in plane..plane + per_pixel {
                                let at = ((y * self.width + x) * self.samples + s) * sample;
                                let inside = x < self.width && y < self.height;
                                let stored = if inside {
                                    &pixels[at..at + sample]
                                } else {
                                    &[99; 4][..sample]
                                };
                                self.push(&mut chunk, stored);
                            }
                        }
                        if self.bits < 8 {
                            let row = self.packed(&chunk[begin..]);
                            chunk.truncate(begin);
                            chunk.extend(row);
                        }
                    }
                    chunks.push(self.compressed(chunk));
                }
            }
        }
        chunks
    }

    fn push(self, chunk: &mut Vec<u8>, sample: &[u8]) {
        match *sample {
            [a, b] => chunk.extend(self.short(u16::from_ne_bytes([a, b]))),
            [a, b, c, d] => chunk.extend(self.long(u32::from_ne_bytes([a, b, c, d]))),
            _ => chunk.extend(sample),
        }
    }

    /// Samples of few bits, the first one in the highest.
    fn packed(self, samples: &[u8]) -> Vec<u8> {
        let mut row = vec![0u8; (samples.len() * self.bits).div_ceil(8)];
        for (at, sample) in samples.iter().enumerate() {
            let bit = at * self.bits;
            row[bit / 8] |= (sample & ((1 << self.bits) - 1)) << (8 - self.bits - bit % 8);
        }
        row
    }

    fn compressed(self, chunk: Vec<u8>) -> Vec<u8> {
        if !self.deflate {
            return chunk;
        }
        let mut bytes = Vec::new();
        Deflate::default().write_to(&mut bytes, &chunk).unwrap();
        bytes
    }
}
