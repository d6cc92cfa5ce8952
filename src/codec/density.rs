//! Owns how many pixels lie in a unit of length, as files say it: read, turned, and in the numbers of each format. Pure.
//!
//! A result has as many pixels in an inch as its source: the number says how large a picture is meant to be printed, four
//! times the pixels are there to be printed four times as large, and EXIF, which says it too, stays what it was.

/// What the numbers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Only what shape a pixel has.
    None,
    Inch,
    Centimetre,
}

/// Pixels in a unit of length, as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Density {
    across: (u32, u32),
    down: (u32, u32),
    unit: Length,
}

/// Largest number that a PNG holds.
const PNG_MOST: u32 = i32::MAX as u32;

/// Tags of EXIF and TIFF.
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const RESOLUTION_UNIT: u16 = 296;

const SHORT: u16 = 3;
const RATIONAL: u16 = 5;

impl Density {
    /// `None` for what says nothing: zeros, and pixels that are square, which all are that nothing is said of.
    pub(super) fn new(across: (u32, u32), down: (u32, u32), unit: Length) -> Option<Self> {
        let numbers = [across.0, across.1, down.0, down.1];
        let products = [(across.0, down.1), (down.0, across.1)].map(|(a, b)| u64::from(a) * u64::from(b));
        let says_something = unit != Length::None || products[0] != products[1];
        (says_something && !numbers.contains(&0)).then_some(Self { across, down, unit })
    }

    /// As PNG and BMP have it.
    pub(super) fn per_metre(across: u32, down: u32) -> Option<Self> {
        Self::new((across, 100), (down, 100), Length::Centimetre)
    }

    /// As TIFF has it: a unit that is missing is the inch.
    pub(super) fn of_tiff(across: (u32, u32), down: (u32, u32), unit: Option<u64>) -> Option<Self> {
        let unit = match unit {
            None | Some(2) => Length::Inch,
            Some(3) => Length::Centimetre,
            Some(_) => Length::None,
        };
        Self::new(across, down, unit)
    }

    /// As a block of EXIF has it, in its first directory.
    pub(super) fn of_exif(exif: &[u8]) -> Option<Self> {
        let little = exif.starts_with(b"II");
        let short = |at: usize| {
            let bytes = *exif.get(at..)?.first_chunk::<2>()?;
            Some(if little {
                u16::from_le_bytes(bytes)
            } else {
                u16::from_be_bytes(bytes)
            })
        };
        let long = |at: usize| {
            let bytes = *exif.get(at..)?.first_chunk::<4>()?;
            Some(if little {
                u32::from_le_bytes(bytes)
            } else {
                u32::from_be_bytes(bytes)
            })
        };
        let directory = long(4)? as usize;
        let find = |tag: u16| {
            let mut entries = (0..usize::from(short(directory)?)).map(|index| directory + 2 + 12 * index);
            entries.find(|at| short(*at) == Some(tag))
        };
        let fraction = |tag: u16| {
            let entry = find(tag).filter(|at| short(at + 2) == Some(RATIONAL))?;
            let at = long(entry + 8)? as usize;
            Some((long(at)?, long(at.checked_add(4)?)?))
        };
        let unit = find(RESOLUTION_UNIT).and_then(|entry| short(entry + 8));
        Self::of_tiff(
            fraction(X_RESOLUTION)?,
            fraction(Y_RESOLUTION)?,
            unit.map(u64::from),
        )
    }

    /// Of the picture with or without its rows and columns having changed places.
    pub(super) fn turned(self, swaps: bool) -> Self {
        if !swaps {
            return self;
        }
        Self {
            across: self.down,
            down: self.across,
            unit: self.unit,
        }
    }

    /// As TIFF has it: two fractions and the number of the unit.
    pub(super) fn tiff(self) -> ([(u32, u32); 2], u16) {
        let unit = match self.unit {
            Length::None => 1,
            Length::Inch => 2,
            Length::Centimetre => 3,
        };
        ([self.across, self.down], unit)
    }

