//! Owns XMP packets: made true for a result, signed, joined and split. Changes what must change and leaves every
//! other byte where it was. Reads hostile text: what is no XML with namespaces is refused, never repaired.

mod add;
mod name;
mod parts;
mod scan;

use std::fmt::Write as _;
use std::ops::Range;

use super::exif_patch::Place;
use super::turn::Turn;
use crate::report::RenderReport;
use crate::size::Size;
pub(super) use add::{Form, Granted, Property, Wish, add};
use name::{EVENT, EXIF, NOTE, Payload, RDF, REGIONS, XMP, XMP_MM};
pub(super) use parts::{Extended, join, split};
use scan::{Attribute, Document, Node};

/// Most bytes of a packet. Some hold a depth map; what is larger is no description of a photo.
pub(super) const XMP_BYTES_MAX: usize = 16 << 20;

/// Most bytes that reading a packet takes besides it, for all its elements and attributes.
pub(super) const WORK_BYTES: u64 = 12 << 20;

/// Most bytes that a signature adds: names of models are short.
pub(super) const SIGNATURE_BYTES: u64 = 8 << 10;

/// Not a packet, or more of one than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What a packet says that its file holds beside the picture, and what cannot be made true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) gain_map: bool,
    pub(super) video: bool,
    pub(super) listed: bool,
    /// Regions, such as faces.
    pub(super) regions: bool,
}

/// What made a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The program and its version.
    pub tool: String,
    /// The model's name.
    pub model: String,
    /// How much larger it is.
    pub scale: String,
    /// How it was cut.
    pub tiling: String,
}

