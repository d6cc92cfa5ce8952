//! Owns what `doctor` says of graphics cards: of facts, why a provider cannot be used and what to do. Pure; the facts are
//! [`gather`]'s. Never decides whether a provider works: that is tried for real, and this is asked where it did not.

pub mod gather;
#[cfg(test)]
mod tests;

use super::super::out::bytes;
use super::Check;
use crate::machine::nvidia::{Silence, Survey};

/// What CUDA 13 asks of the driver. A later CUDA 13 needs no later one.
const DRIVER_MIN: u32 = 580;

/// What CUDA 13 still computes on: Turing. It gave up Maxwell, Pascal and Volta.
const CAPABILITY_MIN: (u32, u32) = (7, 5);

/// The libraries that CUDA's provider needs of the runtime that `fetch-runtime` fetches.
pub const CUDA_LIBRARIES: [&str; 5] = [
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
    "libcudnn.so.9",
];

/// What TensorRT's needs beside them.
pub const TENSORRT_LIBRARIES: [&str; 2] = ["libnvinfer.so.10", "libnvonnxparser.so.10"];

/// What the machine, the driver and the runtime's directory are like.
#[derive(Debug, Clone)]
pub struct Facts {
    /// A card of NVIDIA's is on the bus.
    pub has_card: bool,
    /// The kernel's part of the driver is loaded.
    pub has_module: bool,
    /// What the driver says.
    pub driver: Result<Survey, Silence>,
    /// libcuda.so.1 can be loaded.
    pub has_libcuda: bool,
    /// The device files that CUDA opens, in that order; none where the system has it another way (WSL).
    pub nodes: Vec<Node>,
    /// The device file that Vulkan opens.
    pub render_node: Node,
    /// libvulkan.so.1 can be loaded.
    pub has_vulkan: bool,
    /// This is a container.
    pub in_container: bool,
    /// The device of the configuration.
    pub device_id: u32,
    /// The runtime that is used.
    pub runtime: RuntimeFacts,
    /// The script that fetches another.
    pub fetcher: String,
}

/// What lies beside ONNX Runtime's library.
#[derive(Debug, Clone, Default)]
pub struct RuntimeFacts {
    /// What `fetch-runtime` put there, with its version; empty for a directory that it does not know.
    pub packages: Vec<(String, String)>,
    /// The providers whose own libraries are there.
    pub providers: Vec<String>,
    /// Of [`CUDA_LIBRARIES`] and [`TENSORRT_LIBRARIES`] those that the loader finds nowhere.
    pub missing: Vec<String>,
}

impl RuntimeFacts {
    fn version(&self, package: &str) -> Option<&str> {
        let (_, version) = self.packages.iter().find(|(name, _)| name == package)?;
        Some(version)
    }

    fn has(&self, provider: &str) -> bool {
        self.providers.iter().any(|name| name == provider)
    }

    /// Whether somebody else built what is there for CUDA: what that needs of driver and libraries is not known here.
    fn is_foreign(&self) -> bool {
        self.has("cuda") && self.version("onnxruntime-gpu").is_none()
    }
}

/// A device file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its path.
    pub path: String,
    /// Whether this process can open it.
    pub access: Access,
}

/// Whether a device file can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// For reading and writing.
    Open,
    /// It is not there.
    Missing,
    /// Its mode does not let this user; the group that it lets, if there is one.
    Denied(Option<String>),
    /// Its mode would, but the service manager or the container does not.
    Forbidden,
}

/// What is in the way, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub detail: String,
    /// The remedy.
    pub remedy: String,
}

fn finding(detail: impl Into<String>, remedy: impl Into<String>) -> Option<Finding> {
    Some(Finding {
        detail: detail.into(),
        remedy: remedy.into(),
    })
}

/// What is in the way of the provider with this name; `None` if nothing that can be seen from here.
pub fn problem(provider: &str, facts: &Facts) -> Option<Finding> {
    match provider {
        "cuda" => driver(facts).or_else(|| libraries(facts, "cuda", "CUDA", &CUDA_LIBRARIES)),
        "tensorrt" => driver(facts)
            .or_else(|| libraries(facts, "cuda", "CUDA", &CUDA_LIBRARIES))
            .or_else(|| libraries(facts, "tensorrt", "TensorRT", &TENSORRT_LIBRARIES)),
        "openvino" if !facts.runtime.has("openvino") => {
            finding("OpenVINO is not fetched", fetch(facts, "openvino"))
        }
        "webgpu" => vulkan(facts),
        _ => None,
    }
}