    /// As JFIF has it: two numbers and their unit; in inches where its centimetres would not be whole numbers. `None` for
    /// numbers that are too large or too small for it.
    pub(super) fn jfif(self) -> Option<([u16; 2], Length)> {
        let both = |factor: (u64, u64)| {
            let across = u16::try_from(rounded(self.across, factor)?).ok()?;
            Some([across, u16::try_from(rounded(self.down, factor)?).ok()?])
        };
        let is_whole = |(above, below): (u32, u32)| above % below == 0;
        match self.unit {
            Length::None => {
                let [across, down] = self.shape();
                let halvings = (across.max(down) >> 16)
                    .checked_ilog2()
                    .map_or(0, |bits| bits + 1);
                let numbers = [across >> halvings, down >> halvings].map(|number| number as u16);
                (!numbers.contains(&0)).then_some((numbers, Length::None))
            }
            Length::Centimetre if is_whole(self.across) && is_whole(self.down) => {
                Some((both((1, 1))?, Length::Centimetre))
            }
            Length::Centimetre => Some((both((254, 100))?, Length::Inch)),
            Length::Inch => Some((both((1, 1))?, Length::Inch)),
        }
    }

    /// As PNG has it: two numbers, and whether they are of a metre. `None` for numbers that are too large for it.
    pub(super) fn png(self) -> Option<([u32; 2], bool)> {
        let numbers = match self.unit {
            Length::None => self.shape(),
            Length::Inch => both_rounded(self, (10_000, 254))?,
            Length::Centimetre => both_rounded(self, (100, 1))?,
        };
        let fits = numbers.iter().all(|number| (1..=PNG_MOST).contains(number));
        fits.then_some((numbers, self.unit != Length::None))
    }

    /// A block of EXIF that says this and nothing else.
    pub(super) fn exif(self) -> Vec<u8> {
        /// Behind the header, the count, three entries and the offset of no further directory.
        const VALUES_AT: u32 = 8 + 2 + 3 * 12 + 4;
        let ([across, down], unit) = self.tiff();
        let mut block = b"II\x2a\0\x08\0\0\0\x03\0".to_vec();
        for (tag, kind, field) in [
            (X_RESOLUTION, RATIONAL, VALUES_AT),
            (Y_RESOLUTION, RATIONAL, VALUES_AT + 8),
            (RESOLUTION_UNIT, SHORT, u32::from(unit)),
        ] {
            block.extend(tag.to_le_bytes());
            block.extend(kind.to_le_bytes());
            block.extend(1_u32.to_le_bytes());
            block.extend(field.to_le_bytes());
        }
        block.extend([0; 4]);
        for number in [across.0, across.1, down.0, down.1] {
            block.extend(number.to_le_bytes());
        }
        block
    }

    /// How many pixels across are as long as how many down, in the smallest numbers of 32 bits.
    fn shape(self) -> [u32; 2] {
        let across = u64::from(self.across.0) * u64::from(self.down.1);
        let down = u64::from(self.down.0) * u64::from(self.across.1);
        let (mut a, mut b) = (across, down);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let mut shape = [across / a.max(1), down / a.max(1)];
        while shape.iter().any(|number| *number > u64::from(PNG_MOST)) {
            shape = shape.map(|number| number >> 1);
        }
        shape.map(|number| number as u32)
    }
}

fn both_rounded(density: Density, factor: (u64, u64)) -> Option<[u32; 2]> {
    Some([rounded(density.across, factor)?, rounded(density.down, factor)?])
}

