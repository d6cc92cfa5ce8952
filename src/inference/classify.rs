//! Owns the reading of ONNX Runtime's error texts: which of them mean that memory ran out, which that the
//! device is lost. Its error codes do not say (both are FAIL or RUNTIME_EXCEPTION, microsoft/onnxruntime#26648),
//! so the text must. Pure.
//!
//! The two mistakes do not cost the same. A false "out of memory" costs a smaller tile and a new session, and if the
//! device is lost after all, that session says so in plain words. A false "device lost" ends the service. So memory
//! is looked for first, a text that hides its cause counts as memory, and "device lost" is only what the makers of
//! the device call irrecoverable.

use super::InferenceError;

/// What says that an allocation failed, in small letters.
const OUT_OF_MEMORY: &[&str] = &[
    // The arenas, of the processor and of CUDA: bfc_arena.cc.
    "is smaller than requested bytes of",
    "failed to allocate memory",
    "failed to allocate requested buffer",
    // The processor's allocator, in the words of libstdc++ and of Microsoft's library; strerror(ENOMEM).
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
    // The CUDA runtime's name, the driver's name, and the text that both have.
    "cudaerrormemoryallocation",
    "cuda_error_out_of_memory",
    "out of memory",
    // cuBLAS, cuDNN 8, cuFFT, cuSOLVER; cuRAND; cuDNN 9, which knows what could not be allocated.
    "_alloc_failed",
    "curand_status_allocation_failed",
    "_internal_error_device_allocation_failed",
    "_internal_error_host_allocation_failed",
    // TensorRT: its error code 2, its allocator, its builder.
    "outofmemory",
    "requested amount of gpu memory",
    "user allocator error allocating",
    "insufficient memory",
    "due to insufficient workspace",
    // Vulkan, DXGI, and WebGPU on top of either.
    "vk_error_out_of_device_memory",
    "vk_error_out_of_host_memory",
    "vk_error_out_of_pool_memory",
    "e_outofmemory",
    "8007000e",
];

/// Errors that come from a lack of memory more often than from anything else and do not say so.
const HIDES_ITS_CAUSE: &[&str] = &[
    // The libraries load their kernels when they first need them, and report the driver's lack of memory as a launch
    // that failed (onnxruntime#10894, triton-inference-server#4766, pytorch#17774) or as an internal error.
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cudnn_backend_api_failed",
    // cuDNN's frontend, where its heuristics could not load a kernel (conv.cc, `CreateCudnnFeExecutionPlan`).
    "graph_execution_plan_creation_failed",
    "cuda_api_failed",
    // cublasCreate and cudnnCreate allocate. The driver was fit for them when the session was first opened, so it is not
    // the mismatch of versions that "not initialized" means elsewhere (onnxruntime#2386).
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    // "They can also be unavailable due to memory constraints on a device that already has active CUDA work."
    "cudaerrordevicesunavailable",
    "cuda_error_device_unavailable",
    "devices are busy or unavailable",
    // TensorRT tells its reasons to the log and gives nothing but these back (onnxruntime#21001).
    "tensorrt ep failed to build engine",
    "tensorrt ep failed to create engine",
    "tensorrt ep failed to create context",
    "tensorrt ep could not build execution context",
    "tensorrt ep execution context enqueue failed",
    // "An unknown internal error has occurred": a driver after a suspend, or out of anything.
    "cudaerrorunknown",
    "cuda_error_unknown",
];

/// The same by the number of the CUDA runtime: memory, devices unavailable, unknown.
const OUT_OF_MEMORY_CODES: &[u32] = &[2, 46, 999];

/// "Exiting due to terminate flag being set to true." (sequential_executor.cc): our own doing, by `RunOptions`.
const TERMINATED: &str = "terminate flag being set";

