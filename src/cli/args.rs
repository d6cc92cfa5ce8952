//! Owns what can be typed: commands, options, their words and their help. Completions and the man page come from
//! here too. Never does anything.

mod jobs;
mod models;

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub use self::jobs::{JobsCommand, JobsListArgs};
pub use self::models::{ImportArgs, ModelsCommand};

use crate::config::values::{OVERLAP_PX, TILE_PX, parse_scale, parse_size, parse_time};
use crate::config::{AnimationFormat, Format, MetadataPolicy, Precision, Provider, Scale, Tiling, Word};

/// Heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Everything that was typed.
#[derive(Debug, Parser)]
#[command(
    name = "upscaled",
    version,
    about = "Watches folders and turns every image dropped there into a larger, better one",
    after_help = "Examples:\n  upscaled upscale photo.jpg            photo_4x.jpg beside it, no daemon\n  \
                  upscaled config init                  a commented configuration to fill in\n  \
                  upscaled run                          the daemon, in the foreground\n  \
                  upscaled doctor                       what is in the way, with the remedy",
    arg_required_else_help = true,
    propagate_version = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Configuration; without it the first of ./upscaled.toml, $XDG_CONFIG_HOME/upscaled/config.toml and
    /// /etc/upscaled/config.toml that exists
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = EVERYWHERE,
        env = "UPSCALED_CONFIG",
        hide_env_values = true
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace, or a filter as in RUST_LOG
    #[arg(long, global = true, value_name = "LEVEL", help_heading = EVERYWHERE)]
    pub log_level: Option<String>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    ///
    /// For systemd, a container or a terminal. SIGTERM and Ctrl-C finish the running job and stop, SIGHUP reads
    /// the configuration again, SIGUSR1 scans now.
    #[command(after_help = "Example:\n  upscaled run --config /etc/upscaled/config.toml")]
    Run,
    /// Scan the watched folders once, process all that is ready, exit
    #[command(after_help = "Example:\n  upscaled once --folder photos")]
    Once(OnceArgs),
    /// Upscale these files now, without daemon and database
    #[command(
        after_help = "Examples:\n  upscaled upscale photo.jpg\n  upscaled upscale *.png -o larger/ --model span-x2\n  \
                      upscaled upscale scan.tif -o scan.webp --quality 100"
    )]
    Upscale(Box<UpscaleArgs>),
    /// Tell whether the daemon runs and what it is doing
    #[command(after_help = "Example:\n  watch upscaled status")]
    Status(JsonArg),
    /// Begin no more jobs until `resume`; a running one is finished
    ///
    /// Survives a restart, and holds with and without a running daemon.
    #[command(after_help = "Examples:\n  upscaled pause --for 2h\n  upscaled pause")]
    Pause {
        /// Resume by itself after this time, such as 30min or 2h
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        time: Option<Duration>,
        /// The pause.
        #[command(flatten)]
        json: JsonArg,
    },
    /// End a pause
    #[command(after_help = "Example:\n  upscaled resume")]
    Resume(JsonArg),
    /// Have the running daemon scan all folders now
    ///
    /// And ask blocked ones whether they work again. Without a daemon there is nothing to do: its start scans.
    #[command(after_help = "Example:\n  upscaled rescan")]
    Rescan(JsonArg),
    /// Look at the jobs and steer them
    #[command(subcommand, after_help = "Example:\n  upscaled jobs list --state failed")]
    Jobs(JobsCommand),
    /// Tell what can upscale
    #[command(subcommand, after_help = "Example:\n  upscaled models show span-x4")]
    Models(ModelsCommand),
    /// Check, print or start a configuration
    #[command(
        subcommand,
        after_help = "Example:\n  upscaled config init && upscaled config check"
    )]
    Config(ConfigCommand),
    /// Check everything that may be in the way, with the remedy
    #[command(after_help = "Example:\n  sudo -u upscaled upscaled doctor")]
    Doctor(JsonArg),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  upscaled completions bash > ~/.local/share/bash-completion/completions/upscaled"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  upscaled man | man -l -")]
    Man,
}

/// What this program asks itself in another process (`inference::catalogue::apart`). No command for people: hidden ones
/// would still stand in completions and in the manual.
#[derive(Debug, Parser)]
pub struct ExamineArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// ONNX Runtime
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
    /// Where its card is kept
    #[arg(long, value_name = "DIR")]
    pub state_dir: Vec<PathBuf>,
}

