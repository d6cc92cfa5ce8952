//! Owns what the configuration *means*: every default applied, every path absolute, every value typed and
//! within its range. Pure: never opens a file and never looks whether a folder exists.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::encoding::{AnimationFormat, EncodeSettings, is_default};
use super::news::{HooksConfig, MetricsConfig, Webhook};
use super::providers::{Provider, ProviderChoices};
use super::{Background, NameTemplate, Schedule};

/// The whole configuration, ready for use.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Database, learned profiles, engine cache, imported models. On a local file system.
    pub state_dir: PathBuf,
    /// A running job may finish within it after SIGTERM.
    pub shutdown_grace: Duration,
    /// No progress for so long ends the job.
    pub job_timeout: Duration,
    /// The queue waits below this many free bytes in an output folder.
    pub min_free_bytes: u64,
    /// When jobs of folders without a schedule of their own may begin.
    pub schedule: Schedule,
    /// How long a job is remembered after its source has gone; `None`: for ever.
    pub history: Option<Duration>,
    /// Mode bits that new files of ours lack; `None`: the process's own umask.
    pub umask: Option<u16>,
    /// Whether the kernel is asked to hold the service to its folders.
    pub sandbox: SandboxMode,
    /// Where and on what inference runs.
    pub runtime: RuntimeConfig,
    /// What it may hold.
    pub memory: MemoryConfig,
    /// Commands that are run when something happened.
    pub hooks: HooksConfig,
    /// Addresses that are told when something happened.
    pub webhooks: Vec<Webhook>,
    /// Where metrics are answered.
    pub metrics: MetricsConfig,
    /// The watched folders, in the order of the file.
    pub folders: Vec<Folder>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/upscaled"),
            shutdown_grace: Duration::from_secs(20),
            job_timeout: Duration::from_secs(30 * 60),
            min_free_bytes: 1 << 30,
            schedule: Schedule::default(),
            history: None,
            umask: None,
            sandbox: SandboxMode::Auto,
            runtime: RuntimeConfig::default(),
            memory: MemoryConfig::default(),
            hooks: HooksConfig::default(),
            webhooks: Vec::new(),
            metrics: MetricsConfig::default(),
            folders: Vec::new(),
        }
    }
}

impl Config {
    /// The folder of that name.
    pub fn folder(&self, name: &str) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.name == name)
    }

    /// When jobs of this folder may begin.
    pub fn schedule_of<'a>(&'a self, folder: &'a Folder) -> &'a Schedule {
        folder.schedule.as_ref().unwrap_or(&self.schedule)
    }
}

/// `sandbox`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxMode {
    /// As far as the kernel can.
    Auto,
    /// Not at all.
    Off,
}

/// `[runtime]`
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeConfig {
    /// The ONNX Runtime library; `None`: looked for (CONTRACT §5).
    pub library: Option<PathBuf>,
    /// Tried in this order. Never empty.
    pub providers: Vec<Provider>,
    /// Whether the file named the providers, so that missing ones are worth a warning in job files.
    pub providers_chosen: bool,
    /// Devices, one executor each. Never empty.
    pub device_ids: Vec<u32>,
    /// Intra-op threads of the CPU provider; `None`: one per core.
    pub threads: Option<usize>,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// How long a model stays loaded without work; `None`: until the service ends.
    pub unload_after: Option<Duration>,
    /// What single providers are told.
    pub choices: ProviderChoices,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            library: None,
            providers: vec![Provider::Tensorrt, Provider::Cuda, Provider::Cpu],
            providers_chosen: false,
            device_ids: vec![0],
            threads: None,
            precision: Precision::Auto,
            unload_after: Some(Duration::from_secs(10 * 60)),
            choices: ProviderChoices::default(),
        }
    }
}

/// Arithmetic of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// fp32 on the CPU; fp16 where the device gains from it and the model passes its check.
    #[default]
    Auto,
    /// Single precision.
    Fp32,
    /// Half precision.
    Fp16,
}

/// `[memory]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Most that inference may hold on the device; `None`: what is free at the job's start, less a reserve.
    pub device_bytes: Option<u64>,
    /// Most that decoding, tiles and encoding may hold; `None`: a quarter of RAM.
    pub host_bytes: Option<u64>,
}

/// `[[folder]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    /// Its name, unique.
    pub name: String,
    /// Where sources are dropped; absolute.
    pub input: PathBuf,
    /// Where results appear; absolute.
    pub output: PathBuf,
    /// What decides the pixels and the name of a result.
    pub recipe: Recipe,
    /// Whether directories below `input` are watched too.
    pub recursive: bool,
    /// Glob patterns on file names, upper and lower case alike; a name must match one.
    pub include: Vec<String>,
    /// Glob patterns that keep a name out, added to the built-in ones.
    pub exclude: Vec<String>,
    /// Quiet time before a file is read; `None`: 10 s local, 30 s on a network share.
    pub settle: Option<Duration>,
    /// Time between full scans; `None`: 60 s local, 30 s on a network share.
    pub rescan: Option<Duration>,
    /// What becomes of a source after its result is recorded.
    pub on_success: OnSuccess,
    /// What happens when the result's name is taken by something else.
    pub on_conflict: OnConflict,
    /// Higher goes first.
    pub priority: i32,
    /// When its jobs may begin; `None`: as the configuration says for all.
    pub schedule: Option<Schedule>,
}

