//! Messages as people got them: a number is an issue of microsoft/onnxruntime unless its repository is named. Those
//! without a source are put together from cuda_call.cc's format (`%s failure %d: %s ; GPU=%d ; …`) and the names and
//! texts of the manuals.

use super::*;

/// cuda_call.cc at its longest: before the telling part stands the signature, twice.
const SIGNATURE: &str = "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:121 \
    std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, \
    ERRTYPE, const char*, const char*, int) [with ERRTYPE = cublasStatus_t; bool THRW = true; std::conditional_t<THRW, \
    void, onnxruntime::common::Status> = void] ";

fn kind(text: &str) -> &'static str {
    match classify(text) {
        InferenceError::OutOfMemory(_) => "memory",
        InferenceError::DeviceLost(_) => "lost",
        InferenceError::Model(_) => "model",
        _ => "another",
    }
}

#[test]
fn a_failed_allocation_is_recognised_whoever_reports_it() {
    for text in [
        // The arena of the processor under a cap: #23121; of CUDA under gpu_mem_limit: infiniflow/ragflow#10295.
        "Non-zero status code returned while running TfIdfVectorizer node. Name:'TfIdfVectorizer' Status Message: \
         /Users/runner/work/1/s/onnxruntime/core/framework/bfc_arena.cc:376 void *onnxruntime::BFCArena::AllocateRawInternal(\
         size_t, bool, onnxruntime::Stream *, bool, onnxruntime::WaitNotificationFn) Available memory of 0 is smaller than \
         requested bytes of 2048",
        // The arena of CUDA when cudaMalloc fails: #9939, #20038.
        "Non-zero status code returned while running FusedMatMul node. Name:'MatMul_92_FusedMatMulAndScale' Status \
         Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:331 void* onnxruntime::BFCArena::\
         AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 8388608000",
        // Outside the arena: hacksider/Deep-Live-Cam#584.
        "D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:121 onnxruntime::CudaCall D:\\a\\_work\\1\\s\\\
         onnxruntime\\core\\providers\\cuda\\cuda_call.cc:114 onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; \
         hostname=DESKTOP-QUBEI ; file=D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_stream_handle.cc ; line=175 ; \
         expr=cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);",
        "CUDA error cudaErrorMemoryAllocation:out of memory",
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        // cuBLAS: fudan-generative-vision/hallo#218; when it is created: #2386, alisen39/TrWebOCR#105.
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=egg ; file=/onnxruntime_src/onnxruntime/core/\
         providers/cuda/cuda_execution_provider.cc ; line=164 ; expr=cublasCreate(&cublas_handle_);",
        "CUBLAS failure 1: CUBLAS_STATUS_NOT_INITIALIZED ; GPU=0 ; hostname=atlas-FIAI ; expr=cublasCreate(&cublas_handle_);",
        // cuDNN: 8, and 9 as its manual names them.
        "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=nas ; expr=cudnnCreate(&cudnn_handle_);",
        "CUDNN failure 1: CUDNN_STATUS_NOT_INITIALIZED ; GPU=0 ; hostname=nas ; expr=cudnnCreate(&cudnn_handle_);",
        "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
        // triton-inference-server/server#4766, pytorch/pytorch#17774
        "CUDNN failure 8: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0 ; hostname=nas ; expr=cudnnConvolutionForward(\
         s_.handle, &alpha, s_.x_tensor, s_.x_data, s_.w_desc, s_.w_data, s_.conv_desc, s_.algo, workspace.get(), \
         s_.workspace_bytes, &beta, s_.y_tensor, s_.y_data)",
        // pytorch/pytorch#190727
        "CUDNN failure 5001: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER ; GPU=0",
        "CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0 ; hostname=nas ; expr=s_.cudnn_fe_graph->execute(",
        // cudnn-frontend's names for a plan that cannot be made, and for the driver's refusal in it.
        "CUDNN_FE failure 8: GRAPH_EXECUTION_PLAN_CREATION_FAILED ; GPU=0 ; hostname=nas ; expr=graph.build_plans(",
        "CUDNN_FE failure 16: CUDA_API_FAILED ; GPU=0 ; hostname=nas ; expr=s_.cudnn_fe_graph->execute(",
        "CUFFT failure 2: CUFFT_ALLOC_FAILED ; GPU=0 ; hostname=nas",
        // #6670, on Windows #4325 and #16305.
        "Exception during initialization: std::bad_alloc",
        "Non-zero status code returned while running FusedMatMul node. Name:'MatMul_With_Transpose_token_14' Status \
         Message: bad allocation",
        "mmap of a file failed: Cannot allocate memory",
        // TensorRT: NVIDIA/TensorRT#3017, #3882, #4258; #10770, #21001.
        "[E] [TRT] 1: [defaultAllocator.cpp::nvinfer1::internal::DefaultAllocator::allocate::19] Error Code 1: Cuda \
         Runtime (out of memory)",
        "[W] [TRT] Requested amount of GPU memory (17920000000 bytes) could not be allocated. There may not be enough free \
         memory for allocation to succeed.",
        "[E] 2: [virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further information)",
        "Error Code: 9: Skipping tactic 0x0000000000000000 due to exception [tunable_graph.cpp:create:117] autotuning: User \
         allocator error allocating 15485030400-byte buffer",
        "../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)",
        "4: [optimizer.cpp::computeCosts::3726] Error Code 4: Internal Error (Could not find any implementation for node \
         {ForeignNode[onnx::Cast_507[Constant]...Concat_372]} due to insufficient workspace. See verbose log for requested \
         sizes.)",
        // What remains of the above in what ONNX Runtime returns: #21001, #26170.
        "Non-zero status code returned while running TRTKernel_graph_torch_jit_16074816800397161377_0 node. \
         Name:'TensorrtExecutionProvider_TRTKernel_graph_torch_jit_16074816800397161377_0_0' Status Message: TensorRT EP \
         failed to create engine from network.",
        "Non-zero status code returned while running TRTKernel_graph_main_graph_16413480427632734314_0 node. Status \
         Message: TensorRT EP execution context enqueue failed.",
        // A device that others use up, and an error that tells nothing: #14211.
        "CUDA failure 46: all CUDA-capable devices are busy or unavailable ; GPU=0 ; expr=cudaSetDevice(info_.device_id);",
        "CUDA failure 999: unknown error ; GPU=0 ; hostname=dltpsz ; expr=cudaSetDevice(info_.device_id);",
        "vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY",
        "CreateCommittedResource failed with E_OUTOFMEMORY (0x8007000E)",
    ] {
        assert_eq!(kind(text), "memory", "{text}");
    }
}

