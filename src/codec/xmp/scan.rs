//! Owns the reading of XMP as XML with namespaces: which elements and attributes there are, and where in the text
//! each lies. Never builds text and resolves no entity.

use std::ops::Range;

use super::Malformed;
use super::name::{RDF, XMLNS};

/// Elements and attributes of a packet. Photos have hundreds; what has more is not worth its memory.
const PARTS_MAX: usize = 1 << 16;

/// Elements inside each other. A history of a history has a dozen.
const DEPTH_MAX: usize = 64;

/// Namespaces that are bound at a place. Photoshop declares thirty.
const BOUND_MAX: usize = 512;

/// An element.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) ns: &'a str,
    pub(super) local: &'a str,
    pub(super) parent: Option<usize>,
    /// The tag that opens it; the whole element where that closes it too.
    pub(super) open: Range<usize>,
    /// The tag that closes it; empty where there is none.
    pub(super) close: Range<usize>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

impl Node<'_> {
    /// The whole element.
    pub(super) fn span(&self) -> Range<usize> {
        self.open.start..self.close.end
    }

    /// What lies between its tags; `None` where there is only one.
    pub(super) fn inner(&self) -> Option<Range<usize>> {
        (!self.close.is_empty()).then_some(self.open.end..self.close.start)
    }

    pub(super) fn is(&self, ns: &str, local: &str) -> bool {
        self.ns == ns && self.local == local
    }

    pub(super) fn attribute(&self, ns: &str, local: &str) -> Option<&Attribute<'_>> {
        let is_it = |attribute: &&Attribute<'_>| attribute.ns == ns && attribute.local == local;
        self.attributes.iter().find(is_it)
    }
}

/// An attribute; a declaration of a namespace is one of [`XMLNS`].
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) prefix: &'a str,
    pub(super) ns: &'a str,
    pub(super) local: &'a str,
    /// With the white space before it.
    pub(super) span: Range<usize>,
    /// Between the quotes.
    pub(super) value: Range<usize>,
}

/// A packet, its elements in the order in which they open.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// `rdf:RDF`.
    pub(super) rdf: usize,
}

impl<'a> Document<'a> {
    /// Reads a packet in UTF-8.
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(packet).map_err(|_| Malformed)?;
        let nodes = Reader::new(text).read()?;
        let is_rdf = |node: &Node<'_>| node.is(RDF, "RDF") && node.inner().is_some();
        let rdf = nodes.iter().position(is_rdf).ok_or(Malformed)?;
        Ok(Self { text, nodes, rdf })
    }

    /// The `rdf:Description`s whose properties are those of the picture.
    pub(super) fn descriptions(&self) -> impl Iterator<Item = (usize, &Node<'a>)> {
        self.children(self.rdf)
            .filter(|(_, node)| node.is(RDF, "Description"))
    }

    pub(super) fn children(&self, of: usize) -> impl Iterator<Item = (usize, &Node<'a>)> {
        let end = self.nodes[of].close.end;
        let after = self.nodes.iter().enumerate().skip(of + 1);
        let inside = after.take_while(move |(_, node)| node.open.start < end);
        inside.filter(move |(_, node)| node.parent == Some(of))
    }

    /// Whether an element is a property of the picture.
    pub(super) fn is_property(&self, node: &Node<'_>) -> bool {
        node.parent.is_some_and(|parent| self.is_description(parent))
    }

    /// Whether an element's attributes are properties of the picture.
    pub(super) fn is_description(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.parent == Some(self.rdf) && node.is(RDF, "Description")
    }

    pub(super) fn has_ancestor(&self, node: &Node<'_>, ns: &str, local: &str) -> bool {
        let mut parent = node.parent;
        while let Some(index) = parent {
            if self.nodes[index].is(ns, local) {
                return true;
            }
            parent = self.nodes[index].parent;
        }
        false
    }

    /// The namespaces that are declared around an element, not on it, as attributes: the nearest of each prefix.
    pub(super) fn scope(&self, index: usize) -> String {
        let own = declared(&self.nodes[index]);
        let mut seen: Vec<&str> = own.map(|attribute| attribute.local).collect();
        let mut scope = String::new();
        let mut parent = self.nodes[index].parent;
        while let Some(at) = parent {
            for attribute in declared(&self.nodes[at]) {
                if !seen.contains(&attribute.local) {
                    seen.push(attribute.local);
                    scope.push(' ');
                    scope.push_str(self.text[attribute.span.clone()].trim_start());
                }
            }
            parent = self.nodes[at].parent;
        }
        scope
    }
}

