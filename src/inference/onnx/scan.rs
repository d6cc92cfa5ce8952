//! Owns the look at a file's bytes before they are decoded: whether they are ONNX, whole, and of a size in memory
//! that their size on disk justifies. Never builds a message.
//!
//! Decoding multiplies: a node of two bytes takes some 200 in memory, and a list that holds one has room for four.
//! So the messages and list elements are counted here, by the same schema, and a file that would take far more
//! memory than it has bytes is refused before anything is allocated. A limit inside the decoder would be better
//! placed, but prost has one on depth only.

use std::mem::size_of;

use super::error::OnnxError;
use super::proto::*;

/// Most bytes of a file: protobuf's own limit, which ONNX Runtime keeps to.
pub const FILE_BYTES_MAX: u64 = i32::MAX as u64;

/// Most messages inside each other, the file's own not counted. The decoder and ONNX Runtime end at 100.
const DEPTH_MAX: usize = 99;

/// Memory that any file may take when decoded: enough for some 20 000 nodes, beyond what upscalers have.
const DECODED_BYTES_FREE: u64 = 128 << 20;

/// Memory that a file may take beyond that, per byte that it has. Half-precision weights that are written as a
/// list of integers, the most wasteful real form, take 8 while the list grows.
const DECODED_BYTES_PER_BYTE: u64 = 16;

/// What a list may have room for while it grows, per element that it gets: room for four when it gets its first,
/// and three times its length in the moment of doubling.
const ROOM_PER_ELEMENT: u64 = 4;

/// What a field of the schema holds, as far as memory is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Message(Kind),
    /// A list of texts or byte strings.
    Texts,
    /// A list of numbers of so many bytes in memory; packed, a varint each if `varint`.
    Numbers {
        bytes: usize,
        varint: bool,
    },
    /// A single number, text or byte string; or something that the schema does not know, which is skipped.
    Single,
}

const INT64S: Holds = Holds::Numbers {
    bytes: 8,
    varint: true,
};
const INT32S: Holds = Holds::Numbers {
    bytes: 4,
    varint: true,
};
const FLOATS: Holds = Holds::Numbers {
    bytes: 4,
    varint: false,
};
const DOUBLES: Holds = Holds::Numbers {
    bytes: 8,
    varint: false,
};

/// Declares the kinds of messages, their types, and those of their fields that hold more than a single value.
macro_rules! kinds {
    ($($kind:ident = $message:ident { $($number:literal => $holds:expr),* $(,)? })*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Kind { $($kind),* }

        impl Kind {
            fn size(self) -> usize {
                match self { $(Self::$kind => size_of::<$message>()),* }
            }

            fn field(self, number: u64) -> Holds {
                #[allow(unused_imports)]
                use Holds::{Message, Texts};
                match self {
                    $(Self::$kind => match number { $($number => $holds,)* _ => Holds::Single },)*
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$kind),*];

            #[cfg(test)]
            fn decodes(self, bytes: &[u8]) -> bool {
                use prost::Message as _;
                match self { $(Self::$kind => $message::decode(bytes).is_ok()),* }
            }

            #[cfg(test)]
            fn recoded(self, bytes: &[u8]) -> Option<Vec<u8>> {
                use prost::Message as _;
                match self { $(Self::$kind => $message::decode(bytes).ok().map(|m| m.encode_to_vec())),* }
            }
        }
    };
}

