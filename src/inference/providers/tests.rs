use super::keys::{Kind, Options};
use super::options::{cuda, migraphx, openvino, tensorrt, webgpu};
use super::*;

const TRT_NVINFER: &str = "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1844 onnxruntime::Provider& \
    onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library \
    /usr/lib/upscaled/runtime/libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: cannot open shared object \
    file: No such file or directory";

const NO_GPU: &str = "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=nas ; \
    file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=281 ; expr=cudaSetDevice(0);";

#[test]
fn every_reason_names_its_remedy() {
    use Provider::{Cpu, Cuda, Migraphx, Openvino, Plugin, Tensorrt, Webgpu};
    let cases = [
        (
            Cuda,
            "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared \
             object file: No such file or directory",
            "a CUDA library is missing (libcublasLt.so.13); fetch it with fetch-runtime --cuda",
        ),
        (
            Cuda,
            "Failed to load library libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open shared object \
             file: No such file or directory",
            "there is no NVIDIA driver or device; install the driver and check with nvidia-smi",
        ),
        (
            Cuda,
            NO_GPU,
            "there is no NVIDIA driver or device; install the driver and check with nvidia-smi",
        ),
        (
            Cuda,
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0 ; hostname=nas",
            "the NVIDIA driver is too old for CUDA 13; update it to version 580 or newer",
        ),
        (
            Cuda,
            "CUDA failure 101: invalid device ordinal ; GPU=3 ; hostname=nas",
            "there is no NVIDIA device of this number; correct [runtime] device_id, nvidia-smi lists them",
        ),
        (
            Cuda,
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=nas ; file=cuda_allocator.cc",
            "there is no room for the model on the device now; end what else uses it, or lower [memory] device",
        ),
        (
            Cuda,
            "CUDA execution provider is not enabled in this build.",
            "this ONNX Runtime is built without cuda; fetch one with it by fetch-runtime --cuda",
        ),
        (
            Tensorrt,
            TRT_NVINFER,
            "TensorRT 10 (libnvinfer.so.10) is missing; fetch it with fetch-runtime --tensorrt, or take tensorrt out of providers",
        ),
        (
            Tensorrt,
            "TensorRT execution provider is not enabled in this build.",
            "this ONNX Runtime is built without tensorrt; fetch one with it by fetch-runtime --tensorrt",
        ),
        (
            Tensorrt,
            NO_GPU,
            "there is no NVIDIA driver or device; install the driver and check with nvidia-smi",
        ),
        (
            Webgpu,
            "WebGPU execution provider is not supported in this build. ",
            "this ONNX Runtime is built without webgpu; fetch one with it by fetch-runtime --webgpu",
        ),
        (
            Webgpu,
            "Failed to get a WebGPU adapter: No supported adapters.",
            "there is no graphics card with a Vulkan driver; install the card's driver and libvulkan1, and check with \
             vulkaninfo",
        ),
        (
            Migraphx,
            "MIGraphX execution provider is not enabled in this build. ",
            "this ONNX Runtime is built without migraphx; fetch AMD's build of ONNX Runtime",
        ),
        (
            Openvino,
            "its plug-in (x.so) does not lie beside ONNX Runtime; fetch it",
            "its plug-in (x.so) does not lie beside ONNX Runtime; fetch it",
        ),
        (
            Plugin,
            "there is no library /opt/x.so; correct library in [plugin]",
            "there is no library /opt/x.so; correct library in [plugin]",
        ),
        (
            Openvino,
            "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/plugins/intel_cpu/src/config.cpp:505:\n\
             NotFound: Unsupported property X by CPU plugin.\n\n",
            "NotFound: Unsupported property X by CPU plugin.",
        ),
        (Cpu, "\n  it broke\nat line 3", "it broke"),
    ];
    for (provider, text, reason) in cases {
        assert_eq!(explain(provider, text).reason, reason, "{provider:?}: {text}");
    }
}