#[test]
fn what_no_call_recovers_from_loses_the_device() {
    for text in [
        // #5295, pykeio/ort#321
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=10cb601a4a05 ; file=/home/runner/\
         work/ort-artifacts-staging/ort-artifacts-staging/onnxruntime/onnxruntime/core/providers/cuda/gpu_data_transfer.cc ; \
         line=63 ; expr=cudaMemcpyAsync(dst_data, src_data, bytes, cudaMemcpyHostToDevice, \
         static_cast<cudaStream_t>(stream.GetHandle()));",
        // #2963: before CUDA 10.1 the number was another.
        "CUDA failure 77: an illegal memory access was encountered ; GPU=0 ; hostname=C246-WU4 ; \
         expr=cudaEventDestroy(read_event_);",
        "CUDA error cudaErrorIllegalAddress:an illegal memory access was encountered",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        // C0untFloyd/roop-unleashed#32
        "CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=BALYN-OMAVEL ; file=D:\\a\\_work\\1\\s\\onnxruntime\\\
         core\\providers\\cuda\\gpu_data_transfer.cc ; line=73 ; expr=cudaMemcpyAsync(dst_data, src_data, bytes, \
         cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream.GetHandle()));",
        "CUDA failure 214: uncorrectable ECC error encountered ; GPU=0",
        "CUDA failure 710: device-side assert triggered ; GPU=0",
        "CUDA failure 702: the launch timed out and was terminated ; GPU=0",
        // By the number alone: a driver of another language or version words it differently.
        "CUDA failure 716: ; GPU=1",
        "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access was encountered)",
        "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU",
        "vkQueueSubmit failed with VK_ERROR_DEVICE_LOST",
        // #28495
        "DmlGraphFusionHelper.cpp(1078) ... 887A0006 The GPU will not respond to more commands, most likely because of an \
         invalid command passed by the calling application.",
        // Where a library's error hides what the runtime says as well, the runtime is believed: the two of #14710 in one.
        "CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR ; CUDA failure 700: an illegal memory access was encountered ; GPU=1",
    ] {
        assert_eq!(kind(text), "lost", "{text}");
    }
}

#[test]
fn everything_else_is_the_models() {
    for text in [
        "",
        "Got invalid dimensions for input: input for the following indices\n index: 1 Got: 4 Expected: 3",
        "Load model from model.onnx failed:Protobuf parsing failed.",
        "Could not find an implementation for Conv(11) node with name 'Conv_0'",
        "Non-zero status code returned while running Reshape node. Name:'Reshape_12' Status Message: \
         onnxruntime/core/providers/cpu/tensor/reshape_helper.h:45 input_shape_size == size was false. The input tensor \
         cannot be reshaped to the requested shape. Input shape:{1,48,64,64}, requested shape:{1,3,4,4,64,64}",
        // #14710; a request that was wrong leaves the device well, and so does a device that lacks the kernel.
        "CUDA failure 1: invalid argument ; GPU=1 ; hostname=3eee3adbcb74 ; expr=cudaMemcpyAsync(\
         output.MutableDataRaw(), input.DataRaw(), input.Shape().Size() * input.DataType()->Size(), \
         cudaMemcpyDeviceToDevice, stream);",
        "CUDA failure 209: no kernel image is available for execution on the device ; GPU=0",
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0",
        "CUDNN failure 9: CUDNN_STATUS_NOT_SUPPORTED ; GPU=0",
        "it returned the shape [1, 3, 10, 10] where [1, 3, 20, 20] was due",
        // Numbers count as CUDA's only where CUDA says them.
        "CUFFT failure 700: ; GPU=0",
        "CUDA failure 7000: ; GPU=0",
    ] {
        assert_eq!(kind(text), "model", "{text}");
    }
}

#[test]
fn memory_wins_over_a_lost_device_because_the_next_call_settles_it() {
    let both = "Failed to allocate memory for requested buffer of size 512; CUDA failure 700: an illegal memory access";
    assert_eq!(kind(both), "memory");
}

#[test]
fn the_line_for_a_person_is_what_tells_and_not_the_signature_before_it_or_the_trace_after_it() {
    let text = format!(
        "Exception during initialization: {SIGNATURE}{SIGNATURE}CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 \nStacktrace:\n/lib/libc.so"
    );
    assert_eq!(
        classify(&text),
        InferenceError::OutOfMemory("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0".to_owned())
    );
    assert_eq!(
        first_line("\n \nGot invalid dimensions\nmore"),
        "Got invalid dimensions"
    );
    assert_eq!(first_line(""), "no message");
    assert_eq!(first_line(&"é".repeat(400)).chars().count(), 300);
}