impl Provenance {
    /// What a report says of a result of `size`; `None` if it does not say enough.
    pub fn of(report: &RenderReport, size: Size) -> Option<Self> {
        let (input, model, plan) = (
            report.input.as_ref()?,
            report.model.as_ref()?,
            report.plan.as_ref()?,
        );
        let sides = [input.width, input.height];
        let [across, _] = if input.orientation > 4 {
            [sides[1], sides[0]]
        } else {
            sides
        };
        let hundredths = (100.0 * f64::from(size.width) / f64::from(across.max(1))).round();
        Some(Self {
            tool: concat!("upscaled ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: model.name.clone(),
            scale: (hundredths / 100.0).to_string(),
            tiling: plan.tiling.clone(),
        })
    }
}

/// Texts in the place of ranges.
type Edits = Vec<(Range<usize>, String)>;

/// What a packet says.
///
/// # Errors
/// [`Malformed`].
pub(super) fn said(packet: &[u8]) -> Result<Said, Malformed> {
    let document = Document::parse(packet)?;
    let mut said = Said::default();
    let mut note = |ns: &str, local: &str, value: &str| match name::payload(ns, local) {
        Some(Payload::GainMap) => said.gain_map = true,
        // A camera says also that there is none.
        Some(Payload::Video) => said.video |= value != "0",
        Some(Payload::Listed) => said.listed = true,
        None => said.regions |= ns == REGIONS && local == "Regions",
    };
    for node in &document.nodes {
        let inner = node.inner().map_or("", |range| &document.text[range]);
        if document.has_ancestor(node, RDF, "RDF") {
            note(node.ns, node.local, inner.trim());
        }
        for attribute in &node.attributes {
            let value = &document.text[attribute.value.clone()];
            note(attribute.ns, attribute.local, value.trim());
        }
    }
    Ok(said)
}

/// The name of the second part of a packet that is in two.
pub(super) fn extension(packet: &[u8]) -> Option<String> {
    let document = Document::parse(packet).ok()?;
    document.descriptions().find_map(|(index, node)| {
        let attribute = node.attribute(NOTE, "HasExtendedXMP");
        let value = attribute.map(|attribute| attribute.value.clone()).or_else(|| {
            let mut properties = document.children(index);
            let is_it = |(_, node): &(usize, &Node<'_>)| node.is(NOTE, "HasExtendedXMP");
            properties.find(is_it)?.1.inner()
        })?;
        Some(document.text[value].trim().to_owned())
    })
}

/// Makes a packet true for the upright, enlarged picture: sizes, orientation, where its subject is; without small
/// versions of the source, without what describes a payload that stays behind, and without coordinates if so wished.
///
/// # Errors
/// [`Malformed`].
pub fn patch(packet: &[u8], turn: Turn, place: Place) -> Result<Vec<u8>, Malformed> {
    let document = Document::parse(packet)?;
    let mut edits = Edits::new();
    let goes = |ns: &str, local: &str| {
        name::payload(ns, local).is_some()
            || name::is_stale(ns, local)
            || (place == Place::Erase && name::is_place(ns, local))
    };
    for (index, node) in document.nodes.iter().enumerate() {
        if goes(node.ns, node.local) && document.has_ancestor(node, RDF, "RDF") {
            edits.push((with_white(document.text, node.span()), String::new()));
            continue;
        }
        if document.is_property(node) {
            patch_property(&document, index, turn, &mut edits);
        }
        let in_regions = node.is(REGIONS, "AppliedToDimensions")
            || document.has_ancestor(node, REGIONS, "AppliedToDimensions");
        if in_regions && let Some(side) = name::side(node.ns, node.local, turn) {
            set_text(&document, index, side, &mut edits);
        }
        for attribute in &node.attributes {
            let Attribute { ns, local, .. } = attribute;
            let number = match in_regions {
                true => name::side(ns, local, turn),
                false if document.is_description(index) => {
                    name::number(ns, local, &document.text[attribute.value.clone()], turn)
                }
                false => None,
            };
            if goes(ns, local) {
                edits.push((attribute.span.clone(), String::new()));
            } else if let Some(number) = number {
                edits.push((attribute.value.clone(), number.to_string()));
            }
        }
    }
    Ok(apply(document.text, edits))
}

/// Whether words of another format name coordinates, as properties that go with the place are named.
pub(super) fn names_a_place(words: &str) -> bool {
    name::is_place("", words)
}

/// Changes a property that is an element.
fn patch_property(document: &Document<'_>, index: usize, turn: Turn, edits: &mut Edits) {
    let node = &document.nodes[index];
    let Some(inner) = node.inner() else { return };
    if node.is(EXIF, "SubjectArea") || node.is(EXIF, "SubjectLocation") {
        turn_subject(document, index, turn, edits);
    } else if let Some(number) = name::number(node.ns, node.local, &document.text[inner], turn) {
        set_text(document, index, number, edits);
    }
}

/// Gives an element that holds only text this number.
fn set_text(document: &Document<'_>, index: usize, number: u32, edits: &mut Edits) {
    let is_plain = document.children(index).next().is_none();
    if let Some(inner) = document.nodes[index].inner().filter(|_| is_plain) {
        edits.push((inner, number.to_string()));
    }
}

/// A list of two to four numbers: a point, a circle or a rectangle.
fn turn_subject(document: &Document<'_>, index: usize, turn: Turn, edits: &mut Edits) {
    let span = document.nodes[index].span();
    let items: Vec<Range<usize>> = document.nodes[index..]
        .iter()
        .take_while(|node| node.open.start < span.end)
        .filter(|node| node.is(RDF, "li"))
        .filter_map(Node::inner)
        .collect();
    let numbers: Result<Vec<u32>, _> = items
        .iter()
        .map(|item| document.text[item.clone()].trim().parse())
        .collect();
    let (x, y, width, height) = match numbers.as_deref() {
        Ok(&[x, y]) => (x, y, 0, 0),
        Ok(&[x, y, diameter]) => (x, y, diameter, diameter),
        Ok(&[x, y, width, height]) => (x, y, width, height),
        _ => return,
    };
    let (x, y) = turn.point(x, y);
    let (width, height) = turn.extent(width, height);
    for (item, number) in items.into_iter().zip([x, y, width, height]) {
        edits.push((item, number.to_string()));
    }
}

/// Writes into a packet, or into a new one, what made the result: the tool that created it, and an event in its
/// history. A tool that was there before moves into the history, unless that tells of it already. Without the time,
/// so that the same picture makes the same file.
///
/// # Errors
/// [`Malformed`].
pub fn sign(packet: Option<&[u8]>, provenance: &Provenance) -> Result<Vec<u8>, Malformed> {
    let tool = escaped(&provenance.tool);
    let new;
    let packet = match packet {
        Some(packet) => packet,
        None => {
            new = fresh(&tool);
            new.as_bytes()
        }
    };
    let document = Document::parse(packet)?;
    let mut edits = Edits::new();
    let before = creator_tool(&document);
    let mut properties = match &before {
        Some(value) => {
            edits.push((value.clone(), tool.clone()));
            String::new()
        }
        None => format!("<xmp:CreatorTool>{tool}</xmp:CreatorTool>"),
    };
    let event =
        |names: &str, inside: &str| format!("<rdf:li{names} rdf:parseType=\"Resource\">{inside}</rdf:li>");
    let made = format!(
        "<stEvt:action>converted</stEvt:action><stEvt:softwareAgent>{tool}</stEvt:softwareAgent>\
         <stEvt:parameters>upscaled: model {}, scale {}, tiling {}</stEvt:parameters>",
        escaped(&provenance.model),
        escaped(&provenance.scale),
        escaped(&provenance.tiling),
    );
    let history = document.descriptions().find_map(|(index, _)| {
        let mut properties = document.children(index);
        properties.find(|(_, node)| node.is(XMP_MM, "History"))
    });
    match history {
        Some((index, _)) => {
            let mut lists = document.children(index);
            if let Some((_, list)) = lists.find(|(_, node)| node.is(RDF, "Seq")) {
                // Between other people's items the names mean what they may.
                let names = format!(" xmlns:rdf=\"{RDF}\" xmlns:stEvt=\"{EVENT}\"");
                edits.push(append(&document, list, &event(&names, &made)));
            }
        }
        None => {
            let first = before.filter(|value| !value.is_empty()).map(|value| {
                let before = &document.text[value];
                let created = format!(
                    "<stEvt:action>created</stEvt:action><stEvt:softwareAgent>{before}</stEvt:softwareAgent>"
                );
                event("", &created)
            });
            let _ = write!(
                properties,
                "<xmpMM:History><rdf:Seq>{}{}</rdf:Seq></xmpMM:History>",
                first.unwrap_or_default(),
                event("", &made),
            );
        }
    }
    if !properties.is_empty() {
        let about = about(&document);
        // All names here: ImageMagick takes a packet for damaged that declares one within a list.
        let description = format!(
            "<rdf:Description xmlns:rdf=\"{RDF}\" xmlns:xmp=\"{XMP}\" xmlns:xmpMM=\"{XMP_MM}\" \
             xmlns:stEvt=\"{EVENT}\" rdf:about=\"{about}\">{properties}</rdf:Description>"
        );
        let end = document.nodes[document.rdf].close.start;
        edits.push((end..end, description));
    }
    Ok(apply(document.text, edits))
}

/// A packet that says nothing yet; `tool` is escaped.
fn fresh(tool: &str) -> String {
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\" \
         x:xmptk=\"{tool}\"><rdf:RDF xmlns:rdf=\"{RDF}\"></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"w\"?>"
    )
}

/// Where the tool's name stands.
fn creator_tool(document: &Document<'_>) -> Option<Range<usize>> {
    document.descriptions().find_map(|(index, node)| {
        let attribute = node.attribute(XMP, "CreatorTool");
        attribute.map(|attribute| attribute.value.clone()).or_else(|| {
            let mut properties = document.children(index);
            let (at, property) = properties.find(|(_, node)| node.is(XMP, "CreatorTool"))?;
            let is_plain = document.children(at).next().is_none();
            property.inner().filter(|_| is_plain)
        })
    })
}

/// Whose properties the others are, so that one more description is of the same.
fn about(document: &Document<'_>) -> String {
    let mut descriptions = document.descriptions();
    let about =
        descriptions.find_map(|(_, node)| node.attribute(RDF, "about").map(|about| about.value.clone()));
    about.map_or_else(String::new, |range| document.text[range].replace('"', "&quot;"))
}

/// Puts an item at the end of a list, which may be a single empty tag.
fn append(document: &Document<'_>, list: &Node<'_>, item: &str) -> (Range<usize>, String) {
    if list.inner().is_some() {
        return (list.close.start..list.close.start, item.to_owned());
    }
    let tag = document.text[list.open.clone()].trim_end_matches("/>");
    let name = tag[1..].split_ascii_whitespace().next().unwrap_or_default();
    (list.open.clone(), format!("{tag}>{item}</{name}>"))
}

/// A range with the white space before it.
fn with_white(text: &str, range: Range<usize>) -> Range<usize> {
    text[..range.start].trim_end().len()..range.end
}

/// Carries edits out; one inside another's range is dropped.
fn apply(text: &str, mut edits: Edits) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        if range.start >= at {
            changed.push_str(&text[at..range.start]);
            changed.push_str(&new);
            at = range.end;
        }
    }
    changed.push_str(&text[at..]);
    changed.into_bytes()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            // XML has no other control characters, and not these two.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