/// After one of these every further call fails. CUDA's manual says of 700 to 719 and of 810: "This leaves the process
/// in an inconsistent state and any further CUDA work will return the same error. To continue using CUDA, the process
/// must be terminated and relaunched." The hardware's errors and a context that is gone leave no less.
const DEVICE_LOST: &[&str] = &[
    // 700
    "cudaerrorillegaladdress",
    "cuda_error_illegal_address",
    "illegal memory access",
    // 702
    "cudaerrorlaunchtimeout",
    "cuda_error_launch_timeout",
    "the launch timed out and was terminated",
    // 710
    "cudaerrorassert",
    "cuda_error_assert",
    "device-side assert triggered",
    // 714
    "cudaerrorhardwarestackerror",
    "cuda_error_hardware_stack_error",
    "hardware stack error",
    // 715
    "cudaerrorillegalinstruction",
    "cuda_error_illegal_instruction",
    "an illegal instruction was encountered",
    // 716
    "cudaerrormisalignedaddress",
    "cuda_error_misaligned_address",
    "misaligned address",
    // 717
    "cudaerrorinvalidaddressspace",
    "cuda_error_invalid_address_space",
    "operation not supported on global/shared address space",
    // 718
    "cudaerrorinvalidpc",
    "cuda_error_invalid_pc",
    "invalid program counter",
    // 719: also what a driver says that was reset below us (roop-unleashed#32).
    "cudaerrorlaunchfailure",
    "cuda_error_launch_failed",
    "unspecified launch failure",
    // 214, 220, 226: the hardware.
    "cudaerroreccuncorrectable",
    "cuda_error_ecc_uncorrectable",
    "uncorrectable ecc error",
    "cudaerrornvlinkuncorrectable",
    "cuda_error_nvlink_uncorrectable",
    "uncorrectable nvlink error",
    "cudaerrorcontained",
    "cuda_error_contained",
    // 201, 709: the context went away below the session.
    "cudaerrordeviceuninitialized",
    "cuda_error_invalid_context",
    "invalid device context",
    "cudaerrorcontextisdestroyed",
    "cuda_error_context_is_destroyed",
    "context is destroyed",
    // 810
    "cudaerrormpsclientterminated",
    "cuda_error_mps_client_terminated",
    // NVML, when the device fell off its bus.
    "gpu is lost",
    // Vulkan: "the logical device is considered lost … not possible to reset it to a non-lost state".
    "vk_error_device_lost",
    // DXGI: removed, hung, reset, driver's internal error. By name and by number (onnxruntime#28495).
    "dxgi_error_device_removed",
    "dxgi_error_device_hung",
    "dxgi_error_device_reset",
    "dxgi_error_driver_internal_error",
    "887a0005",
    "887a0006",
    "887a0007",
    "887a0020",
];

/// The same by the number of the CUDA runtime. The driver's numbers are equal since CUDA 10.1.
const DEVICE_LOST_CODES: &[u32] = &[
    201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 810,
];

/// Where the telling part of a text begins. What stands before is the signature of a C++ function (cuda_call.cc,
/// bfc_arena.cc), longer than a line.
const HEADS: &[&str] = &[
    "CUDA failure ",
    "CUBLAS failure ",
    "CUDNN failure ",
    "CUDNN_FE failure ",
    "CUFFT failure ",
    "CURAND failure ",
    "Available memory of ",
    "Failed to allocate memory for requested buffer",
];

/// Turns the text of an error into the kind that decides what happens next. For errors of a session that had been
/// opened: why a provider cannot be used at all is another question (`providers::explain`).
pub fn classify(text: &str) -> InferenceError {
    let lower = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    let failed_with = |codes: &[u32]| cuda_failures(&lower).any(|code| codes.contains(&code));
    let line = first_line(text);
    if lower.contains(TERMINATED) {
        InferenceError::Terminated
    } else if says(OUT_OF_MEMORY) {
        InferenceError::OutOfMemory(line)
    } else if says(DEVICE_LOST) || failed_with(DEVICE_LOST_CODES) {
        InferenceError::DeviceLost(line)
    } else if says(HIDES_ITS_CAUSE) || failed_with(OUT_OF_MEMORY_CODES) {
        InferenceError::OutOfMemory(line)
    } else {
        InferenceError::Model(line)
    }
}

/// The numbers of every `CUDA failure 700: …` in a text in small letters (cuda_call.cc).
fn cuda_failures(lower: &str) -> impl Iterator<Item = u32> {
    lower.split("cuda failure ").skip(1).filter_map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

/// The line that tells, at most this many characters: ONNX Runtime puts signatures before it and appends stack
/// traces.
pub fn first_line(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    let told = HEADS.iter().filter_map(|head| text.rfind(head)).max();
    let line = told
        .map_or(text, |at| &text[at..])
        .lines()
        .find(|line| !line.trim().is_empty());
    line.unwrap_or("no message")
        .trim()
        .chars()
        .take(MOST_CHARS)
        .collect()
}

#[cfg(test)]
mod tests;
