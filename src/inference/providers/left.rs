//! Owns the question what a provider left to the processor: ONNX Runtime gives a session every operation that the
//! provider does not take without a word. Holds the `unsafe` for it: `ort` has no safe call. Never opens a session.

use std::ffi::{CStr, c_char};
use std::fmt::Write as _;
use std::ptr;

use ort::session::Session;
use ort::{AsPointer, sys};

/// The setting that makes a session keep who got what.
pub(in crate::inference) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// What ONNX Runtime calls the processor.
const PROCESSOR: &str = "CPUExecutionProvider";

/// Operations that work on shapes and not on pixels: providers leave them to the processor on purpose.
const ON_SHAPES: [&str; 16] = [
    "Shape",
    "Size",
    "Gather",
    "Unsqueeze",
    "Squeeze",
    "Concat",
    "Cast",
    "Slice",
    "Constant",
    "ConstantOfShape",
    "Range",
    "Mul",
    "Add",
    "Sub",
    "Div",
    "Floor",
];

/// What a session's providers came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::inference) struct Shares {
    /// Operations that others than the processor took.
    pub(in crate::inference) taken: usize,
    /// Operations that the one took that was asked for.
    pub(in crate::inference) own: usize,
    /// Types of the operations that it got, as often as they are there.
    pub(in crate::inference) left: Vec<String>,
}

impl Shares {
    /// What a person should know: how much of the work on pixels is done by the processor; `None` if nothing is.
    pub(in crate::inference) fn told(&self) -> Option<String> {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for kind in self
            .left
            .iter()
            .filter(|kind| !ON_SHAPES.contains(&kind.as_str()))
        {
            match counts.iter_mut().find(|(known, _)| known == kind) {
                Some((_, count)) => *count += 1,
                None => counts.push((kind, 1)),
            }
        }
        let left: usize = counts.iter().map(|(_, count)| count).sum();
        if left == 0 {
            return None;
        }
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let mut text = format!(
            "{left} of {} operations are left to the processor:",
            self.taken + self.left.len()
        );
        for (at, (kind, count)) in counts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing into a String cannot fail.
            let _ = write!(text, "{comma} {count} × {kind}");
        }
        Some(text)
    }
}

/// Who got what of the session's model; `None` where the library does not tell (before 1.24). `asked_for`: what ONNX
/// Runtime calls the provider; `None`: whoever is not the processor.
pub(in crate::inference) fn left_to_the_processor(
    session: &Session,
    asked_for: Option<&str>,
) -> Option<Shares> {
    let mut parts: *const *const sys::OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0usize;
    // SAFETY: the session is live; on success the call stores a list that belongs to the session and its length.
    unsafe {
        check((ort::api().Session_GetEpGraphAssignmentInfo)(
            session.ptr(),
            &raw mut parts,
            &raw mut count,
        ))?;
    }
    let mut shares = Shares::default();
    for at in 0..count {
        // SAFETY: `parts` holds `count` pointers, valid for as long as the session, which outlives this function.
        let part = unsafe { *parts.add(at) };
        // SAFETY: `part` is one of the session's; the call stores a text that belongs to it.
        let provider = unsafe { text_of(|out| (ort::api().EpAssignedSubgraph_GetEpName)(part, out)) }?;
        let mut nodes: *const *const sys::OrtEpAssignedNode = ptr::null();
        let mut node_count = 0usize;
        // SAFETY: as above; the list belongs to `part`.
        unsafe {
            check((ort::api().EpAssignedSubgraph_GetNodes)(
                part,
                &raw mut nodes,
                &raw mut node_count,
            ))?;
        }
        if provider != PROCESSOR {
            shares.taken += node_count;
            if asked_for.is_none_or(|asked_for| asked_for == provider) {
                shares.own += node_count;
            }
            continue;
        }
        for at in 0..node_count {
            // SAFETY: `nodes` holds `node_count` pointers that belong to `part`; the text belongs to the node.
            let kind = unsafe {
                let node = *nodes.add(at);
                text_of(|out| (ort::api().EpAssignedNode_GetOperatorType)(node, out))
            };
            shares.left.push(kind?);
        }
    }
    Some(shares)
}

/// The text that a call stores.
///
/// # Safety
/// On success `call` must store a text that ends with a zero byte and lives until this returns.
unsafe fn text_of(call: impl FnOnce(*mut *const c_char) -> sys::OrtStatusPtr) -> Option<String> {
    let mut text: *const c_char = ptr::null();
    // SAFETY: the status is what the call has just returned.
    unsafe { check(call(&raw mut text)) }?;
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller promises a text.
    unsafe { CStr::from_ptr(text) }.to_str().ok().map(str::to_owned)
}

/// Takes ownership of a status.
///
/// # Safety
/// It must have just been returned by a call of ONNX Runtime.
unsafe fn check(status: sys::OrtStatusPtr) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe { ort::Error::result_from_status(status) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(taken: usize, left: &[&str]) -> Shares {
        Shares {
            taken,
            own: taken,
            left: left.iter().map(|kind| (*kind).to_owned()).collect(),
        }
    }

    #[test]
    fn work_on_pixels_is_told_and_arithmetic_of_shapes_is_not() {
        assert_eq!(shares(74, &[]).told(), None);
        assert_eq!(shares(74, &["Shape", "Gather", "Concat"]).told(), None);
        assert_eq!(
            shares(70, &["Resize", "Shape", "Conv", "Resize"]).told().unwrap(),
            "3 of 74 operations are left to the processor: 2 × Resize, 1 × Conv"
        );
    }
}
