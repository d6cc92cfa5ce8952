//! Owns what a failure is called where a person waits for the result: the library's errors speak of a queue and of
//! the configuration's keys, here there are neither. Never changes what a failure means.

use super::super::out::shown;
use crate::codec::CodecError;
use crate::error::{Fault, ReasonCode, plain};
use crate::inference::InferenceError;
use crate::pipeline::PipelineError;
use crate::pipeline::target::TargetError;
use crate::publish::PublishError;

/// A picture that could not be read or written.
pub fn codec(error: CodecError) -> Fault {
    let message = codec_words(&error);
    said(error.into(), message)
}

/// A picture that could not be upscaled.
pub fn pipeline(error: PipelineError) -> Fault {
    let message = match &error {
        PipelineError::Codec(error) => codec_words(error),
        PipelineError::Target(TargetError::TooManyPixels {
            source_name,
            size,
            megapixels,
            limit,
        }) => Some(format!(
            "cannot upscale {source_name}: the result would have {size} = {megapixels} MP, {limit} MP are allowed; \
             use a model with a smaller scale"
        )),
        PipelineError::DeviceMemory { source_name, error } => Some(format!(
            "cannot upscale {source_name}: {error}; raise --device-memory{}",
            error.alternative().replace("tiling = \"auto\"", "--tiling auto")
        )),
        PipelineError::HostMemory {
            source_name,
            error,
            fits,
        } => {
            let or_format = fits.map_or_else(String::new, |format| {
                format!(
                    ", or use --format {}, which is written row by row",
                    format.as_str()
                )
            });
            Some(format!(
                "cannot upscale {source_name}: decoding and encoding it {error} on the host; raise --host-memory{or_format}"
            ))
        }
        PipelineError::Inference {
            error: InferenceError::DeviceLost(_),
            ..
        } => Some(format!("{error}; run it again, or use --ep cpu")),
        PipelineError::Target(_) | PipelineError::Inference { .. } | PipelineError::Cancelled => None,
    };
    said(error.into(), message)
}

/// A result that could not get its name.
pub fn publish(error: &PublishError) -> Fault {
    let next = match error {
        PublishError::Io { .. } => "free some space, get the permission or use another -o",
        PublishError::Unsure { .. } => "see to the disk; the result may be there",
        PublishError::RootMissing { .. } => "create it first",
        PublishError::InTheWay { .. } | PublishError::NoFreeName { .. } => "move it away or use another -o",
        PublishError::NameTooLong { .. } => "use -o with a shorter name",
        PublishError::Taken { .. } => "use --overwrite to replace it, or another -o",
        PublishError::Outside { .. } | PublishError::Trash { .. } => "use another -o",
    };
    Fault::quarantine(ReasonCode::Io, format!("{error}; {next}"))
}

fn codec_words(error: &CodecError) -> Option<String> {
    match error {
        CodecError::Read { path, error } => Some(format!(
            "cannot read {}: {}; check its name and its permissions",
            shown(path),
            plain(error)
        )),
        CodecError::Unreadable { path, detail } => Some(format!(
            "cannot read {} as an image: {detail}; open it in a viewer and save it anew",
            shown(path)
        )),
        CodecError::Truncated { path, detail } => Some(format!(
            "cannot read {} to its end: {detail}; copy the whole file again",
            shown(path)
        )),
        CodecError::Output(error) => Some(format!(
            "cannot write the result: {}; free some space or use another -o",
            plain(error)
        )),
        CodecError::Encode { .. }
        | CodecError::TooLarge { .. }
        | CodecError::Unsupported { .. }
        | CodecError::FeedStopped => None,
    }
}

fn said(mut fault: Fault, message: Option<String>) -> Fault {
    if let Some(message) = message {
        fault.reason = crate::error::Reason::new(fault.reason.code, message);
    }
    fault
}