/// An element's declarations of namespaces with a prefix.
pub(super) fn declared<'n, 'a>(node: &'n Node<'a>) -> impl Iterator<Item = &'n Attribute<'a>> {
    let attributes = node.attributes.iter();
    attributes.filter(|attribute| attribute.ns == XMLNS && !attribute.prefix.is_empty())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nodes: Vec<Node<'a>>,
    /// Elements that are not closed yet, and how many namespaces were bound before each.
    open: Vec<(usize, usize)>,
    bound: Vec<(&'a str, &'a str)>,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            nodes: Vec::new(),
            open: Vec::new(),
            bound: Vec::new(),
            parts: 0,
        }
    }

    fn read(mut self) -> Result<Vec<Node<'a>>, Malformed> {
        while let Some(found) = self.text[self.at..].find('<') {
            self.at += found;
            let rest = &self.text[self.at..];
            if rest.starts_with("<?") {
                self.skip("?>")?;
            } else if rest.starts_with("<!--") {
                self.at += "<!--".len();
                self.skip("-->")?;
            } else if rest.starts_with("<![CDATA[") {
                self.skip("]]>")?;
            } else if rest.starts_with("<!") {
                // A document type may define entities; XMP has none.
                return Err(Malformed);
            } else if rest.starts_with("</") {
                self.close()?;
            } else {
                self.open()?;
            }
        }
        if self.open.is_empty() {
            Ok(self.nodes)
        } else {
            Err(Malformed)
        }
    }

    fn skip(&mut self, end: &str) -> Result<(), Malformed> {
        let found = self.text[self.at..].find(end).ok_or(Malformed)?;
        self.at += found + end.len();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        self.skip(">")?;
        let name = self.text[from + 2..self.at - 1].trim_end();
        let (index, bound) = self.open.pop().ok_or(Malformed)?;
        let node = &mut self.nodes[index];
        if self.text[node.open.start + 1..node.open.end]
            .strip_prefix(name)
            .is_none_or(|rest| rest.starts_with(is_name_char))
        {
            return Err(Malformed);
        }
        node.close = from..self.at;
        self.bound.truncate(bound);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        self.at += 1;
        let (prefix, local) = self.name()?;
        let bound = self.bound.len();
        let mut attributes = Vec::new();
        let closed = loop {
            let before = self.at;
            self.skip_white();
            let rest = &self.text[self.at..];
            if rest.starts_with("/>") {
                self.at += 2;
                break true;
            }
            if rest.starts_with('>') {
                self.at += 1;
                break false;
            }
            // Between attributes there is white space.
            if before == self.at {
                return Err(Malformed);
            }
            attributes.push(self.attribute(before)?);
            self.part()?;
        };
        for attribute in &mut attributes {
            attribute.ns = match attribute.prefix {
                // Without a prefix an attribute is in no namespace.
                "" if attribute.local != "xmlns" => "",
                "" | "xmlns" => XMLNS,
                prefix => self.bound(prefix)?,
            };
        }
        self.part()?;
        let node = Node {
            ns: self.bound(prefix)?,
            local,
            parent: self.open.last().map(|(index, _)| *index),
            open: from..self.at,
            close: self.at..self.at,
            attributes,
        };
        if closed {
            self.bound.truncate(bound);
        } else {
            self.open.push((self.nodes.len(), bound));
        }
        self.nodes.push(node);
        if self.open.len() > DEPTH_MAX || self.bound.len() > BOUND_MAX {
            return Err(Malformed);
        }
        Ok(())
    }

    /// Reads an attribute and remembers the namespace that it may declare.
    fn attribute(&mut self, from: usize) -> Result<Attribute<'a>, Malformed> {
        let (prefix, local) = self.name()?;
        self.skip_white();
        self.expect('=')?;
        self.skip_white();
        let quote = self.text[self.at..].chars().next().ok_or(Malformed)?;
        if !matches!(quote, '"' | '\'') {
            return Err(Malformed);
        }
        self.at += 1;
        let value = self.at;
        let length = self.text[value..].find(quote).ok_or(Malformed)?;
        self.at += length + 1;
        let value = value..value + length;
        // XML forbids it, and the value may become a text.
        if self.text[value.clone()].contains('<') {
            return Err(Malformed);
        }
        match (prefix, local) {
            ("xmlns", _) => self.bound.push((local, &self.text[value.clone()])),
            ("", "xmlns") => self.bound.push(("", &self.text[value.clone()])),
            _ => {}
        }
        Ok(Attribute {
            prefix,
            ns: "",
            local,
            span: from..self.at,
            value,
        })
    }

    /// Prefix and local name.
    fn name(&mut self) -> Result<(&'a str, &'a str), Malformed> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(Malformed);
        }
        self.at += length;
        Ok(rest[..length].split_once(':').unwrap_or(("", &rest[..length])))
    }

    /// The namespace of a prefix; none for names without one, unless that is declared.
    fn bound(&self, prefix: &str) -> Result<&'a str, Malformed> {
        let found = self.bound.iter().rev().find(|(bound, _)| *bound == prefix);
        match (found, prefix) {
            (Some((_, ns)), _) => Ok(ns),
            (None, "") => Ok(""),
            (None, "xml") => Ok("http://www.w3.org/XML/1998/namespace"),
            (None, _) => Err(Malformed),
        }
    }

    fn skip_white(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn expect(&mut self, what: char) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(what) {
            return Err(Malformed);
        }
        self.at += what.len_utf8();
        Ok(())
    }

    fn part(&mut self) -> Result<(), Malformed> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            Err(Malformed)
        } else {
            Ok(())
        }
    }
}

fn is_name_char(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-' | '.')
}