kinds! {
    Model = ModelProto {
        7 => Message(Kind::Graph), 8 => Message(Kind::OperatorSet), 14 => Message(Kind::Entry),
        20 => Message(Kind::Training), 25 => Message(Kind::Function), 26 => Message(Kind::Devices),
    }
    OperatorSet = OperatorSetIdProto {}
    Entry = StringStringEntryProto {}
    Training = TrainingInfoProto {
        1 => Message(Kind::Graph), 2 => Message(Kind::Graph),
        3 => Message(Kind::Entry), 4 => Message(Kind::Entry),
    }
    Function = FunctionProto {
        4 => Texts, 5 => Texts, 6 => Texts, 7 => Message(Kind::Node), 9 => Message(Kind::OperatorSet),
        11 => Message(Kind::Attribute), 12 => Message(Kind::Value), 14 => Message(Kind::Entry),
    }
    Graph = GraphProto {
        1 => Message(Kind::Node), 5 => Message(Kind::Tensor), 11 => Message(Kind::Value),
        12 => Message(Kind::Value), 13 => Message(Kind::Value), 14 => Message(Kind::Annotation),
        15 => Message(Kind::Sparse), 16 => Message(Kind::Entry),
    }
    Node = NodeProto {
        1 => Texts, 2 => Texts, 5 => Message(Kind::Attribute), 9 => Message(Kind::Entry),
        10 => Message(Kind::NodeDevices),
    }
    Attribute = AttributeProto {
        5 => Message(Kind::Tensor), 6 => Message(Kind::Graph), 7 => FLOATS, 8 => INT64S, 9 => Texts,
        10 => Message(Kind::Tensor), 11 => Message(Kind::Graph), 14 => Message(Kind::Type),
        15 => Message(Kind::Type), 22 => Message(Kind::Sparse), 23 => Message(Kind::Sparse),
    }
    Tensor = TensorProto {
        1 => INT64S, 3 => Message(Kind::Segment), 4 => FLOATS, 5 => INT32S, 6 => Texts, 7 => INT64S,
        10 => DOUBLES, 11 => INT64S, 13 => Message(Kind::Entry), 16 => Message(Kind::Entry),
    }
    Segment = TensorSegment {}
    Sparse = SparseTensorProto { 1 => Message(Kind::Tensor), 2 => Message(Kind::Tensor), 3 => INT64S }
    Annotation = TensorAnnotation { 2 => Message(Kind::Entry) }
    Value = ValueInfoProto { 2 => Message(Kind::Type), 4 => Message(Kind::Entry) }
    Type = TypeProto {
        1 => Message(Kind::TypeTensor), 4 => Message(Kind::TypeSequence), 5 => Message(Kind::TypeMap),
        7 => Message(Kind::TypeOpaque), 8 => Message(Kind::TypeSparse), 9 => Message(Kind::TypeOptional),
    }
    TypeTensor = TensorType { 2 => Message(Kind::Shape) }
    TypeSequence = SequenceType { 1 => Message(Kind::Type) }
    TypeMap = MapType { 2 => Message(Kind::Type) }
    TypeOptional = OptionalType { 1 => Message(Kind::Type) }
    TypeSparse = SparseTensorType { 2 => Message(Kind::Shape) }
    TypeOpaque = OpaqueType {}
    Shape = TensorShapeProto { 1 => Message(Kind::Axis) }
    Axis = Dimension {}
    Devices = DeviceConfigurationProto { 3 => Texts }
    NodeDevices = NodeDeviceConfigurationProto { 2 => Message(Kind::Sharding) }
    Sharding = ShardingSpecProto {
        2 => INT64S, 3 => Message(Kind::DeviceGroups), 4 => Message(Kind::ShardedAxis),
    }
    DeviceGroups = IntIntListEntryProto { 2 => INT64S }
    ShardedAxis = ShardedDimProto { 2 => Message(Kind::ShardedPart) }
    ShardedPart = SimpleShardedDimProto {}
}

/// Beginnings of files that are mistaken for models, and what to say of them.
const OTHERS: &[(usize, &[u8], &str)] = &[
    (
        0,
        b"PK\x03\x04",
        " but a ZIP archive (PyTorch checkpoints are such); export the model to ONNX",
    ),
    (
        0,
        b"\x80\x02",
        " but a Python pickle (a PyTorch checkpoint?); export the model to ONNX",
    ),
    (0, b"\x1f\x8b", " but a gzip archive; unpack it"),
    (0, b"7767517", " but an ncnn model; convert it to ONNX"),
    (
        0,
        b"version https://git-lfs",
        " but a Git LFS pointer to one; download the file itself",
    ),
    (0, b"<!DOCTYPE", " but a web page; the download went wrong"),
    (0, b"<html", " but a web page; the download went wrong"),
    (0, b"GGUF", " but a GGUF model; export it to ONNX"),
    (8, b"{\"", " but a safetensors file; export the model to ONNX"),
    (4, b"TFL3", " but a TensorFlow Lite model; convert it to ONNX"),
    (
        4,
        b"ORTM",
        " but a model in ONNX Runtime's own format; use the .onnx file that it was made from",
    ),
];

