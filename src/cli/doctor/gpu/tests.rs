use super::super::Verdict;
use super::*;
use crate::machine::nvidia::Gpu;

/// A machine where everything is as it should be.
fn good() -> Facts {
    let open = |path: &str| Node {
        path: path.to_owned(),
        access: Access::Open,
    };
    Facts {
        has_card: true,
        has_module: true,
        driver: Ok(Survey {
            driver: "580.95.05".to_owned(),
            devices: vec![Gpu {
                name: "NVIDIA GeForce RTX 4070".to_owned(),
                total_bytes: 12 << 30,
                free_bytes: 11 << 30,
                capability: (8, 9),
            }],
        }),
        has_libcuda: true,
        nodes: ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"]
            .map(open)
            .to_vec(),
        render_node: open("/dev/dri/renderD128"),
        has_vulkan: true,
        in_container: false,
        device_id: 0,
        runtime: RuntimeFacts {
            packages: [
                ("onnxruntime-gpu", "1.31.1"),
                ("nvidia-cuda-runtime", "13.0.96"),
                ("nvidia-cudnn-cu13", "9.20.0.48"),
            ]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .to_vec(),
            providers: vec!["cuda".to_owned(), "tensorrt".to_owned()],
            missing: TENSORRT_LIBRARIES.map(str::to_owned).to_vec(),
        },
        fetcher: "scripts/fetch-runtime".to_owned(),
    }
}

fn nodes(facts: &mut Facts, access: &Access) {
    for node in &mut facts.nodes {
        node.access = access.clone();
    }
}

/// No card, no driver, the runtime for processors.
fn bare(facts: &mut Facts) {
    facts.has_card = false;
    facts.has_module = false;
    facts.has_libcuda = false;
    facts.driver = Err(Silence::NoLibrary);
    nodes(facts, &Access::Missing);
    for_processors(facts);
}

fn for_processors(facts: &mut Facts) {
    facts.runtime = RuntimeFacts {
        packages: vec![("onnxruntime".to_owned(), "1.31.1".to_owned())],
        ..RuntimeFacts::default()
    };
}

fn survey(facts: &mut Facts) -> &mut Survey {
    facts.driver.as_mut().unwrap()
}

