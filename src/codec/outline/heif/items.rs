//! Owns the tables of a HEIF's description: items, their places, properties and relations. Trusts no number in them.

use std::collections::{BTreeMap, BTreeSet};

use super::crop::Crop;
use super::hevc::{self, Room};
use super::{DAMAGED, Grid};
use crate::codec::outline::boxes::Cursor;
use crate::codec::outline::{Extent, Flaw};
use crate::size::Size;

/// Most items that are looked at: those of the largest grid, and as many again.
const MOST_ITEMS: usize = 16_384;

/// A grid's layout: two bytes, rows and columns, and two sides of four bytes.
const MOST_LAYOUT_BYTES: u64 = 12;

/// The URNs by which an auxiliary picture says that it is alpha.
const ALPHA: [&[u8]; 3] = [
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:avc:2015:auxid:1",
];

/// The content type of XMP.
const XMP: &[u8] = b"application/rdf+xml";

/// What the description says.
pub(super) struct Items<'a> {
    pub(super) primary: u32,
    kinds: BTreeMap<u32, Kind<'a>>,
    places: BTreeMap<u32, Vec<Extent>>,
    /// Data that lie in the description itself, and where that is in the file.
    inner: (u64, &'a [u8]),
    properties: Vec<([u8; 4], Cursor<'a>)>,
    /// Numbers of properties, in the order in which they are applied; from 0.
    owned: BTreeMap<u32, Vec<usize>>,
    /// Kind, from, to.
    relations: Vec<([u8; 4], u32, Vec<u32>)>,
    /// The contents of [`Items::grids`], once somebody has read them.
    pub(super) layouts: BTreeMap<u32, Vec<u8>>,
}

/// What an item is.
#[derive(Clone, Copy)]
struct Kind<'a> {
    name: [u8; 4],
    content_type: &'a [u8],
}

/// How a picture is to be shown.
pub(super) struct Traits {
    pub(super) bits: u8,
    pub(super) is_grey: bool,
    /// As EXIF numbers it, 1..=8.
    pub(super) orientation: u8,
    pub(super) icc: Option<Vec<u8>>,
    pub(super) matrix: Option<(u16, bool)>,
    /// Primaries, transfer, matrix and range, as PNG's chunk has them.
    pub(super) cicp: Option<[u8; 4]>,
    pub(super) crop: Option<Crop>,
}

impl<'a> Items<'a> {
    /// Takes the description apart, which lies at `at` in the file.
    pub(super) fn read(at: u64, meta: &'a [u8]) -> Option<Self> {
        let mut content = Cursor(meta);
        content.version()?;
        let mut items = Self {
            primary: 0,
            kinds: BTreeMap::new(),
            places: BTreeMap::new(),
            inner: (0, &[]),
            properties: Vec::new(),
            owned: BTreeMap::new(),
            relations: Vec::new(),
            layouts: BTreeMap::new(),
        };
        let mut places = None;
        while let Some((name, mut content)) = content.next_box() {
            match &name {
                b"pitm" => {
                    let wide = content.version()?.0 > 0;
                    items.primary = content.number(if wide { 4 } else { 2 })? as u32;
                }
                b"iinf" => items.read_kinds(content)?,
                b"iloc" => places = Some(content),
                b"idat" => {
                    let inside = content.0.as_ptr() as usize - meta.as_ptr() as usize;
                    items.inner = (at + inside as u64, content.0);
                }
                b"iprp" => items.read_properties(content)?,
                b"iref" => items.read_relations(content)?,
                _ => {}
            }
        }
        items.read_places(places?)?;
        Some(items)
    }

    fn read_kinds(&mut self, mut content: Cursor<'a>) -> Option<()> {
        let wide = content.version()?.0 > 0;
        content.number(if wide { 4 } else { 2 })?;
        for mut entry in content.find(b"infe").take(MOST_ITEMS) {
            let version = entry.version()?.0;
            // Older ones name files, not pictures.
            if version < 2 {
                continue;
            }
            let item = entry.number(if version == 2 { 2 } else { 4 })? as u32;
            entry.u16()?;
            let name: [u8; 4] = entry.take(4)?.try_into().ok()?;
            let mut texts = entry.0.split(|byte| *byte == 0);
            let content_type = texts.nth(1).unwrap_or_default();
            self.kinds.insert(item, Kind { name, content_type });
        }
        Some(())
    }