/// Which of the providers work, what is opened, and what is said of the others.
#[test]
fn the_first_that_works_is_taken_and_every_one_before_it_is_told() {
    use Provider::{Cpu, Cuda, Openvino, Tensorrt};
    struct Case {
        list: &'static [Provider],
        start: usize,
        works: &'static [Provider],
        opened: Option<(usize, Provider)>,
        told: &'static [Provider],
    }
    const DEFAULT: &[Provider] = &[Tensorrt, Cuda, Cpu];
    let cases = [
        // All there: the first, and nothing to tell.
        Case {
            list: DEFAULT,
            start: 0,
            works: DEFAULT,
            opened: Some((0, Tensorrt)),
            told: &[],
        },
        // One is missing, two are.
        Case {
            list: DEFAULT,
            start: 0,
            works: &[Cuda, Cpu],
            opened: Some((1, Cuda)),
            told: &[Tensorrt],
        },
        Case {
            list: DEFAULT,
            start: 0,
            works: &[Cpu],
            opened: Some((2, Cpu)),
            told: &[Tensorrt, Cuda],
        },
        // The order of the list counts, not that of the descriptions.
        Case {
            list: &[Cpu, Cuda],
            start: 0,
            works: &[Cuda, Cpu],
            opened: Some((0, Cpu)),
            told: &[],
        },
        Case {
            list: &[Openvino, Cpu],
            start: 0,
            works: &[Cpu],
            opened: Some((1, Cpu)),
            told: &[Openvino],
        },
        // Only this one, or fail: the processor is no way out that nobody named.
        Case {
            list: &[Cuda],
            start: 0,
            works: &[Cpu],
            opened: None,
            told: &[Cuda],
        },
        Case {
            list: &[Tensorrt, Cuda],
            start: 0,
            works: &[Cpu],
            opened: None,
            told: &[Tensorrt, Cuda],
        },
        // Below the ladder's foot: what comes after the one that ran out of memory.
        Case {
            list: DEFAULT,
            start: 1,
            works: DEFAULT,
            opened: Some((1, Cuda)),
            told: &[],
        },
        Case {
            list: DEFAULT,
            start: 1,
            works: &[Tensorrt, Cpu],
            opened: Some((2, Cpu)),
            told: &[Cuda],
        },
        Case {
            list: &[Cuda, Cpu],
            start: 2,
            works: &[Cuda, Cpu],
            opened: None,
            told: &[],
        },
    ];
    for case in cases {
        let mut skipped = Vec::new();
        let opened = first_that_opens(case.list, case.start, &mut skipped, |position, provider| {
            assert_eq!(case.list[position], provider);
            match case.works.contains(&provider) {
                true => Ok(provider),
                false => Err(format!("{} is away", provider.as_str())),
            }
        });
        assert_eq!(opened, case.opened, "{:?} from {}", case.list, case.start);
        let told: Vec<String> = skipped.iter().map(ToString::to_string).collect();
        let due = case
            .told
            .iter()
            .map(|p| format!("{0} is not available: {0} is away", p.as_str()));
        assert_eq!(told, due.collect::<Vec<_>>(), "{:?}", case.list);
    }
}

#[test]
fn every_provider_is_described_once() {
    use crate::config::Word;
    assert_eq!(DESCRIPTIONS.len(), Provider::WORDS.len());
    for (_, provider) in Provider::WORDS {
        assert_eq!(describe(*provider).provider, *provider);
    }
}

#[test]
fn half_precision_is_who_asked_for_it_and_what_passes() {
    let names = |provider, precision| {
        [(false, false), (true, false), (false, true), (true, true)]
            .map(|(has_variant, passes)| precision_name(provider, precision, HalfOf { has_variant, passes }))
    };
    use Precision::{Auto, Fp16, Fp32};
    let (no, yes) = ("fp32", "fp16");
    assert_eq!(names(Provider::Cuda, Auto), [no; 4]);
    assert_eq!(names(Provider::Cuda, Fp16), [no, yes, no, yes]);
    assert_eq!(names(Provider::Tensorrt, Auto), [no, no, yes, yes]);
    assert_eq!(names(Provider::Tensorrt, Fp16), [no, no, yes, yes]);
    assert_eq!(names(Provider::Tensorrt, Fp32), [no; 4]);
    assert_eq!(names(Provider::Cpu, Fp16), [no; 4]);
}

#[test]
fn devices_have_names_of_their_own() {
    let mut choices = ProviderChoices::default();
    assert_eq!(device_name(Provider::Tensorrt, 1, &choices), "cuda:1");
    assert_eq!(
        device_name(Provider::Openvino, 0, &choices),
        "openvino:0",
        "until it is known"
    );
    choices.openvino_device = Some(DeviceKind::Cpu);
    assert_eq!(device_name(Provider::Openvino, 1, &choices), "openvino:cpu");
    assert_eq!(device_name(Provider::Cpu, 1, &choices), "cpu");
}