/// The line about the card: its name and memory, and the versions of what drives it. `None` without a card that works.
pub fn card(facts: &Facts) -> Option<Check> {
    let survey = facts.driver.as_ref().ok()?;
    let device = survey.devices.get(facts.device_id as usize)?;
    let (major, minor) = device.capability;
    let mut detail = format!(
        "{}, {} of {} free, compute capability {major}.{minor}; driver {} (CUDA 13 needs {DRIVER_MIN})",
        device.name,
        bytes(device.free_bytes),
        bytes(device.total_bytes),
        survey.driver
    );
    for (package, name) in [
        ("nvidia-cuda-runtime", "CUDA"),
        ("nvidia-cudnn-cu13", "cuDNN"),
        ("tensorrt-cu13-libs", "TensorRT"),
    ] {
        if let Some(version) = facts.runtime.version(package) {
            detail += &format!(", {name} {version}");
        }
    }
    Some(match driver(facts) {
        None => Check::ok("nvidia", detail),
        Some(problem) => Check::warn("nvidia", format!("{detail}; {}", problem.detail), problem.remedy),
    })
}

fn fetch(facts: &Facts, option: &str) -> String {
    format!("run {} --{option}", facts.fetcher)
}

const TOOLKIT: &str = "install nvidia-container-toolkit on the host and start the container with --gpus all (README, \"Graphics cards\")";

/// What is in the way of everything that runs on NVIDIA's cards, the nearest to the metal first.
fn driver(facts: &Facts) -> Option<Finding> {
    let is_missing = |node: &Node| node.access == Access::Missing;
    let has_nodes = facts.nodes.iter().any(|node| !is_missing(node));
    let is_silent = facts.driver.is_err();
    if is_silent && !facts.has_card && !facts.has_module && !has_nodes {
        let remedy = "take cuda and tensorrt out of [runtime] providers, openvino and webgpu run on other makers' devices";
        return finding("there is no NVIDIA card here", remedy);
    }
    if is_silent && facts.in_container && !has_nodes {
        return finding("this container has not been given the NVIDIA card", TOOLKIT);
    }
    if is_silent && !facts.has_module && !facts.in_container {
        return finding(
            "the NVIDIA card's driver is not loaded",
            format!(
                "install NVIDIA's driver {DRIVER_MIN} or later and restart the machine, until nvidia-smi shows the card"
            ),
        );
    }
    access(facts)
        .or_else(|| spoken(facts))
        .or_else(|| uvm(facts))
        .or_else(|| (!facts.has_libcuda).then(|| library_of_driver(facts, "libcuda.so.1"))?)
}

/// A device file that is there and not for this process.
fn access(facts: &Facts) -> Option<Finding> {
    let closed = facts.nodes.iter().find_map(may_not);
    closed.or_else(|| match facts.driver {
        Err(Silence::Denied) => finding(
            "the NVIDIA driver does not answer this user",
            "give the user access to /dev/nvidia*",
        ),
        _ => None,
    })
}

fn may_not(node: &Node) -> Option<Finding> {
    let path = &node.path;
    match &node.access {
        Access::Open | Access::Missing => None,
        Access::Denied(Some(group)) => finding(
            format!("no permission for {path}, which is for the group {group}"),
            format!("add the user to it: sudo usermod -aG {group} USER, and restart what runs as USER"),
        ),
        Access::Denied(None) => finding(
            format!("no permission for {path}"),
            "let the user read and write it: NVreg_DeviceFileMode of the nvidia module, or a rule of udev",
        ),
        Access::Forbidden => finding(
            format!("{path} is closed to this process, whatever its mode says"),
            "take PrivateDevices= and DevicePolicy= out of the unit's drop-ins, or start the container with --gpus all",
        ),
    }
}

