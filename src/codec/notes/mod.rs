//! Owns what files say of a picture beside EXIF, XMP and IPTC: comments, PNG's texts, Photoshop's resources, how many
//! pixels are an inch. Decides where each goes in a result: to its own place as it is, else to where other programs look
//! for the same thing, else nowhere, with a word. Never reads or writes a file.

mod iptc;
pub(super) mod resources;
pub(super) mod text;

use super::density::Density;
use super::exif_patch::Place;
use super::layout::ResultFormat;
use super::metadata::Carried;
use super::turn::Turn;
use super::xmp::{self, Form, Granted, Property, Wish};
use text::Text;

/// Most comments of a file, and most bytes of all of them. Programs write one, of a line.
pub(super) const COMMENTS_MAX: usize = 32;
pub(super) const COMMENT_BYTES_MAX: usize = 1 << 20;

/// Most texts of a PNG, and most bytes of all of them, packed or not. What made a picture of a prompt may be a megabyte.
pub(super) const TEXTS_MAX: usize = 256;
pub(super) const TEXT_BYTES_MAX: usize = 8 << 20;

/// Most bytes of Photoshop's resources. A path has a few kilobytes.
pub(super) const RESOURCE_BYTES_MAX: usize = 2 << 20;

/// Names that are told: more would be no line that anybody reads.
const NAMES_MAX: usize = 8;

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Comments of a JPEG or a GIF, as they are.
    pub comments: Vec<Vec<u8>>,
    /// Texts of a PNG that have no place of their own elsewhere, as they are.
    pub texts: Vec<Text>,
    /// Photoshop's resources, as they are, without those that are carried otherwise or not at all.
    pub resources: Vec<u8>,
    /// Pixels in a unit of length.
    pub density: Option<Density>,
}

impl Notes {
    /// Bytes that all of it has.
    pub(super) fn bytes(&self) -> usize {
        let comments: usize = self.comments.iter().map(Vec::len).sum();
        let texts: usize = self.texts.iter().map(|text| text.chunk.len()).sum();
        comments + texts + self.resources.len()
    }
}

/// Makes what a source says true for the upright picture, and puts it where the result's format has a place.
pub(super) fn settle(
    carried: &mut Carried,
    format: ResultFormat,
    turn: Turn,
    place: Place,
    warnings: &mut Vec<String>,
) {
    if place == Place::Erase {
        // As of XMP: what is called coordinates goes. What somebody wrote stays, whatever it says.
        let texts = &mut carried.notes.texts;
        texts.retain(|text| !xmp::names_a_place(&text.keyword()));
    }
    settle_density(carried, format, turn, warnings);
    settle_resources(&mut carried.notes, format, turn, warnings);
    let mut asked = Asked::default();
    if !has_profiles(format) {
        asked.iptc(carried.iptc.take());
    }
    if format != ResultFormat::Png {
        asked.texts(std::mem::take(&mut carried.notes.texts));
    }
    let comments = std::mem::take(&mut carried.notes.comments);
    let in_words = comments.iter().filter_map(|comment| words(comment));
    match format {
        // As they are, and then those that a PNG had among its texts.
        ResultFormat::Jpeg | ResultFormat::Gif => {
            let more = std::mem::take(&mut asked.comments);
            let more = more.into_iter().map(String::into_bytes);
            carried.notes.comments = comments.into_iter().chain(more).collect();
        }
        ResultFormat::Png => {
            let texts = in_words.map(|words| Text::new(COMMENT, &words));
            carried.notes.texts.extend(texts);
        }
        _ => asked.comments.extend(in_words),
    }
    asked.grant(carried, format, warnings);
}

/// PNG's word for a comment.
const COMMENT: &str = "Comment";

/// Whether a format holds records of IPTC and Photoshop's resources.
fn has_profiles(format: ResultFormat) -> bool {
    matches!(
        format,
        ResultFormat::Jpeg | ResultFormat::Png | ResultFormat::Tiff
    )
}

/// A comment as words. `None` for one that says nothing; zeros end words, for many programs.
fn words(comment: &[u8]) -> Option<String> {
    let end = comment
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comment.len());
    (end > 0).then(|| text::words(&comment[..end]))
}

/// The resolution goes to its place in the format, or else into EXIF. What EXIF says already stays there.
fn settle_density(carried: &mut Carried, format: ResultFormat, turn: Turn, warnings: &mut Vec<String>) {
    let own = carried.notes.density.map(|density| density.turned(turn.swaps()));
    let in_exif = carried.exif.as_deref().and_then(Density::of_exif);
    let holds = |density: &Density| match format {
        ResultFormat::Jpeg => density.jfif().is_some(),
        ResultFormat::Png => density.png().is_some(),
        ResultFormat::Tiff => true,
        ResultFormat::Webp | ResultFormat::Avif | ResultFormat::Jxl | ResultFormat::Gif => false,
    };
    carried.notes.density = own.or(in_exif).filter(holds);
    let Some(own) = own.filter(|_| carried.notes.density.is_none() && in_exif.is_none()) else {
        return;
    };
    if carried.exif.is_none() && format != ResultFormat::Gif {
        carried.exif = Some(own.exif());
    } else {
        warnings.push(format!(
            "{}: the resolution was not carried: the format has no place for it",
            format.as_str()
        ));
    }
}