/// A fraction times another, rounded to a whole number that is not 0.
fn rounded((above, below): (u32, u32), (times, over): (u64, u64)) -> Option<u32> {
    let (above, below) = (u64::from(above) * times, u64::from(below) * over);
    let number = (2 * above + below) / (2 * below);
    u32::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inches(across: u32, down: u32) -> Density {
        Density::new((across, 1), (down, 1), Length::Inch).unwrap()
    }

    #[test]
    fn what_says_nothing_is_none() {
        assert_eq!(Density::new((1, 1), (1, 1), Length::None), None);
        assert_eq!(Density::new((2, 4), (1, 2), Length::None), None);
        assert_eq!(Density::new((0, 1), (1, 1), Length::Inch), None);
        assert_eq!(Density::new((1, 1), (1, 0), Length::Inch), None);
        assert_eq!(Density::per_metre(0, 0), None);
        assert!(Density::new((1, 1), (2, 1), Length::None).is_some());
    }

    #[test]
    fn every_format_says_the_same_and_its_own_numbers_come_back() {
        let usual = inches(300, 300);
        assert_eq!(usual.jfif(), Some(([300, 300], Length::Inch)));
        assert_eq!(usual.png(), Some(([11_811, 11_811], true)));
        assert_eq!(usual.tiff(), ([(300, 1), (300, 1)], 2));
        let fax = inches(204, 98);
        assert_eq!(fax.turned(true), inches(98, 204));
        assert_eq!(fax.turned(false), fax);
        for number in [1, 100, 2834, 2835, 11_811, PNG_MOST] {
            let density = Density::per_metre(number, number).unwrap();
            assert_eq!(density.png(), Some(([number; 2], true)));
        }
        assert_eq!(
            Density::per_metre(2835, 11_811).unwrap().jfif(),
            Some(([72, 300], Length::Inch))
        );
        let metric = Density::new((118, 1), (59, 1), Length::Centimetre).unwrap();
        assert_eq!(metric.jfif(), Some(([118, 59], Length::Centimetre)));
        assert_eq!(metric.png(), Some(([11_800, 5900], true)));
    }

    #[test]
    fn the_shape_of_a_pixel_passes_without_a_unit() {
        let wide = Density::new((10, 3), (20, 3), Length::None).unwrap();
        assert_eq!(wide.jfif(), Some(([1, 2], Length::None)));
        assert_eq!(wide.png(), Some(([1, 2], false)));
        let fine = Density::new((65_537, 1), (65_539, 1), Length::None).unwrap();
        assert_eq!(fine.jfif(), Some(([32_768, 32_769], Length::None)));
    }

    #[test]
    fn what_a_format_cannot_hold_is_none_and_extremes_do_not_overflow() {
        assert_eq!(inches(65_536, 300).jfif(), None);
        assert_eq!(inches(u32::MAX, 300).png(), None);
        assert_eq!(
            Density::new((1, u32::MAX), (1, 1), Length::Inch).unwrap().jfif(),
            None
        );
        let ends = [1, 2, u32::MAX - 1, u32::MAX];
        for unit in [Length::None, Length::Inch, Length::Centimetre] {
            for (a, b, c, d) in ends
                .iter()
                .flat_map(|a| ends.map(|b| (*a, b)))
                .flat_map(|(a, b)| ends.iter().flat_map(move |c| ends.map(|d| (a, b, *c, d))))
            {
                if let Some(density) = Density::new((a, b), (c, d), unit) {
                    let _ = (density.jfif(), density.png());
                    assert_eq!(Density::of_exif(&density.exif()), Some(density));
                }
            }
        }
    }

    #[test]
    fn exif_is_read_in_both_orders_and_cut_anywhere() {
        let mut block = b"MM\0\x2a\0\0\0\x08\0\x02".to_vec();
        block.extend(b"\x01\x1a\0\x05\0\0\0\x01\0\0\0\x26\x01\x1b\0\x05\0\0\0\x01\0\0\0\x2e\0\0\0\0");
        block.extend(b"\0\0\x01\x2c\0\0\0\x01\0\0\0\x96\0\0\0\x01");
        assert_eq!(Density::of_exif(&block), Some(inches(300, 150)));
        for length in 0..block.len() {
            assert_eq!(Density::of_exif(&block[..length]), None);
        }
        assert_eq!(Density::of_exif(b"II\x2a\0\xff\xff\xff\xff"), None);
    }
}
