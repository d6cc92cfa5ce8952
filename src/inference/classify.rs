//! Owns the reading of ONNX Runtime's error texts: which of them mean that memory ran out, which that the
//! device is lost. Its error codes do not say (both are FAIL), so the text must. Pure.

use super::InferenceError;

/// What the providers and their libraries write when an allocation fails (reference: messages of
/// `bfc_arena.cc`, the CUDA runtime, cuBLAS, cuDNN, TensorRT and the C++ standard library).
const OUT_OF_MEMORY: &[&str] = &[
    "is smaller than requested bytes of",
    "failed to allocate memory",
    "failed to allocate requested buffer",
    "cudaerrormemoryallocation",
    "cuda error 2:",
    "cuda failure 2:",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "outofmemory",
    "out of memory",
    "insufficient memory",
    "bad_alloc",
];

/// Sticky CUDA errors: after one of them every further call fails until the process starts anew.
const DEVICE_LOST: &[&str] = &[
    "cudaerrorillegaladdress",
    "illegal memory access",
    "cudaerrorlaunchfailure",
    "unspecified launch failure",
    "cudaerrordevicesunavailable",
    "cudaerrordeviceuninitialized",
    "cudaerrorecc",
    "uncorrectable ecc error",
    "device lost",
    "gpu is lost",
];

/// Turns ONNX Runtime's text into the kind of error that decides what happens next.
pub fn classify(text: &str) -> InferenceError {
    let lower = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    let line = first_line(text);
    if says(DEVICE_LOST) {
        InferenceError::DeviceLost(line)
    } else if says(OUT_OF_MEMORY) {
        InferenceError::OutOfMemory(line)
    } else {
        InferenceError::Model(line)
    }
}

/// The first line, at most this many characters: ONNX Runtime appends stack traces and node dumps.
pub fn first_line(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    text.lines()
        .next()
        .unwrap_or("no message")
        .chars()
        .take(MOST_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_messages_are_told_apart() {
        let out_of_memory = [
            "Non-zero status code returned while running Conv node. Name:'/conv_1/Conv' Status Message: \
             /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(\
             size_t, bool, onnxruntime::Stream*) Available memory of 39845632 is smaller than requested bytes of 67108864",
            "Failed to allocate memory for requested buffer of size 4294967296",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=nas ; file=cuda_allocator.cc",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "TensorRT EP failed to create engine: [defaultAllocator.cpp] Requested amount of GPU memory: OutOfMemory",
            "std::bad_alloc",
        ];
        for text in out_of_memory {
            assert!(matches!(classify(text), InferenceError::OutOfMemory(_)), "{text}");
        }
        for text in [
            "CUDA failure 700: an illegal memory access was encountered",
            "CUDA failure 719: unspecified launch failure",
        ] {
            assert!(matches!(classify(text), InferenceError::DeviceLost(_)), "{text}");
        }
        for text in [
            "Got invalid dimensions for input: input",
            "Protobuf parsing failed.",
        ] {
            assert!(matches!(classify(text), InferenceError::Model(_)), "{text}");
        }
    }
}
