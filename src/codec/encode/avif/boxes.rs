//! Owns the table of contents of an AVIF file: which items it has, what they are and where they lie. Pure.

use super::grid::Grid;
use crate::codec::encode::isobmff::{boxed, full};
use crate::codec::metadata::Carried;
use crate::size::Size;

/// One item of a file: a picture, a cell of one, or metadata.
#[derive(Debug)]
struct Item {
    kind: [u8; 4],
    /// Not shown by itself.
    hidden: bool,
    /// What belongs to it, by the number in [`Contents::properties`].
    properties: Vec<u8>,
    /// How it relates to others.
    references: Vec<([u8; 4], Vec<u16>)>,
}

/// Where an item lies in the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// Where it begins.
    pub at: u32,
    /// Its length.
    pub bytes: u32,
}

/// How the samples of a picture are coded.
#[derive(Debug, Clone, Copy)]
pub struct Coding {
    /// Bits of a sample: 8 or 10.
    pub bits: u8,
    /// Whether there are three planes.
    pub has_colours: bool,
    /// Whether there is a second picture: alpha.
    pub has_alpha: bool,
}

/// The items of a file in the order of their numbers, which begin with 1: the picture, its cells if it has more than
/// one, alpha in the same way, EXIF, XMP.
#[derive(Debug)]
pub struct Contents {
    items: Vec<Item>,
    properties: Vec<Vec<u8>>,
    /// Index of alpha, if there is one.
    alpha: Option<usize>,
}

impl Contents {
    /// What a file of this picture holds.
    pub fn new(size: Size, grid: Grid, coding: Coding, metadata: &Carried) -> Self {
        let mut contents = Self {
            items: Vec::new(),
            properties: Vec::new(),
            alpha: None,
        };
        let colours = contents.colour_properties(metadata);
        contents.add_picture(size, grid, coding.bits, coding.has_colours, &colours);
        if coding.has_alpha {
            contents.alpha = Some(contents.items.len());
            let kind = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0";
            let auxiliary = contents.property(full(b"auxC", 0, 0, kind));
            let first = contents.items.len();
            contents.add_picture(size, grid, coding.bits, false, &[auxiliary]);
            contents.items[first].hidden = true;
            contents.items[first].references.push((*b"auxl", vec![1]));
        }
        for (kind, is_there) in [
            (b"Exif", metadata.exif.is_some()),
            (b"mime", metadata.xmp.is_some()),
        ] {
            if is_there {
                contents.items.push(Item {
                    kind: *kind,
                    hidden: true,
                    properties: Vec::new(),
                    references: vec![(*b"cdsc", vec![1])],
                });
            }
        }
        contents
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Index of the item that alpha is, if there is one.
    pub fn alpha(&self) -> Option<usize> {
        self.alpha
    }

    /// Keeps a property and tells its number, which begins with 1.
    fn property(&mut self, bytes: Vec<u8>) -> u8 {
        self.properties.push(bytes);
        self.properties.len() as u8
    }

    /// The profile, if there is one, and always what the planes mean.
    fn colour_properties(&mut self, metadata: &Carried) -> Vec<u8> {
        let mut numbers = Vec::new();
        // sRGB, unless a profile says something else.
        let (primaries, transfer) = if metadata.icc.is_some() { (2, 2) } else { (1, 13) };
        if let Some(icc) = &metadata.icc {
            numbers.push(self.property(boxed(b"colr", &[b"prof", icc.as_slice()].concat())));
        }
        let coded = [0, primaries, 0, transfer, 0, super::MATRIX, 0x80];
        numbers.push(self.property(boxed(b"colr", &[b"nclx", coded.as_slice()].concat())));
        numbers
    }

    /// A picture as one item, or as a grid and its cells.
    fn add_picture(&mut self, size: Size, grid: Grid, bits: u8, has_colours: bool, more: &[u8]) {
        let planes = if has_colours { 3 } else { 1 };
        let shown = self.property(full(b"ispe", 0, 0, &sides(size)));
        let depth = self.property(full(
            b"pixi",
            0,
            0,
            &[&[planes], vec![bits; planes.into()].as_slice()].concat(),
        ));
        let coded = self.property(boxed(b"av1C", &av1_configuration(bits, has_colours)));
        let essential = coded | 0x80;
        if grid.cells() == 1 {
            let properties = [&[shown, depth, essential], more].concat();
            self.items.push(Item {
                kind: *b"av01",
                hidden: false,
                properties,
                references: Vec::new(),
            });
            return;
        }
        let first_cell = self.items.len() as u16 + 2;
        let cells = first_cell..first_cell + grid.cells() as u16;
        self.items.push(Item {
            kind: *b"grid",
            hidden: false,
            properties: [&[shown, depth], more].concat(),
            references: vec![(*b"dimg", cells.clone().collect())],
        });
        let cell = self.property(full(b"ispe", 0, 0, &sides(grid.cell)));
        for _ in cells {
            self.items.push(Item {
                kind: *b"av01",
                hidden: true,
                properties: [&[cell, depth, essential], more].concat(),
                references: Vec::new(),
            });
        }
    }

    /// The beginning of the file: `ftyp` and `meta`. As long as ever, wherever the items lie.
    pub fn head(&self, extents: &[Extent]) -> Vec<u8> {
        let mut handler = vec![0; 4];
        handler.extend(b"pict");
        handler.extend([0; 13]);
        let meta = [
            full(b"hdlr", 0, 0, &handler),
            full(b"pitm", 0, 0, &1_u16.to_be_bytes()),
            self.locations(extents),
            self.kinds(),
            self.relations(),
            self.associations(),
        ];
        let mut head = boxed(b"ftyp", b"avif\0\0\0\0avifmif1miaf");
        head.extend(full(b"meta", 0, 0, &meta.concat()));
        head
    }

    fn locations(&self, extents: &[Extent]) -> Vec<u8> {
        // Offsets and lengths of four bytes, no base.
        let mut bytes = vec![0x44, 0];
        bytes.extend((self.items.len() as u16).to_be_bytes());
        for (index, extent) in extents.iter().enumerate() {
            bytes.extend((index as u16 + 1).to_be_bytes());
            bytes.extend([0, 0, 0, 1]);
            bytes.extend(extent.at.to_be_bytes());
            bytes.extend(extent.bytes.to_be_bytes());
        }
        full(b"iloc", 0, 0, &bytes)
    }

    fn kinds(&self) -> Vec<u8> {
        let mut bytes = (self.items.len() as u16).to_be_bytes().to_vec();
        for (index, item) in self.items.iter().enumerate() {
            let mut entry = (index as u16 + 1).to_be_bytes().to_vec();
            entry.extend([0; 2]);
            entry.extend(item.kind);
            entry.push(0);
            if item.kind == *b"mime" {
                entry.extend(b"application/rdf+xml\0");
            }
            bytes.extend(full(b"infe", 2, item.hidden.into(), &entry));
        }
        full(b"iinf", 0, 0, &bytes)
    }

    fn relations(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            for (kind, others) in &item.references {
                let mut content = (index as u16 + 1).to_be_bytes().to_vec();
                content.extend((others.len() as u16).to_be_bytes());
                content.extend(others.iter().flat_map(|other| other.to_be_bytes()));
                bytes.extend(boxed(kind, &content));
            }
        }
        if bytes.is_empty() {
            return Vec::new();
        }
        full(b"iref", 0, 0, &bytes)
    }