/// Looks at the bytes of a file: `Ok` says that they are ONNX as far as one can tell without decoding, complete,
/// and that decoding them takes a bounded amount of memory, which is returned (bytes, an upper bound).
///
/// # Errors
/// [`OnnxError::TooLarge`], [`OnnxError::NotOnnx`], [`OnnxError::Truncated`], [`OnnxError::Damaged`] and
/// [`OnnxError::Absurd`].
pub(super) fn scan(bytes: &[u8]) -> Result<u64, OnnxError> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(OnnxError::TooLarge);
    }
    if bytes.is_empty() {
        return Err(OnnxError::NotOnnx(" but empty; copy or download it again"));
    }
    if let Some((.., what)) = OTHERS
        .iter()
        .find(|(at, start, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(start)))
    {
        return Err(OnnxError::NotOnnx(what));
    }
    let limit = DECODED_BYTES_FREE + DECODED_BYTES_PER_BYTE * bytes.len() as u64;
    let mut reader = Reader { bytes, at: 0 };
    // Whether a field of a model has been seen: from then on, what is wrong is damage and not another format.
    let mut recognised = false;
    let mut open = vec![(Kind::Model, bytes.len())];
    let mut cost = size_of::<ModelProto>() as u64;
    while let Some(&(kind, end)) = open.last() {
        if reader.at == end {
            open.pop();
            continue;
        }
        let outermost = open.len() == 1;
        let field = reader.field(end).map_err(|broken| match broken {
            _ if !recognised => OnnxError::NotOnnx(""),
            Broken::Ends if outermost => OnnxError::Truncated,
            Broken::Ends => OnnxError::Damaged("a part is longer than the whole".to_owned()),
            Broken::Malformed => OnnxError::Damaged("a field of no known kind".to_owned()),
        })?;
        if outermost && !recognised {
            if !opens_model(field.number, field.wire) {
                return Err(OnnxError::NotOnnx(""));
            }
            recognised = true;
        }
        cost += field.cost(kind, bytes);
        if cost > limit {
            return Err(OnnxError::Absurd(
                "it would take far more memory than it has bytes",
            ));
        }
        if let (Holds::Message(inner), Wire::Bytes) = (kind.field(field.number), field.wire) {
            if open.len() > DEPTH_MAX {
                return Err(OnnxError::Absurd("its parts are nested more than 99 deep"));
            }
            reader.at = field.start;
            open.push((inner, field.end));
        }
    }
    Ok(cost)
}

/// Whether the field can be the first one of a model.
fn opens_model(number: u64, wire: Wire) -> bool {
    match number {
        1 | 5 => wire == Wire::Varint,
        2 | 3 | 4 | 6 | 7 | 8 | 14 | 20 | 25 | 26 => wire == Wire::Bytes,
        _ => false,
    }
}

/// How a field is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed,
    Bytes,
}

/// A field, and where its content lies (for [`Wire::Bytes`]).
struct Field {
    number: u64,
    wire: Wire,
    start: usize,
    end: usize,
}

impl Field {
    /// Upper bound of the memory that it takes beyond the message that it is in.
    fn cost(&self, kind: Kind, bytes: &[u8]) -> u64 {
        let content = &bytes[self.start..self.end];
        let room = |elements: usize, bytes: usize| ROOM_PER_ELEMENT * (elements * bytes) as u64;
        match (kind.field(self.number), self.wire) {
            (Holds::Message(inner), _) => room(1, inner.size()),
            (Holds::Texts, _) => room(1, size_of::<String>()) + content.len() as u64,
            (Holds::Numbers { bytes, .. }, Wire::Varint | Wire::Fixed) => room(1, bytes),
            (Holds::Numbers { bytes, varint: true }, Wire::Bytes) => {
                room(content.iter().filter(|byte| **byte < 0x80).count(), bytes)
            }
            (Holds::Numbers { bytes, varint: false }, Wire::Bytes) => {
                room(content.len().div_ceil(bytes), bytes)
            }
            (Holds::Single, _) => content.len() as u64,
        }
    }
}