fn settle_resources(notes: &mut Notes, format: ResultFormat, turn: Turn, warnings: &mut Vec<String>) {
    let (turned, lost_paths) = resources::turned(&notes.resources, turn);
    if lost_paths {
        warnings.push("Photoshop's paths were not carried: the picture was turned".to_owned());
    }
    if has_profiles(format) {
        notes.resources = turned;
        return;
    }
    notes.resources.clear();
    if resources::is_telling(&turned) {
        warnings.push(format!(
            "{}: Photoshop's resources, such as print settings, were not carried: the format has no place for them",
            format.as_str()
        ));
    }
}

/// What XMP is asked to say, because the format has no other place for it.
#[derive(Default)]
struct Asked {
    wishes: Vec<(Whose, Wish)>,
    comments: Vec<String>,
    /// Data sets of IPTC, and texts, of which nothing can be said.
    lost_sets: Vec<u8>,
    lost_texts: Vec<String>,
    lost_iptc: bool,
}

/// Where a property comes from.
enum Whose {
    Iptc(u8),
    Text(String),
    Comment,
}

impl Asked {
    fn iptc(&mut self, records: Option<Vec<u8>>) {
        let Some(records) = records else { return };
        let (wishes, untold) = iptc::properties(&records);
        self.lost_iptc = wishes.is_empty() && untold.is_empty();
        self.lost_sets = untold;
        let wishes = wishes.into_iter();
        self.wishes
            .extend(wishes.map(|(set, wish)| (Whose::Iptc(set), wish)));
    }

    /// The keywords that PNG defines and XMP has properties for; a comment is one.
    fn texts(&mut self, texts: Vec<Text>) {
        for text in texts {
            let keyword = text.keyword();
            let words = text
                .words(COMMENT_BYTES_MAX)
                .filter(|words| !words.contains('\0'));
            let property = match keyword.as_str() {
                "Title" => Property::dc("title", Form::Alternatives),
                "Author" => Property::dc("creator", Form::Sequence),
                "Description" => Property::dc("description", Form::Alternatives),
                "Copyright" => Property::dc("rights", Form::Alternatives),
                "Software" => Property::CREATOR_TOOL,
                COMMENT if words.is_some() => {
                    self.comments.extend(words);
                    continue;
                }
                _ => {
                    self.lost_texts.push(keyword);
                    continue;
                }
            };
            match words {
                Some(words) => {
                    let values = vec![words];
                    self.wishes
                        .push((Whose::Text(keyword), Wish { property, values }));
                }
                None => self.lost_texts.push(keyword),
            }
        }
    }

    /// Gives XMP what it can say, and tells of the rest.
    fn grant(mut self, carried: &mut Carried, format: ResultFormat, warnings: &mut Vec<String>) {
        if !self.comments.is_empty() {
            let property = Property::dc("description", Form::Alternatives);
            let values = vec![self.comments.join("\n")];
            self.wishes.push((Whose::Comment, Wish { property, values }));
        }
        let (whose, wishes): (Vec<Whose>, Vec<Wish>) = self.wishes.into_iter().unzip();
        let granted = match xmp::add(carried.xmp.as_deref(), &wishes) {
            Ok((packet, granted)) => {
                carried.xmp = packet.or(carried.xmp.take());
                granted
            }
            Err(xmp::Malformed) => vec![Granted::No; wishes.len()],
        };
        let mut lost_comment = false;
        for (whose, _) in whose
            .into_iter()
            .zip(granted)
            .filter(|(_, is)| *is == Granted::No)
        {
            match whose {
                Whose::Iptc(set) => self.lost_sets.push(set),
                // XMP says which program came last; of that nobody need be told.
                Whose::Text(keyword) if keyword == "Software" => {}
                Whose::Text(keyword) => self.lost_texts.push(keyword),
                Whose::Comment => lost_comment = true,
            }
        }
        let name = format.as_str();
        if self.lost_iptc {
            warnings.push(format!(
                "{name}: IPTC was not carried: the format has no place for it"
            ));
        }
        if !self.lost_sets.is_empty() {
            let sets = self.lost_sets.iter().map(|set| format!("2:{set:02}"));
            let sets: Vec<String> = sets.take(NAMES_MAX).collect();
            warnings.push(format!(
                "{name}: a part of the IPTC was not carried ({}): the format has no place for it, and the XMP none or \
                 says something else",
                sets.join(", ")
            ));
        }
        if !self.lost_texts.is_empty() {
            self.lost_texts.sort_unstable();
            self.lost_texts.dedup();
            self.lost_texts.truncate(NAMES_MAX);
            let names = self.lost_texts.join(", ");
            warnings.push(format!("texts of the PNG were not carried: {names}"));
        }
        if lost_comment {
            warnings.push(format!(
                "{name}: the comment was not carried: the format has no place for it, and the XMP none or says \
                 something else"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