/// What this program has itself build in another process (`inference::engine_builds`). Hidden for the same reason.
#[derive(Debug, Parser)]
pub struct BuildEngineArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub model: String,
    /// ONNX Runtime
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
    /// Where models are found
    #[arg(long, value_name = "DIR")]
    pub state_dir: Vec<PathBuf>,
    /// Where engines are kept
    #[arg(long, value_name = "DIR")]
    pub engines_dir: PathBuf,
    /// The card's number
    #[arg(long, value_name = "N")]
    pub device_id: u32,
    /// The budget that the engine is for
    #[arg(long, value_name = "BYTES")]
    pub device_bytes: u64,
    /// Arithmetic
    #[arg(long, value_name = "P", value_parser = WordParser::<Precision>::default())]
    pub precision: Precision,
}

/// What this program starts for itself to tell others what happened (`news`). Hidden for the same reason.
#[derive(Debug, Parser)]
pub struct MessengerArgs {
    /// The configuration
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What is logged
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Only what is wrong is logged
    #[arg(long)]
    pub quiet: bool,
}

/// Every command that reports something.
#[derive(Debug, Clone, Copy, Args)]
pub struct JsonArg {
    /// Print JSON, and nothing else, on stdout
    #[arg(long)]
    pub json: bool,
}

/// `once`
#[derive(Debug, Args)]
pub struct OnceArgs {
    /// Only this folder
    #[arg(long, value_name = "NAME")]
    pub folder: Option<String>,
    /// A job document per line.
    #[command(flatten)]
    pub json: JsonArg,
}

/// `upscale`
#[derive(Debug, Args)]
pub struct UpscaleArgs {
    /// The pictures
    #[arg(required = true, value_name = "INPUT", value_hint = ValueHint::FilePath)]
    pub inputs: Vec<PathBuf>,
    /// A file (one input) or a directory; beside the input without it
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub output: Option<PathBuf>,
    /// What upscales; see `upscaled models list`
    #[arg(long, short, value_name = "M", default_value = "span-x4")]
    pub model: String,
    /// How many times larger, "model" for what the model makes
    #[arg(long, value_name = "S", default_value = "model", value_parser = scale)]
    pub scale: Scale,
    /// Format of the result; without it OUT's extension decides, or the input's format
    #[arg(long, short, value_name = "F", value_parser = WordParser::<Format>::default())]
    pub format: Option<Format>,
    /// Quality of JPEG, WebP and AVIF, 1 to 100; 100 makes WebP lossless
    #[arg(long, value_name = "Q", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,
    /// What an animation becomes
    #[arg(long, value_name = "F", default_value = "same", value_parser = WordParser::<AnimationFormat>::default())]
    pub animation: AnimationFormat,
    /// Longest side of a tile, pixels, 64 at least
    #[arg(long, value_name = "PX|auto", default_value = "auto", value_parser = tile)]
    pub tile: Pixels,
    /// Pixels that neighbouring tiles share
    #[arg(long, value_name = "PX|auto", default_value = "auto", value_parser = overlap)]
    pub overlap: Pixels,
    /// How a picture is cut
    #[arg(long, value_name = "WAY", default_value = "auto", value_parser = WordParser::<Tiling>::default())]
    pub tiling: Tiling,
    /// Execution providers in the order in which they are tried, of tensorrt,cuda,migraphx,openvino,webgpu,plugin,cpu
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = WordParser::<Provider>::default())]
    pub ep: Vec<Provider>,
    /// Most that inference may hold on the device, such as 6GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub device_memory: Option<u64>,
    /// Most that decoding, tiles and encoding may hold, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub host_memory: Option<u64>,
    /// What of the picture's metadata the result carries
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = WordParser::<MetadataPolicy>::default())]
    pub metadata: MetadataPolicy,
    /// Replace an existing result
    #[arg(long)]
    pub overwrite: bool,
    /// A job document per line.
    #[command(flatten)]
    pub json: JsonArg,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell everything that is wrong with the configuration
    #[command(after_help = "Example:\n  upscaled config check --config new.toml")]
    Check(JsonArg),
    /// Print the configuration with every default in place
    #[command(after_help = "Example:\n  upscaled config show | grep quality")]
    Show(JsonArg),
    /// Write a commented starter file; never over an existing one
    ///
    /// To --config if given, else to the first of ./upscaled.toml, $XDG_CONFIG_HOME/upscaled/config.toml and
    /// /etc/upscaled/config.toml that can be written.
    ///
    /// With --systemd, for the configuration that is there: a drop-in for the service's unit that opens its folders
    /// and closes everything else. Write it anew when folders change.
    #[command(
        after_help = "Examples:\n  upscaled config init --config ~/.config/upscaled/config.toml\n  sudo upscaled config init --systemd"
    )]
    Init(InitArgs),
}