/// What the driver says, or does not say.
fn spoken(facts: &Facts) -> Option<Finding> {
    let survey = match &facts.driver {
        Ok(survey) => survey,
        Err(Silence::NoLibrary) => return library_of_driver(facts, "libnvidia-ml.so.1"),
        Err(Silence::Mismatch) => {
            return finding(
                "the NVIDIA driver was updated, and the kernel still has the old one",
                "restart the machine",
            );
        }
        Err(Silence::NotLoaded) => {
            return finding(
                "the NVIDIA card's driver is not loaded",
                "load it: sudo modprobe nvidia, and if that fails, dmesg says why",
            );
        }
        Err(Silence::Denied) => return None,
        Err(Silence::Other(why)) => {
            return finding(
                format!("the NVIDIA driver says: {why}"),
                "check the card with nvidia-smi, and dmesg for Xid",
            );
        }
    };
    let id = facts.device_id;
    let Some(device) = survey.devices.get(id as usize) else {
        return finding(
            format!("there is no device {id}, the driver has {}", survey.devices.len()),
            "set device_id in [runtime] to a number that nvidia-smi shows",
        );
    };
    if facts.runtime.is_foreign() {
        return None;
    }
    let (major, minor) = device.capability;
    if device.capability < CAPABILITY_MIN {
        let (need, part) = CAPABILITY_MIN;
        return finding(
            format!(
                "{} has compute capability {major}.{minor}, and CUDA 13 needs {need}.{part} (GTX 16, RTX 20 or later)",
                device.name
            ),
            format!(
                "{}, and set providers = [\"webgpu\", \"cpu\"]",
                fetch(facts, "webgpu")
            ),
        );
    }
    let number = survey
        .driver
        .split('.')
        .next()
        .and_then(|number| number.parse::<u32>().ok());
    if number.is_some_and(|number| number < DRIVER_MIN) {
        let whose = if facts.in_container {
            "the host's driver"
        } else {
            "NVIDIA's driver"
        };
        return finding(
            format!("driver {} is too old for CUDA 13", survey.driver),
            format!("update {whose} to {DRIVER_MIN} or later and restart the machine"),
        );
    }
    None
}

/// A device file that only CUDA opens, so that the driver answers without it. The driver's setuid helper makes it when
/// somebody may run that: not a service with NoNewPrivileges=, and nobody in a container.
fn uvm(facts: &Facts) -> Option<Finding> {
    let missing = facts.nodes.iter().find(|node| node.access == Access::Missing)?;
    let remedy = if facts.in_container {
        TOOLKIT
    } else {
        "sudo nvidia-modprobe -u -c 0, and let the unit do so at each start (README, \"Graphics cards\")"
    };
    finding(format!("{} is missing", missing.path), remedy)
}

fn library_of_driver(facts: &Facts, name: &str) -> Option<Finding> {
    let remedy = if facts.in_container {
        "start the container with --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility".to_owned()
    } else {
        format!("install the rest of it (Ubuntu: libnvidia-compute-{DRIVER_MIN}, Debian: libcuda1)")
    };
    finding(format!("the driver's library {name} is missing"), remedy)
}

/// What a provider needs of the runtime's directory.
fn libraries(facts: &Facts, provider: &str, name: &str, needed: &[&str]) -> Option<Finding> {
    let remedy = fetch(facts, provider);
    if !facts.runtime.has(provider) {
        return finding(format!("this ONNX Runtime is built without {name}"), remedy);
    }
    if facts.runtime.is_foreign() {
        return None;
    }
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|library| facts.runtime.missing.iter().any(|other| other == library))
        .collect();
    match missing[..] {
        [] => None,
        ["libcudnn.so.9"] => finding("cuDNN 9 (libcudnn.so.9) is missing", remedy),
        _ => finding(format!("{name}'s {} cannot be found", missing.join(", ")), remedy),
    }
}

/// What is in the way of any card with Vulkan.
fn vulkan(facts: &Facts) -> Option<Finding> {
    // Built into the library, so that no file tells; whoever brought their own knows.
    let packages = &facts.runtime.packages;
    if !packages.is_empty() && facts.runtime.version("onnxruntime-webgpu").is_none() {
        return finding(
            "this ONNX Runtime is built without WebGPU",
            fetch(facts, "webgpu"),
        );
    }
    if !facts.has_vulkan {
        return finding(
            "libvulkan.so.1 is missing",
            "install it and the card's driver for it (Debian: apt install libvulkan1 mesa-vulkan-drivers)",
        );
    }
    match facts.render_node.access {
        Access::Missing if facts.in_container => finding(
            "this container has not been given a graphics card",
            "start it with --device /dev/dri, or for NVIDIA's with --gpus all and NVIDIA_DRIVER_CAPABILITIES=all",
        ),
        _ => may_not(&facts.render_node),
    }
}