    fn read_places(&mut self, mut content: Cursor<'a>) -> Option<()> {
        let version = content.version()?.0;
        let (widths, more) = (content.u8()?, content.u8()?);
        let (offset_bytes, length_bytes) = (usize::from(widths >> 4), usize::from(widths & 15));
        let base_bytes = usize::from(more >> 4);
        let index_bytes = if version > 0 { usize::from(more & 15) } else { 0 };
        if [offset_bytes, length_bytes, base_bytes, index_bytes]
            .iter()
            .any(|bytes| *bytes > 8)
        {
            return None;
        }
        let count = content.number(if version < 2 { 2 } else { 4 })?;
        for _ in 0..count.min(MOST_ITEMS as u64) {
            let item = content.number(if version < 2 { 2 } else { 4 })? as u32;
            let method = if version > 0 { content.u16()? & 15 } else { 0 };
            content.u16()?;
            let base = content.number(base_bytes)?;
            let mut extents = Vec::new();
            for _ in 0..content.u16()? {
                content.number(index_bytes)?;
                let offset = base.checked_add(content.number(offset_bytes)?)?;
                let bytes = content.number(length_bytes)?;
                let at = match method {
                    0 => offset,
                    1 => {
                        let inner_bytes = self.inner.1.len() as u64;
                        (offset.checked_add(bytes)? <= inner_bytes).then_some(())?;
                        self.inner.0 + offset
                    }
                    _ => return None,
                };
                extents.push(Extent { at, bytes });
            }
            self.places.insert(item, extents);
        }
        Some(())
    }

    fn read_properties(&mut self, content: Cursor<'a>) -> Option<()> {
        let mut all = content.find(b"ipco").next()?;
        while let Some(property) = all.next_box() {
            self.properties.push(property);
            if self.properties.len() > MOST_ITEMS {
                return None;
            }
        }
        for mut owners in content.find(b"ipma") {
            let (version, flags) = owners.version()?;
            for _ in 0..owners.u32()?.min(MOST_ITEMS as u32) {
                let item = owners.number(if version == 0 { 2 } else { 4 })? as u32;
                let mut owned = Vec::new();
                for _ in 0..owners.u8()? {
                    let index = if flags & 1 == 1 {
                        owners.u16()? & 0x7FFF
                    } else {
                        u16::from(owners.u8()? & 0x7F)
                    };
                    owned.extend(usize::from(index).checked_sub(1));
                }
                self.owned.insert(item, owned);
            }
        }
        Some(())
    }

    fn read_relations(&mut self, mut content: Cursor<'a>) -> Option<()> {
        let id_bytes = if content.version()?.0 == 0 { 2 } else { 4 };
        while let Some((name, mut relation)) = content.next_box() {
            let from = relation.number(id_bytes)? as u32;
            let count = relation.u16()?;
            let to = (0..count).map(|_| Some(relation.number(id_bytes)? as u32));
            self.relations.push((name, from, to.collect::<Option<_>>()?));
            if self.relations.len() > MOST_ITEMS {
                return None;
            }
        }
        Some(())
    }

    /// Properties of an item, in the order in which they are applied.
    fn of(&self, item: u32) -> impl Iterator<Item = ([u8; 4], Cursor<'a>)> {
        let owned = self.owned.get(&item).map_or(&[][..], Vec::as_slice);
        owned
            .iter()
            .filter_map(|index| self.properties.get(*index))
            .copied()
    }

