//! Owns properties that a packet gains: what its file said elsewhere, for a result that has no other place for it. Never
//! changes a property that is there.

use std::fmt::Write as _;

use super::name::{DC, PHOTOSHOP, RDF, XMP};
use super::scan::{Document, Node};
use super::{Malformed, about, apply, escaped, fresh};

/// Most values of a property, and most bytes of them. Captions have a few hundred, keywords are a few dozen.
const VALUES_MAX: usize = 1024;
const VALUES_BYTES_MAX: usize = 64 << 10;

/// Most bytes of a property that is there and may say the same: what is longer says more.
const SAID_BYTES_MAX: usize = 4 * VALUES_BYTES_MAX;

/// How a property holds its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Form {
    /// One text.
    Plain,
    /// One text in several languages, of which one is told.
    Alternatives,
    /// A list in its order.
    Sequence,
    /// A list.
    Bag,
}

/// A property of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Property {
    prefix: &'static str,
    ns: &'static str,
    local: &'static str,
    form: Form,
}

impl Property {
    /// Of Dublin Core.
    pub(in super::super) const fn dc(local: &'static str, form: Form) -> Self {
        Self {
            prefix: "dc",
            ns: DC,
            local,
            form,
        }
    }

    /// Of Photoshop.
    pub(in super::super) const fn photoshop(local: &'static str, form: Form) -> Self {
        Self {
            prefix: "photoshop",
            ns: PHOTOSHOP,
            local,
            form,
        }
    }

    /// The program that made the picture.
    pub(in super::super) const CREATOR_TOOL: Self = Self {
        prefix: "xmp",
        ns: XMP,
        local: "CreatorTool",
        form: Form::Plain,
    };

    /// The element that says it.
    fn element(self, values: &[String]) -> String {
        let items: String = values.iter().fold(String::new(), |mut items, value| {
            let _ = write!(items, "<rdf:li>{}</rdf:li>", escaped(value));
            items
        });
        let all = || escaped(&values.join("; "));
        let content = match self.form {
            Form::Plain => all(),
            Form::Alternatives => {
                format!(
                    "<rdf:Alt><rdf:li xml:lang=\"x-default\">{}</rdf:li></rdf:Alt>",
                    all()
                )
            }
            Form::Sequence => format!("<rdf:Seq>{items}</rdf:Seq>"),
            Form::Bag => format!("<rdf:Bag>{items}</rdf:Bag>"),
        };
        let Self { prefix, local, .. } = self;
        format!("<{prefix}:{local}>{content}</{prefix}:{local}>")
    }
}

/// A property that a packet is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Wish {
    pub(in super::super) property: Property,
    /// At least one.
    pub(in super::super) values: Vec<String>,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Granted {
    /// The packet says it: now, or it did already.
    Yes,
    /// It is too long, or the packet says something else.
    No,
}

/// Gives a packet, or a new one, the properties that it does not have. `None` where it stays as it is.
///
/// # Errors
/// [`Malformed`].
pub(in super::super) fn add(
    packet: Option<&[u8]>,
    wishes: &[Wish],
) -> Result<(Option<Vec<u8>>, Vec<Granted>), Malformed> {
    let new;
    let packet = match packet {
        Some(packet) => packet,
        None => {
            new = fresh(concat!("upscaled ", env!("CARGO_PKG_VERSION")));
            new.as_bytes()
        }
    };
    let document = Document::parse(packet)?;
    let (mut names, mut properties) = (String::new(), String::new());
    let mut added: Vec<&Wish> = Vec::new();
    let mut granted = Vec::new();
    for wish in wishes {
        let Property {
            prefix, ns, local, ..
        } = wish.property;
        let bytes: usize = wish.values.iter().map(String::len).sum();
        if wish.values.len() > VALUES_MAX || bytes > VALUES_BYTES_MAX {
            granted.push(Granted::No);
            continue;
        }
        let said = said(&document, ns, local);
        let before = added.iter().find(|other| other.property == wish.property);
        let is_said = match (&said, before) {
            (Some(said), _) if said.len() > SAID_BYTES_MAX => Some(false),
            (Some(said), _) => Some(wish.values.iter().all(|value| said.contains(&escaped(value)))),
            (None, Some(other)) => Some(other.values == wish.values),
            (None, None) => None,
        };
        granted.push(match is_said {
            Some(true) => Granted::Yes,
            None => {
                if !added.iter().any(|other| other.property.prefix == prefix) {
                    let _ = write!(names, " xmlns:{prefix}=\"{ns}\"");
                }
                properties.push_str(&wish.property.element(&wish.values));
                added.push(wish);
                Granted::Yes
            }
            Some(false) => Granted::No,
        });
    }
    if added.is_empty() {
        return Ok((None, granted));
    }
    let description = format!(
        "<rdf:Description xmlns:rdf=\"{RDF}\"{names} rdf:about=\"{}\">{properties}</rdf:Description>",
        about(&document)
    );
    let end = document.nodes[document.rdf].close.start;
    Ok((Some(apply(document.text, vec![(end..end, description)])), granted))
}

/// What a packet says of a property, with the tags around it.
fn said<'d>(document: &'d Document<'_>, ns: &str, local: &str) -> Option<&'d str> {
    document.descriptions().find_map(|(index, node)| {
        let attribute = node.attribute(ns, local).map(|attribute| attribute.value.clone());
        let range = attribute.or_else(|| {
            let mut properties = document.children(index);
            let is_it = |(_, node): &(usize, &Node<'_>)| node.is(ns, local);
            Some(properties.find(is_it)?.1.span())
        })?;
        Some(&document.text[range])
    })
}