/// Settings of every kind that a session can have.
pub(super) fn all_settings(engine: &EngineSettings, tell: &mut dyn FnMut(&ProviderSettings<'_>)) {
    let without_shapes = EngineSettings {
        shapes: None,
        ..engine.clone()
    };
    for precision in [Precision::Auto, Precision::Fp32, Precision::Fp16] {
        for is_half in [false, true] {
            for channels_last in [None, Some(true), Some(false)] {
                for engine in [None, Some(engine), Some(&without_shapes)] {
                    tell(&ProviderSettings {
                        device_id: 1,
                        device_bytes: 6 << 30,
                        precision,
                        is_half,
                        threads: Some(3),
                        choices: &ProviderChoices {
                            channels_last,
                            ..ProviderChoices::default()
                        },
                        engine,
                    });
                }
            }
        }
    }
}

fn engine() -> EngineSettings {
    EngineSettings {
        engines_dir: "/state/engines/a".into(),
        timings_dir: "/state/engines/timings".into(),
        prefix: "0123456789abcdef".to_owned(),
        shapes: Some(ProfileShapes {
            least: "x:1x3x64x64".to_owned(),
            best: "x:1x3x512x512".to_owned(),
            most: "x:1x3x512x512".to_owned(),
        }),
    }
}

/// Options are in their tables and of the types there, or making them would have failed.
#[test]
fn all_options_that_can_be_produced_are_in_their_tables_and_every_key_is_used() {
    let mut seen: Vec<Options> = Vec::new();
    all_settings(&engine(), &mut |settings| {
        seen.extend([cuda(settings), tensorrt(settings), migraphx(settings), webgpu()]);
        seen.extend([DeviceKind::Cpu, DeviceKind::Gpu, DeviceKind::Npu].map(|kind| openvino(settings, kind)));
    });
    for table in [
        keys::CUDA,
        keys::TENSORRT,
        keys::MIGRAPHX,
        keys::WEBGPU,
        keys::OPENVINO,
    ] {
        for key in table {
            let values = seen.iter().filter_map(|options| options.get(key.name));
            let fits = |value: &str| match key.kind {
                Kind::Switch => ["0", "1"].contains(&value),
                Kind::Number => value.parse::<u64>().is_ok(),
                Kind::Word(words) => words.contains(&value),
                Kind::Text => !value.is_empty(),
            };
            let mut count = 0;
            for value in values {
                assert!(fits(value), "{} = {value}", key.name);
                count += 1;
            }
            assert!(count > 0, "{} is never told", key.name);
        }
    }
}

#[test]
fn single_precision_is_what_a_person_gets_who_asks_for_it() {
    let choices = ProviderChoices::default();
    let settings = |precision, is_half| ProviderSettings {
        device_id: 0,
        device_bytes: 1 << 30,
        precision,
        is_half,
        threads: Some(2),
        choices: &choices,
        engine: None,
    };
    let exact = settings(Precision::Fp32, false);
    assert_eq!(cuda(&exact).get("use_tf32"), Some("0"));
    assert_eq!(cuda(&exact).get("prefer_nhwc"), Some("0"));
    assert_eq!(cuda(&settings(Precision::Auto, false)).get("use_tf32"), Some("1"));
    assert_eq!(
        cuda(&settings(Precision::Fp16, true)).get("prefer_nhwc"),
        Some("1")
    );
    assert_eq!(tensorrt(&exact).get("trt_fp16_enable"), Some("0"));
    assert_eq!(tensorrt(&exact).get("trt_max_workspace_size"), Some("536870912"));
    // Whatever it rounds to by itself.
    assert_eq!(
        openvino(&exact, DeviceKind::Cpu).get("load_config"),
        Some(
            r#"{"CPU":{"INFERENCE_NUM_THREADS":"2","INFERENCE_PRECISION_HINT":"f32","PERFORMANCE_HINT":"LATENCY"}}"#
        )
    );
    let half = openvino(&settings(Precision::Auto, true), DeviceKind::Gpu);
    assert!(
        half.get("load_config")
            .unwrap()
            .contains(r#""INFERENCE_PRECISION_HINT":"f16""#)
    );
}