    fn property(&self, item: u32, name: [u8; 4]) -> Option<Cursor<'a>> {
        self.of(item)
            .find_map(|(found, content)| (found == name).then_some(content))
    }

    fn size(&self, item: u32) -> Option<Size> {
        let mut size = self.property(item, *b"ispe")?;
        size.version()?;
        Some(Size::new(size.u32()?, size.u32()?))
    }

    /// Where the layouts of a picture and of its alpha lie, if those are grids.
    pub(super) fn grids(&self, picture: u32) -> Vec<(u32, Extent)> {
        let items = [Some(picture), self.alpha_of(picture)].into_iter().flatten();
        items
            .filter(|item| self.kinds.get(item).is_some_and(|kind| kind.name == *b"grid"))
            .filter_map(|item| match self.places.get(&item)?[..] {
                [extent] if extent.bytes <= MOST_LAYOUT_BYTES => Some((item, extent)),
                _ => None,
            })
            .collect()
    }

    /// The picture of an item: coded itself, or made of others side by side.
    pub(super) fn grid(
        &self,
        item: u32,
        coding: &[u8; 4],
        most_tiles: usize,
        refusal: &mut Option<String>,
    ) -> Result<Grid, Flaw> {
        let kind = self.kinds.get(&item).ok_or(DAMAGED)?;
        let size = self.size(item).ok_or(DAMAGED)?;
        if kind.name == *coding {
            return Ok(Grid {
                columns: 1,
                tiles: vec![self.places.get(&item).cloned().ok_or(DAMAGED)?],
                tile: size,
                size,
            });
        }
        if kind.name != *b"grid" {
            let name = String::from_utf8_lossy(&kind.name).into_owned();
            let what = match &kind.name {
                b"iovl" | b"iden" => "it is made of layers".to_owned(),
                _ => format!("its picture is coded as {name}, which is not known"),
            };
            refusal.get_or_insert(format!("{what}; save it as PNG or JPEG"));
            return Ok(Grid {
                columns: 1,
                tiles: Vec::new(),
                tile: size,
                size,
            });
        }
        self.side_by_side(item, coding, most_tiles).ok_or(DAMAGED)
    }

    fn side_by_side(&self, item: u32, coding: &[u8; 4], most_tiles: usize) -> Option<Grid> {
        let mut data = Cursor(self.layouts.get(&item)?);
        data.u8()?;
        let side_bytes = if data.u8()? & 1 == 0 { 2 } else { 4 };
        let (rows, columns) = (u32::from(data.u8()?) + 1, u32::from(data.u8()?) + 1);
        let width = data.number(side_bytes)? as u32;
        let size = Size::new(width, data.number(side_bytes)? as u32);
        let relation = |(name, from, _): &&([u8; 4], u32, Vec<u32>)| name == b"dimg" && *from == item;
        let (_, _, parts) = self.relations.iter().find(relation)?;
        if parts.len() != (rows * columns) as usize || parts.len() > most_tiles {
            return None;
        }
        let tile = self.size(*parts.first()?)?;
        let covers = tile.width.checked_mul(columns)? >= size.width
            && tile.height.checked_mul(rows)? >= size.height
            // And no part lies outside.
            && tile.width.checked_mul(columns - 1)? < size.width
            && tile.height.checked_mul(rows - 1)? < size.height;
        let alike = |part: &u32| {
            self.kinds.get(part).is_some_and(|kind| kind.name == *coding) && self.size(*part) == Some(tile)
        };
        if !covers || !parts.iter().all(alike) {
            return None;
        }
        let tiles = parts.iter().map(|part| self.places.get(part).cloned());
        Some(Grid {
            columns,
            tiles: tiles.collect::<Option<_>>()?,
            tile,
            size,
        })
    }

    /// What an HEVC decoder makes room for, whichever of the configurations it is given.
    pub(super) fn room(&self) -> Option<Room> {
        let mut largest = Room::default();
        for (_, config) in self.properties.iter().filter(|(name, _)| name == b"hvcC") {
            let room = hevc::room(*config)?;
            largest.pixels = largest.pixels.max(room.pixels);
            largest.bits = largest.bits.max(room.bits);
        }
        (largest != Room::default()).then_some(largest)
    }

    /// The item that is a picture's alpha.
    pub(super) fn alpha_of(&self, picture: u32) -> Option<u32> {
        let is_alpha = |item: u32| {
            self.property(item, *b"auxC").is_some_and(|mut kind| {
                let urn = kind.version().and(kind.0.split(|byte| *byte == 0).next());
                urn.is_some_and(|urn| ALPHA.contains(&urn))
            })
        };
        self.relations.iter().find_map(|(name, from, to)| {
            (name == b"auxl" && to.contains(&picture) && is_alpha(*from)).then_some(*from)
        })
    }

    /// Whether a picture's colours are multiplied by its alpha.
    pub(super) fn is_premultiplied(&self, picture: u32) -> bool {
        self.relations
            .iter()
            .any(|(name, from, _)| name == b"prem" && *from == picture)
    }

    /// Where the first item of that kind lies that describes a picture.
    pub(super) fn described_by(&self, picture: u32, kind: &[u8; 4]) -> Vec<Extent> {
        let describes: BTreeSet<u32> = self
            .relations
            .iter()
            .filter(|(name, _, to)| name == b"cdsc" && to.contains(&picture))
            .map(|(_, from, _)| *from)
            .collect();
        let found = self.kinds.iter().find(|(item, found)| {
            found.name == *kind && describes.contains(item) && (kind != b"mime" || found.content_type == XMP)
        });
        found
            .and_then(|(item, _)| self.places.get(item))
            .cloned()
            .unwrap_or_default()
    }

    /// How a picture is to be shown. A grid's parts tell what the grid leaves out.
    pub(super) fn traits(&self, item: u32) -> Option<Traits> {
        let mut traits = Traits {
            bits: 8,
            is_grey: false,
            orientation: 1,
            icc: None,
            matrix: None,
            cicp: None,
            crop: None,
        };
        let parts = self
            .relations
            .iter()
            .find(|(name, from, _)| name == b"dimg" && *from == item);
        let part = parts.and_then(|(_, _, parts)| parts.first().copied());
        for coded in part.into_iter().chain([item]) {
            if let Some(mut config) = self.property(coded, *b"av1C") {
                let flags = config.take(4)?[2];
                traits.bits = match flags >> 5 & 3 {
                    0 | 1 => 8,
                    2 => 10,
                    _ => 12,
                };
                traits.is_grey = flags & 0x10 != 0;
            }
            if let Some(mut config) = self.property(coded, *b"hvcC") {
                let config = config.take(18)?;
                traits.bits = 8 + (config[17] & 7);
                traits.is_grey = config[16] & 3 == 0;
            }
            for (name, content) in self.of(coded) {
                traits.note(name, content)?;
            }
        }
        Some(traits)
    }
}

