//! Owns the words in which an ONNX file is refused. Each sentence starts with what is wrong, so that a caller can
//! say `cannot use {path}: {error}`. Never names the file itself: only the caller knows where it came from.

use crate::error::{Fault, ReasonCode, one_line};

/// Characters of a name out of a file that a message repeats: enough to find it, too few to flood a log.
const NAME_CHARS_MAX: usize = 60;

/// Names that one message lists before it says how many more there are.
const NAMES_MAX: usize = 4;

/// Why an ONNX file cannot be used or rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// More bytes than an ONNX file can have, counting what lies in other files.
    #[error("it is larger than the 2 GiB that an ONNX file can hold; use a smaller model")]
    TooLarge,
    /// Another kind of file. The text is a whole sentence part: `but a ZIP archive …`, or empty.
    #[error("it is not an ONNX file{0}")]
    NotOnnx(&'static str),
    /// The file ends early.
    #[error("it ends in the middle of its graph; copy or download it again")]
    Truncated,
    /// The bytes contradict the format.
    #[error("it is damaged ({0}); copy or download it again")]
    Damaged(String),
    /// A file of few bytes that would take a lot of memory, or that is nested without end.
    #[error("it is not a sensible model: {0}")]
    Absurd(&'static str),
    /// A model without anything to run.
    #[error("it has no graph; export the model again")]
    NoGraph,
    /// A model that does not say which operators it means.
    #[error("it does not say which version of the ONNX operators it uses; export the model again")]
    NoOperatorSet,
    /// Operators that ONNX Runtime does not bring along.
    #[error("it needs custom operators ({0}) that ONNX Runtime does not have; export it with standard ones")]
    CustomOperators(String),
    /// No input, or several.
    #[error("it takes {0} where one picture is due; only models with a single input can be used")]
    Inputs(String),
    /// Nothing comes out.
    #[error("it has no output; export the model again")]
    NoOutput,
    /// An input or output that is no picture. `what` is `input` or `output`.
    #[error("its {what} {name} is {is} where a tensor of four axes (batch, channels, height, width) is due")]
    NotPicture {
        /// `input` or `output`.
        what: &'static str,
        /// The value's name, quoted.
        name: String,
        /// What it is instead.
        is: String,
    },
    /// Elements other than float32 and float16.
    #[error("its {what} {name} is of {is}, where float32 or float16 is due")]
    Elements {
        /// `input` or `output`.
        what: &'static str,
        /// The value's name, quoted.
        name: String,
        /// The type that it has.
        is: String,
    },
    /// A tensor whose values do not fit its shape or type.
    #[error("its weights {name} are damaged ({why}); copy or download it again")]
    Weights {
        /// The tensor's name, quoted.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Weights in files that must not be read: outside the model's own directory, or no files at all.
    #[error("it keeps weights in {location}, {why}")]
    ExternalRefused {
        /// Where the model says that they are, quoted.
        location: String,
        /// Why that is not read, and what to do.
        why: &'static str,
    },
    /// Weights in a file that is missing, too short or unreadable.
    #[error("its weights {location} cannot be read: {why}; put the file beside the model")]
    ExternalUnreadable {
        /// Where the model says that they are, quoted.
        location: String,
        /// What happened.
        why: String,
    },
    /// Half-precision weights in other files cannot be rewritten from the model's bytes alone.
    #[error("its weights {0} are in another file; they have to be taken in before they are rewritten")]
    NotEmbedded(String),
    /// An operation on the bits of half-precision numbers has no counterpart in single precision.
    #[error(
        "its node {0} works on the bits of half-precision numbers; export the model with float32 weights"
    )]
    NotWidenable(String),
    /// A network of which no half-precision variant can be made. The text says why.
    #[error("it has no half-precision variant: {0}")]
    NotNarrowable(String),
    /// An input or output that cannot be made one that is fed here. The text says why.
    #[error("it cannot be fed: {0}")]
    NotAdaptable(String),
}

impl From<OnnxError> for Fault {
    /// The model's fault, not the picture's: the queue waits until somebody names another one.
    fn from(error: OnnxError) -> Self {
        Self::block(ReasonCode::Model, error.to_string())
    }
}

/// A name out of a file, fit for a message: on one line, short, in quotes.
pub(super) fn quoted(name: &str) -> String {
    let line = one_line(name);
    match line.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("\"{}…\"", &line[..end]),
        None => format!("\"{line}\""),
    }
}

/// A few names out of a file and the number of the others.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let total = names.len();
    let mut text = names.take(NAMES_MAX).map(quoted).collect::<Vec<_>>().join(", ");
    if total > NAMES_MAX {
        text.push_str(&format!(" and {} more", total - NAMES_MAX));
    }
    text
}