/// Why a field could not be read.
enum Broken {
    /// It goes on after the end of what it is in.
    Ends,
    /// It is none.
    Malformed,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Reads one field and goes to its end, which is not after `end`.
    fn field(&mut self, end: usize) -> Result<Field, Broken> {
        let key = self.varint(end)?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(Broken::Malformed);
        }
        let start = self.at;
        let (wire, start, length) = match key & 7 {
            0 => {
                self.varint(end)?;
                return Ok(Field {
                    number,
                    wire: Wire::Varint,
                    start,
                    end: start,
                });
            }
            1 => (Wire::Fixed, start, 8),
            5 => (Wire::Fixed, start, 4),
            2 => {
                let length = self.varint(end)?;
                (
                    Wire::Bytes,
                    self.at,
                    usize::try_from(length).map_err(|_| Broken::Ends)?,
                )
            }
            // Groups: ONNX has none, and never had.
            _ => return Err(Broken::Malformed),
        };
        if length > end - start {
            return Err(Broken::Ends);
        }
        self.at = start + length;
        Ok(Field {
            number,
            wire,
            start,
            end: self.at,
        })
    }

    fn varint(&mut self, end: usize) -> Result<u64, Broken> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            if self.at == end {
                return Err(Broken::Ends);
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key of a length-delimited field, then the content.
    fn field(number: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let key = number << 3 | 2;
        if key < 0x80 {
            bytes.push(key as u8);
        } else {
            bytes.extend([key as u8 | 0x80, (key >> 7) as u8]);
        }
        bytes.push(content.len() as u8);
        bytes.extend(content);
        bytes
    }

    /// Eight zeros are a text, two or one packed numbers or eight, but no message (field number 0).
    const ZEROS: [u8; 8] = [0; 8];

    #[test]
    fn the_scan_and_the_decoder_know_the_same_messages() {
        let is_message =
            |kind: Kind, n: u64| kind.decodes(&field(n, &[])) && !kind.decodes(&field(n, &ZEROS));
        for &kind in Kind::ALL {
            for number in 1..40 {
                let Holds::Message(inner) = kind.field(number) else {
                    assert!(!is_message(kind, number), "{kind:?} {number} is a message");
                    continue;
                };
                assert!(is_message(kind, number), "{kind:?} {number} is no message");
                // The child's kind is right if its own fields behave as declared.
                for n in 1..40 {
                    let nested = field(number, &field(n, &ZEROS));
                    let declared = inner.decodes(&field(n, &ZEROS));
                    assert_eq!(
                        kind.decodes(&nested),
                        declared,
                        "{kind:?} {number} is no {inner:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_scan_and_the_decoder_know_the_same_lists() {
        for &kind in Kind::ALL {
            for number in 1..40 {
                // A list keeps both of two values, a single field the last one.
                let twice = [field(number, &ZEROS), field(number, &ZEROS)].concat();
                let is_list = kind.recoded(&twice).is_some_and(|bytes| bytes.len() > 11);
                let declared = matches!(kind.field(number), Holds::Texts | Holds::Numbers { .. });
                assert_eq!(is_list, declared, "{kind:?} {number}");
            }
        }
    }

    #[test]
    fn two_byte_nodes_without_number_are_refused_before_they_are_built() {
        let graph = [0x0a, 0].repeat(1 << 20);
        let mut bytes = vec![0x08, 8, 0x3a];
        prost::encode_length_delimiter(graph.len(), &mut bytes).expect("room");
        bytes.extend(graph);
        assert!(matches!(scan(&bytes), Err(OnnxError::Absurd(_))));
    }

    #[test]
    fn nesting_ends_where_the_decoder_ends() {
        // graph { node { attribute { graph { … } } } }: three messages a level.
        let nested = |levels: usize| {
            let mut inner = Vec::new();
            for number in [6, 5, 1].into_iter().cycle().take(levels) {
                let mut outer = vec![(number << 3 | 2) as u8];
                prost::encode_length_delimiter(inner.len(), &mut outer).expect("room");
                outer.extend(&inner);
                inner = outer;
            }
            let mut bytes = vec![0x08, 8, 0x3a];
            prost::encode_length_delimiter(inner.len(), &mut bytes).expect("room");
            bytes.extend(inner);
            bytes
        };
        for levels in (0..=96).step_by(3) {
            assert!(scan(&nested(levels)).is_ok(), "{levels}");
            assert!(Kind::Model.decodes(&nested(levels)), "{levels}");
        }
        assert!(matches!(scan(&nested(99)), Err(OnnxError::Absurd(_))));
        assert!(matches!(scan(&nested(30_000)), Err(OnnxError::Absurd(_))));
    }
}