/// What `config init` writes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Write /etc/systemd/system/upscaled.service.d/folders.conf instead
    #[arg(long)]
    pub systemd: bool,
    /// Print it instead of writing it
    #[arg(long)]
    pub print: bool,
}

/// Pixels, or what the model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// Chosen by the program.
    Auto,
    /// So many.
    Px(u32),
}

impl Pixels {
    /// `None` where the program chooses.
    pub fn chosen(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Px(px) => Some(px),
        }
    }
}

fn pixels(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<Pixels, String> {
    if text == "auto" {
        return Ok(Pixels::Auto);
    }
    let px = text.parse().ok().filter(|px| range.contains(px));
    px.map(Pixels::Px)
        .ok_or_else(|| format!("must be {} to {} pixels, or auto", range.start(), range.end()))
}

fn tile(text: &str) -> Result<Pixels, String> {
    pixels(text, TILE_PX)
}

fn overlap(text: &str) -> Result<Pixels, String> {
    pixels(text, OVERLAP_PX)
}

fn scale(text: &str) -> Result<Scale, String> {
    parse_scale(text)
}

fn time(text: &str) -> Result<Duration, String> {
    /// Longer than this nobody means it.
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
    let time = parse_time(text)?;
    if time.is_zero() || time > LONGEST {
        return Err("must be more than nothing and at most a year".to_owned());
    }
    Ok(time)
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
}

/// Reads the configuration's words on the command line: the same spelling, the same answer to a word of a later
/// version, and in completions only what this version knows.
#[derive(Debug)]
struct WordParser<W>(PhantomData<fn() -> W>);

impl<W> Default for WordParser<W> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<W> Clone for WordParser<W> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<W: Word + Send + Sync> TypedValueParser for WordParser<W> {
    type Value = W;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<W, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        W::read(&text).map_err(|why| refuse(command, arg, &why))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = W::WORDS.iter().map(|(word, _)| PossibleValue::new(*word));
        Some(Box::new(words))
    }
}

/// A value that is not one of the words, in clap's form.
fn refuse(command: &clap::Command, arg: Option<&clap::Arg>, why: &str) -> clap::Error {
    let name = arg.and_then(clap::Arg::get_long).unwrap_or_default();
    command
        .clone()
        .error(ErrorKind::InvalidValue, format!("--{name} {why}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn upscale(args: &[&str]) -> Result<Box<UpscaleArgs>, clap::Error> {
        let cli = Cli::try_parse_from(["upscaled", "upscale"].iter().chain(args))?;
        match cli.command {
            Command::Upscale(args) => Ok(args),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_do_not_contradict_themselves() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_word_that_is_none_is_refused_with_those_that_are() {
        let error = upscale(&["a.png", "--format", "heic"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("\"avif\" or \"jxl\""), "{error}");
    }

    #[test]
    fn providers_are_a_list_in_order() {
        let args = upscale(&["a.png", "--ep", "cuda,cpu"]).unwrap();
        assert_eq!(args.ep, [Provider::Cuda, Provider::Cpu]);
    }

    #[test]
    fn tiles_below_the_least_are_refused() {
        assert!(upscale(&["a.png", "--tile", "63"]).is_err());
        assert_eq!(
            upscale(&["a.png", "--tile", "256"]).unwrap().tile,
            Pixels::Px(256)
        );
        assert_eq!(upscale(&["a.png"]).unwrap().tile, Pixels::Auto);
    }

    #[test]
    fn the_configuration_can_be_named_before_and_behind_every_command() {
        for line in [
            ["--config", "c", "status", "--json"],
            ["status", "--json", "--config", "c"],
        ] {
            let cli = Cli::try_parse_from(["upscaled"].iter().chain(&line)).unwrap();
            assert_eq!(cli.config, Some(PathBuf::from("c")));
        }
    }
}
