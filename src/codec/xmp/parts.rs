//! Owns packets in parts: JPEG holds 64 kB of one in a place, and the rest of it as another packet elsewhere. Never
//! knows how a file names the parts.

use std::fmt::Write as _;
use std::ops::Range;

use super::name::{NOTE, RDF, XMLNS};
use super::scan::{Document, declared};
use super::{Edits, Malformed, XMP_BYTES_MAX, about, apply};

/// A packet in two.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Extended {
    /// What everybody reads; names the other part.
    pub(in super::super) main: Vec<u8>,
    /// What is too large for that.
    pub(in super::super) rest: Vec<u8>,
    /// MD5 of the rest, in capital hexadecimal digits.
    pub(in super::super) guid: String,
}

/// Puts the properties of a second packet into the first.
///
/// # Errors
/// [`Malformed`].
pub(in super::super) fn join(main: &[u8], rest: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (document, other) = (Document::parse(main)?, Document::parse(rest)?);
    let mut descriptions = String::new();
    for (index, node) in other.descriptions() {
        // Prefixes may be bound around a description, and otherwise than in the first packet.
        let (span, named) = (node.span(), name_end(other.text, node.open.start));
        descriptions.push_str(&other.text[span.start..named]);
        descriptions.push_str(&other.scope(index));
        descriptions.push_str(&other.text[named..span.end]);
        if descriptions.len() > XMP_BYTES_MAX {
            return Err(Malformed);
        }
    }
    let end = document.nodes[document.rdf].close.start;
    Ok(apply(document.text, vec![(end..end, descriptions)]))
}

/// What the name of the second part takes in the first.
const NOTE_BYTES: usize = 400;

/// Moves the largest properties into a second packet until the first has at most `limit` bytes. `None` where that
/// does not help.
pub(in super::super) fn split(packet: &[u8], limit: usize) -> Option<Extended> {
    let document = Document::parse(packet).ok()?;
    // Room that was left for changes goes first.
    let root = document.nodes.first()?;
    let padding = root.close.end..document.text.len();
    let mut edits: Edits = vec![(padding.clone(), "\n<?xpacket end=\"w\"?>".to_owned())];
    let mut bytes = document.text.len() - padding.len() + 32 + NOTE_BYTES;

    let mut movable = Vec::new();
    for (index, node) in document.descriptions() {
        let attributes = node.attributes.iter();
        let properties = attributes.filter(|attribute| ![XMLNS, RDF, ""].contains(&attribute.ns));
        movable.extend(properties.map(|attribute| (attribute.span.clone(), index, true)));
        movable.extend(
            document
                .children(index)
                .map(|(_, child)| (child.span(), index, false)),
        );
    }
    movable.sort_by_key(|(span, ..)| std::cmp::Reverse(span.len()));
    let mut moved = Vec::new();
    for part in movable {
        if bytes <= limit {
            break;
        }
        bytes -= part.0.len();
        edits.push((part.0.clone(), String::new()));
        moved.push(part);
    }
    if bytes > limit {
        return None;
    }
    let rest = rest_packet(&document, &moved)?;
    let guid = md5_hex(rest.as_bytes());
    let end = document.nodes[document.rdf].close.start;
    let note = format!(
        "<rdf:Description xmlns:rdf=\"{RDF}\" rdf:about=\"{}\" xmlns:xmpNote=\"{NOTE}\" \
         xmpNote:HasExtendedXMP=\"{guid}\"/>",
        about(&document)
    );
    edits.push((end..end, note));
    let main = apply(document.text, edits);
    (main.len() <= limit).then(|| Extended {
        main,
        rest: rest.into_bytes(),
        guid,
    })
}

/// A packet of what was moved, each under a description like its own. `None` where that grows beyond measure.
fn rest_packet(document: &Document<'_>, moved: &[(Range<usize>, usize, bool)]) -> Option<String> {
    let text = document.text;
    let mut rest = format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"{RDF}\">");
    for (index, node) in document.descriptions() {
        let of = |wanted: bool| {
            let parts = moved.iter();
            parts.filter_map(move |(span, at, is_attribute)| {
                ((*at, *is_attribute) == (index, wanted)).then_some(&text[span.clone()])
            })
        };
        if of(true).chain(of(false)).next().is_none() {
            continue;
        }
        let name = &text[node.open.start + 1..name_end(text, node.open.start)];
        let _ = write!(rest, "<{name}{}", document.scope(index));
        let about = node.attribute(RDF, "about").into_iter();
        for attribute in declared(node).chain(about) {
            rest.push_str(&text[attribute.span.clone()]);
        }
        rest.extend(of(true));
        rest.push('>');
        rest.extend(of(false));
        let _ = write!(rest, "</{name}>");
        if rest.len() > XMP_BYTES_MAX {
            return None;
        }
    }
    rest.push_str("</rdf:RDF></x:xmpmeta>");
    Some(rest)
}

/// Where the name in a tag ends.
fn name_end(text: &str, tag: usize) -> usize {
    let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/');
    text[tag..].find(is_end).map_or(text.len(), |length| tag + length)
}

fn md5_hex(bytes: &[u8]) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
