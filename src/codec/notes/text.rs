//! Owns the texts of PNG files: chunks with a keyword, which are kept as they are, and what they say. Reads hostile
//! chunks: what they unpack to is bounded.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// The format allows a keyword so many characters.
const KEYWORD_CHARS_MAX: usize = 79;

/// A chunk, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// `tEXt`, `zTXt` or `iTXt`.
    pub(in super::super) name: [u8; 4],
    /// What is in it.
    pub(in super::super) chunk: Vec<u8>,
}

impl Text {
    /// A chunk that readers will understand; `None` for others, and for one that has more than `most` bytes, packed or
    /// not. Also tells how many they were, or had become when that was found out.
    pub(in super::super) fn read(name: [u8; 4], chunk: &[u8], most: usize) -> (Option<Self>, usize) {
        let keyword = cut(chunk).map_or(&[][..], |(keyword, _)| keyword);
        let is_sound =
            (1..=KEYWORD_CHARS_MAX).contains(&keyword.len()) && !keyword.iter().any(u8::is_ascii_control);
        if !is_sound || chunk.len() > most {
            return (None, 0);
        }
        let (text, spent) = content(name, chunk, most);
        let is_text = text.is_some_and(|text| name != *b"iTXt" || std::str::from_utf8(&text).is_ok());
        let chunk = chunk.to_vec();
        (is_text.then_some(Self { name, chunk }), spent)
    }

    /// A new one. Its words must not hold zeros.
    pub(in super::super) fn new(keyword: &str, words: &str) -> Self {
        let (name, between) = match words.is_ascii() {
            true => (*b"tEXt", &b"\0"[..]),
            // Not compressed, in no language that is named, without a translation of the keyword.
            false => (*b"iTXt", &b"\0\0\0\0\0"[..]),
        };
        let chunk = [keyword.as_bytes(), between, words.as_bytes()].concat();
        Self { name, chunk }
    }

    /// What it is called, for a message.
    pub(in super::super) fn keyword(&self) -> String {
        word(cut(&self.chunk).map_or(&[][..], |(keyword, _)| keyword))
    }

    /// What it says, if that is not more than `most` bytes.
    pub(in super::super) fn words(&self, most: usize) -> Option<String> {
        let (text, _) = content(self.name, &self.chunk, most);
        text.map(|text| words(&text))
    }
}

/// What is behind a chunk's keyword, unpacked, if that is not more than `most` bytes; and how many bytes it took to see.
pub(in super::super) fn content(name: [u8; 4], chunk: &[u8], most: usize) -> (Option<Vec<u8>>, usize) {
    let packed = || -> Option<(&[u8], bool)> {
        let (_, rest) = cut(chunk)?;
        match &name {
            b"iTXt" => {
                let (&[compressed, _], rest) = rest.split_first_chunk::<2>()?;
                // A language, a translated keyword.
                let (_, rest) = cut(rest)?;
                let (_, text) = cut(rest)?;
                Some((text, compressed != 0))
            }
            b"zTXt" => Some((rest.split_first()?.1, true)),
            _ => Some((rest, false)),
        }
    };
    match packed() {
        Some((text, true)) => inflate(text, most),
        Some((text, false)) => ((text.len() <= most).then(|| text.to_vec()), text.len()),
        None => (None, 0),
    }
}

/// Before and after the next zero.
pub(in super::super) fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn inflate(data: &[u8], most: usize) -> (Option<Vec<u8>>, usize) {
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(data)
        .take(most as u64 + 1)
        .read_to_end(&mut inflated);
    let spent = inflated.len();
    ((read.is_ok() && spent <= most).then_some(inflated), spent)
}

/// A keyword for a message.
pub(in super::super) fn word(keyword: &[u8]) -> String {
    let word = crate::error::one_line(&String::from_utf8_lossy(keyword));
    word.chars().take(KEYWORD_CHARS_MAX).collect()
}

/// Bytes of which nothing says what letters they are: UTF-8 if they can be, else Latin-1, as PNG and old programs
/// have it.
pub(in super::super) fn words(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `parameters` packed, and packed within an international text.
    fn packed(name: [u8; 4], words: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(words).unwrap();
        let between: &[u8] = if name == *b"zTXt" {
            b"\0\0"
        } else {
            b"\0\x01\0de\0Werte\0"
        };
        [b"parameters", between, &zlib.finish().unwrap()].concat()
    }

    #[test]
    fn all_three_kinds_say_what_they_say() {
        for (name, chunk) in [
            (*b"tEXt", b"parameters\0a cat, \xe4".to_vec()),
            (*b"zTXt", packed(*b"zTXt", b"a cat, \xe4")),
            (*b"iTXt", packed(*b"iTXt", "a cat, ä".as_bytes())),
            (*b"iTXt", "parameters\0\0\0\0\0a cat, ä".into()),
        ] {
            let text = Text::read(name, &chunk, 1000).0.unwrap();
            assert_eq!(text.keyword(), "parameters");
            assert_eq!(text.words(100).as_deref(), Some("a cat, ä"));
            assert_eq!(text.words(3), None);
            assert_eq!(text.chunk, chunk);
        }
        for words in ["plain", "schön"] {
            let text = Text::new("Comment", words);
            assert_eq!(Text::read(text.name, &text.chunk, 100).0.as_ref(), Some(&text));
            assert_eq!(text.words(100).as_deref(), Some(words));
        }
    }

    #[test]
    fn a_damaged_text_and_one_that_unpacks_to_too_much_are_none() {
        let bomb = packed(*b"zTXt", &vec![b' '; 2 << 20]);
        assert!(bomb.len() < 4000);
        assert_eq!(Text::read(*b"zTXt", &bomb, 1 << 20), (None, (1 << 20) + 1));
        assert!(matches!(Text::read(*b"zTXt", &bomb, 2 << 20), (Some(_), bytes) if bytes == 2 << 20));
        assert_eq!(Text::read(*b"zTXt", &bomb, 1000), (None, 0));
        let long = [&[b'k'; 80][..], b"\0text"].concat();
        for (name, chunk) in [
            (*b"tEXt", &b"no zero"[..]),
            (*b"tEXt", b"\0no keyword"),
            (*b"tEXt", b"a\nb\0two lines"),
            (*b"tEXt", &long),
            (*b"zTXt", b"key\0\0no zlib"),
            (*b"zTXt", b"key\0"),
            (*b"iTXt", b"key\0\0\0de"),
            (*b"iTXt", b"key\0\0\0\0\0\xff"),
        ] {
            assert_eq!(Text::read(name, chunk, 1000).0, None, "{chunk:?}");
        }
    }

    proptest! {
        #[test]
        fn any_chunk_is_read_or_not(kind in 0..3_usize, chunk in proptest::collection::vec(any::<u8>(), 0..60)) {
            let name = [*b"tEXt", *b"zTXt", *b"iTXt"][kind];
            let (text, spent) = Text::read(name, &chunk, 50);
            prop_assert!(spent <= 51);
            if let Some(text) = text {
                prop_assert!(text.words(50).is_some());
            }
        }
    }
}