impl Folder {
    /// A folder with every default; the paths absolute.
    pub fn new(name: impl Into<String>, input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            input: input.into(),
            output: output.into(),
            recipe: Recipe::default(),
            recursive: true,
            include: DEFAULT_INCLUDE.map(str::to_owned).to_vec(),
            exclude: Vec::new(),
            settle: None,
            rescan: None,
            on_success: OnSuccess::Keep,
            on_conflict: OnConflict::Rename,
            priority: 0,
            schedule: None,
        }
    }
}

/// Every extension of a picture that is read, or that people take for a picture: what cannot be read is reported
/// instead of silently left alone.
const DEFAULT_INCLUDE: [&str; 13] = [
    "*.jpg", "*.jpeg", "*.png", "*.webp", "*.tif", "*.tiff", "*.bmp", "*.gif", "*.avif", "*.jxl", "*.heic",
    "*.heif", "*.hif",
];

/// What decides the pixels and the name of a result, given the source (DESIGN §9). Its hash, together with
/// the model's sha256, is part of a job's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// A built-in or imported model's name, or a path to an .onnx file.
    pub model: String,
    /// Size of the result.
    pub scale: Scale,
    /// Output pixels at most.
    pub max_pixels: u64,
    /// What happens to a bigger result.
    pub on_too_big: OnTooBig,
    /// How the picture is cut.
    pub tiling: Tiling,
    /// Ceiling of a window's side, pixels; `None`: chosen by memory and speed.
    pub tile_px: Option<u32>,
    /// Overlap of two windows, pixels; `None`: what the model needs.
    pub overlap_px: Option<u32>,
    /// File format of the result.
    pub format: Format,
    /// Quality of lossy formats, 1 to 100.
    pub quality: u8,
    /// What a source with several frames becomes, whatever `format` says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub animation: AnimationFormat,
    /// Settings of the encoders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: EncodeSettings,
    /// Name of the result below the output folder.
    pub name_template: NameTemplate,
    /// What of the source's metadata is carried.
    pub metadata: MetadataPolicy,
    /// What is put behind a transparent picture whose result holds no transparency.
    #[serde(default = "white", skip_serializing_if = "is_white")]
    pub background: Background,
}

/// A key that came later has its default in recipes that were recorded before, and is left out of their hash as long as
/// it has it: an update must not upscale a library again.
fn white() -> Background {
    Background::WHITE
}

fn is_white(background: &Background) -> bool {
    *background == Background::WHITE
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            model: "span-x4".to_owned(),
            scale: Scale::Model,
            max_pixels: 400_000_000,
            on_too_big: OnTooBig::Shrink,
            tiling: Tiling::Auto,
            tile_px: None,
            overlap_px: None,
            format: Format::Same,
            quality: 92,
            animation: AnimationFormat::default(),
            encoding: EncodeSettings::default(),
            name_template: NameTemplate::default(),
            metadata: MetadataPolicy::Keep,
            background: Background::WHITE,
        }
    }
}

impl Recipe {
    /// BLAKE3 over every field and the model's sha256 (hexadecimal): two recipes with the same hash give
    /// the same result for the same content.
    pub fn hash(&self, model_sha256: &str) -> [u8; 32] {
        // A version of its own, so that a release that changes pixels can ask for new results.
        const RECIPE_VERSION: u32 = 1;
        let text = serde_json::json!([RECIPE_VERSION, model_sha256, self]).to_string();
        *blake3::hash(text.as_bytes()).as_bytes()
    }
}

/// `scale`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The model's own.
    Model,
    /// So many times the source's side.
    Times(f64),
}

/// `on_too_big`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTooBig {
    /// The result is scaled to fit.
    Shrink,
    /// The job fails as `too_large`.
    Refuse,
}

/// `tiling`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// `exact` where it is affordable, else `feather`.
    Auto,
    /// Halo of the receptive radius, cut off: equal to untiled.
    Exact,
    /// Overlap blended.
    Feather,
    /// The reference node's arithmetic.
    Comfy,
    /// In one piece.
    None,
}

/// `format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The source's, or PNG for a lossless and JPEG for a lossy one that cannot be written.
    Same,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP; lossless at quality 100.
    Webp,
    /// TIFF.
    Tiff,
    /// AVIF.
    Avif,
    /// JPEG XL, lossless.
    Jxl,
}

/// `on_success`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSuccess {
    /// The source stays.
    Keep,
    /// It moves to `done/` below the input folder.
    Move,
    /// It goes to the desktop's trash.
    Trash,
    /// It is removed.
    Delete,
}

/// `on_conflict`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The result gets a number behind its name.
    Rename,
    /// The other file is replaced.
    Overwrite,
    /// The job is skipped.
    Skip,
}

/// `metadata`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataPolicy {
    /// All that the target can hold.
    Keep,
    /// All but the place.
    KeepNoGps,
    /// Only what the colours need.
    Strip,
}