impl Traits {
    fn note(&mut self, name: [u8; 4], mut content: Cursor<'_>) -> Option<()> {
        match &name {
            b"colr" => match content.take(4)? {
                b"prof" | b"rICC" => self.icc = Some(content.0.to_vec()),
                b"nclx" => {
                    let (primaries, transfer, matrix) = (content.u16()?, content.u16()?, content.u16()?);
                    let is_full = content.u8()? & 0x80 != 0;
                    self.matrix = Some((matrix, is_full));
                    // They are RGB when anybody asks for them.
                    let small = |number| u8::try_from(number).unwrap_or(2);
                    self.cicp = Some([small(primaries), small(transfer), 0, 1]);
                }
                _ => {}
            },
            b"irot" => {
                for _ in 0..content.u8()? & 3 {
                    self.orientation = then(self.orientation, 8);
                }
            }
            b"imir" => {
                let left_to_right = content.u8()? & 1 == 1;
                self.orientation = then(self.orientation, if left_to_right { 2 } else { 4 });
            }
            b"clap" => self.crop = Some(Crop::read(content)?),
            _ => {}
        }
        Some(())
    }
}

/// The orientation that does what the first and then what the second does; both 1..=8.
fn then(first: u8, second: u8) -> u8 {
    // Whether the sides change places, and then whether columns and rows run backwards.
    let parts = |orientation: u8| match orientation {
        2 => (false, true, false),
        3 => (false, true, true),
        4 => (false, false, true),
        5 => (true, false, false),
        6 => (true, true, false),
        7 => (true, true, true),
        8 => (true, false, true),
        _ => (false, false, false),
    };
    let (first, second) = (parts(first), parts(second));
    // The first one's directions are those of the sides as they lie before the second one changes them.
    let (columns, rows) = if second.0 {
        (first.2, first.1)
    } else {
        (first.1, first.2)
    };
    let all = (first.0 != second.0, columns != second.1, rows != second.2);
    (1..=8)
        .find(|orientation| parts(*orientation) == all)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::*;

    #[test]
    fn one_turn_after_another_is_what_turning_twice_does() {
        let picture: image::DynamicImage =
            image::GrayImage::from_fn(3, 2, |x, y| image::Luma([(x + 3 * y) as u8])).into();
        for first in 1..=8 {
            for second in 1..=8 {
                let mut twice = picture.clone();
                twice.apply_orientation(Orientation::from_exif(first).unwrap());
                twice.apply_orientation(Orientation::from_exif(second).unwrap());
                let mut once = picture.clone();
                once.apply_orientation(Orientation::from_exif(then(first, second)).unwrap());
                assert_eq!(once, twice, "{first} then {second}");
            }
        }
    }
}