/// What is changed of the good machine, whom it concerns, and words of what is found and of the remedy.
type Case = (&'static str, fn(&mut Facts), &'static str, &'static str);

const OF_THE_CARD: &[Case] = &[
    (
        "no card",
        bare,
        "there is no NVIDIA card here",
        "take cuda and tensorrt out",
    ),
    (
        "no card on a container's host either",
        |f| {
            bare(f);
            f.in_container = true;
        },
        "there is no NVIDIA card here",
        "openvino and webgpu",
    ),
    (
        "a container without the toolkit",
        |f| {
            bare(f);
            f.has_card = true;
            f.has_module = true;
            f.in_container = true;
        },
        "this container has not been given the NVIDIA card",
        "nvidia-container-toolkit on the host and start the container with --gpus all",
    ),
    (
        "a card, and nobody installed a driver",
        |f| {
            bare(f);
            f.has_card = true;
        },
        "driver is not loaded",
        "install NVIDIA's driver 580 or later",
    ),
    (
        "a driver that is installed and not loaded",
        |f| {
            f.driver = Err(Silence::NotLoaded);
            f.has_module = false;
            nodes(f, &Access::Missing);
        },
        "driver is not loaded",
        "install NVIDIA's driver 580 or later and restart",
    ),
    (
        "the kernel's part, and nothing of the rest",
        |f| {
            f.driver = Err(Silence::NoLibrary);
            f.has_libcuda = false;
        },
        "libnvidia-ml.so.1 is missing",
        "libnvidia-compute-580",
    ),
    (
        "a driver that was updated under the kernel",
        |f| f.driver = Err(Silence::Mismatch),
        "the kernel still has the old one",
        "restart the machine",
    ),
    (
        "a card that fell off the bus",
        |f| f.driver = Err(Silence::Other("the GPU is lost".to_owned())),
        "the NVIDIA driver says: the GPU is lost",
        "Xid",
    ),
    (
        "a driver of last year",
        |f| survey(f).driver = "570.211.01".to_owned(),
        "driver 570.211.01 is too old for CUDA 13",
        "update NVIDIA's driver to 580 or later",
    ),
    (
        "a driver of last year below a container",
        |f| {
            survey(f).driver = "550.54".to_owned();
            f.in_container = true;
        },
        "driver 550.54 is too old",
        "update the host's driver",
    ),
    (
        "a card of Pascal",
        |f| {
            survey(f).devices[0].capability = (6, 1);
            survey(f).driver = "550.54".to_owned();
        },
        "has compute capability 6.1, and CUDA 13 needs 7.5",
        "fetch-runtime --webgpu, and set providers = [\"webgpu\", \"cpu\"]",
    ),
    (
        "a device that is not there",
        |f| f.device_id = 1,
        "there is no device 1, the driver has 1",
        "device_id",
    ),
    (
        "device files for a group",
        |f| nodes(f, &Access::Denied(Some("video".to_owned()))),
        "no permission for /dev/nvidiactl, which is for the group video",
        "sudo usermod -aG video USER",
    ),
    (
        "device files for a group, and so no driver",
        |f| {
            nodes(f, &Access::Denied(Some("video".to_owned())));
            f.driver = Err(Silence::Denied);
        },
        "no permission for /dev/nvidiactl",
        "usermod",
    ),
    (
        "device files for root",
        |f| nodes(f, &Access::Denied(None)),
        "no permission for /dev/nvidiactl",
        "NVreg_DeviceFileMode",
    ),
    (
        "a unit with PrivateDevices",
        |f| {
            nodes(f, &Access::Forbidden);
            f.driver = Err(Silence::Other("Unknown".to_owned()));
        },
        "/dev/nvidiactl is closed to this process",
        "PrivateDevices= and DevicePolicy=",
    ),
    (
        "a driver that refuses without a reason that could be seen",
        |f| f.driver = Err(Silence::Denied),
        "does not answer this user",
        "/dev/nvidia*",
    ),
    (
        "nobody made CUDA's device file",
        |f| f.nodes[2].access = Access::Missing,
        "/dev/nvidia-uvm is missing",
        "sudo nvidia-modprobe -u -c 0",
    ),
    (
        "a container that was given half",
        |f| {
            f.nodes[2].access = Access::Missing;
            f.in_container = true;
        },
        "/dev/nvidia-uvm is missing",
        "nvidia-container-toolkit",
    ),
    (
        "no libcuda",
        |f| f.has_libcuda = false,
        "libcuda.so.1 is missing",
        "libcuda1",
    ),
    (
        "a container for nvidia-smi alone",
        |f| {
            f.has_libcuda = false;
            f.in_container = true;
        },
        "libcuda.so.1 is missing",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    (
        "the runtime for processors",
        for_processors,
        "this ONNX Runtime is built without CUDA",
        "run scripts/fetch-runtime --cuda",
    ),
    (
        "cuDNN was deleted",
        |f| f.runtime.missing.push("libcudnn.so.9".to_owned()),
        "cuDNN 9 (libcudnn.so.9) is missing",
        "fetch-runtime --cuda",
    ),
    (
        "nothing of CUDA's",
        |f| f.runtime.missing = CUDA_LIBRARIES.map(str::to_owned).to_vec(),
        "CUDA's libcudart.so.13, libcublasLt.so.13, libcublas.so.13, libcurand.so.10, libcudnn.so.9 cannot be found",
        "fetch-runtime --cuda",
    ),
];

fn check(provider: &str, (case, change, detail, remedy): &Case) {
    let mut facts = good();
    change(&mut facts);
    let found = problem(provider, &facts).unwrap_or_else(|| panic!("{provider}: {case}: nothing is found"));
    assert!(found.detail.contains(detail), "{provider}: {case}: {found:?}");
    assert!(found.remedy.contains(remedy), "{provider}: {case}: {found:?}");
    // A line is divided where the remedy begins.
    let line = format!("{}; {}", found.detail, found.remedy);
    assert!(!line.contains('\n'), "{line:?}");
    assert_eq!(
        line.rsplit_once("; "),
        Some((&*found.detail, &*found.remedy)),
        "{case}"
    );
}

#[test]
fn what_keeps_cuda_away_keeps_tensorrt_away_with_the_same_remedy() {
    assert_eq!(problem("cuda", &good()), None);
    for case in OF_THE_CARD {
        check("cuda", case);
        check("tensorrt", case);
    }
}

#[test]
fn tensorrt_wants_its_own_libraries_as_well() {
    let case: Case = (
        "CUDA alone was fetched",
        |_| {},
        "TensorRT's libnvinfer.so.10, libnvonnxparser.so.10 cannot be found",
        "run scripts/fetch-runtime --tensorrt",
    );
    check("tensorrt", &case);
    let mut facts = good();
    facts.runtime.missing.clear();
    assert_eq!(problem("tensorrt", &facts), None);
    facts.runtime.providers.retain(|name| name != "tensorrt");
    let found = problem("tensorrt", &facts).unwrap();
    assert!(found.detail.contains("built without TensorRT"), "{found:?}");
}

/// Of a build for CUDA 12, say, neither its driver nor its libraries are known here.
#[test]
fn nothing_is_said_of_what_somebody_else_built() {
    let mut facts = good();
    facts.runtime.packages.clear();
    facts.runtime.missing = CUDA_LIBRARIES.map(str::to_owned).to_vec();
    survey(&mut facts).driver = "535.1".to_owned();
    survey(&mut facts).devices[0].capability = (6, 1);
    assert_eq!(problem("cuda", &facts), None);
    facts.has_libcuda = false;
    assert!(problem("cuda", &facts).is_some());
}

#[test]
fn other_makers_devices_need_other_things() {
    let fetched = |package: &str| {
        let mut facts = good();
        bare(&mut facts);
        facts.runtime.packages = vec![(package.to_owned(), "1".to_owned())];
        facts
    };
    let found = |provider: &str, facts: &Facts| {
        problem(provider, facts).map(|found| format!("{}; {}", found.detail, found.remedy))
    };
    let mut facts = fetched("onnxruntime");
    assert_eq!(
        found("openvino", &facts).unwrap(),
        "OpenVINO is not fetched; run scripts/fetch-runtime --openvino"
    );
    facts.runtime.providers.push("openvino".to_owned());
    assert_eq!(found("openvino", &facts), None);
    assert_eq!(
        found("webgpu", &facts).unwrap(),
        "this ONNX Runtime is built without WebGPU; run scripts/fetch-runtime --webgpu"
    );
    let mut facts = fetched("onnxruntime-webgpu");
    assert_eq!(found("webgpu", &facts), None);
    facts.render_node.access = Access::Denied(Some("render".to_owned()));
    assert!(
        found("webgpu", &facts)
            .unwrap()
            .contains("usermod -aG render USER")
    );
    facts.render_node.access = Access::Missing;
    // A card without one may still have Vulkan; only a container is known to lack it.
    assert_eq!(found("webgpu", &facts), None);
    facts.in_container = true;
    assert!(found("webgpu", &facts).unwrap().contains("--device /dev/dri"));
    facts.has_vulkan = false;
    assert!(
        found("webgpu", &facts)
            .unwrap()
            .contains("apt install libvulkan1")
    );
    assert_eq!(found("cpu", &facts), None);
}

#[test]
fn the_card_is_named_with_everything_that_drives_it() {
    let line = card(&good()).unwrap();
    assert_eq!(line.result, Verdict::Ok);
    assert_eq!(
        line.detail,
        "NVIDIA GeForce RTX 4070, 11.0 GiB of 12.0 GiB free, compute capability 8.9; driver 580.95.05 (CUDA 13 needs 580), \
         CUDA 13.0.96, cuDNN 9.20.0.48"
    );
    let mut facts = good();
    survey(&mut facts).driver = "550.54".to_owned();
    let line = card(&facts).unwrap();
    assert_eq!(line.result, Verdict::Warn);
    assert!(line.detail.contains("driver 550.54 is too old"), "{line:?}");
    facts.driver = Err(Silence::NoLibrary);
    assert_eq!(card(&facts), None);
}