    fn associations(&self) -> Vec<u8> {
        let described = || {
            self.items
                .iter()
                .enumerate()
                .filter(|(_, item)| !item.properties.is_empty())
        };
        let mut bytes = (described().count() as u32).to_be_bytes().to_vec();
        for (index, item) in described() {
            bytes.extend((index as u16 + 1).to_be_bytes());
            bytes.push(item.properties.len() as u8);
            bytes.extend(&item.properties);
        }
        let mut content = boxed(b"ipco", &self.properties.concat());
        content.extend(full(b"ipma", 0, 0, &bytes));
        boxed(b"iprp", &content)
    }
}

fn sides(size: Size) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&size.width.to_be_bytes());
    bytes[4..].copy_from_slice(&size.height.to_be_bytes());
    bytes
}

/// What the sequence header says, once more: full colours are the High profile, planes of light alone the Main one.
fn av1_configuration(bits: u8, has_colours: bool) -> [u8; 4] {
    /// Level 31: no limits.
    const LEVEL: u8 = 31;
    let profile = u8::from(has_colours);
    let monochrome = if has_colours { 0 } else { 0b1_1100 };
    [
        0x81,
        profile << 5 | LEVEL,
        u8::from(bits > 8) << 6 | monochrome,
        0,
    ]
}

/// The description of a grid: rows, columns and the size of the whole, which its cells may exceed.
pub fn grid_content(size: Size, grid: Grid) -> Vec<u8> {
    let mut bytes = vec![0, 0, (grid.rows - 1) as u8, (grid.columns - 1) as u8];
    // Sides are 32,768 at most.
    bytes.extend((size.width as u16).to_be_bytes());
    bytes.extend((size.height as u16).to_be_bytes());
    bytes
}
