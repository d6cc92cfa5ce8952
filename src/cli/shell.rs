//! Owns what is made from the command line's own definitions: completions and the manual page.

use std::io;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::Cli;
use super::exit::{Exit, Failure};
use super::out::Out;

/// Prints a completion script.
pub fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "upscaled", &mut script);
    print(&script)
}

/// Prints the manual page.
pub fn man() -> Result<Exit, Failure> {
    let page = page().map_err(|error| Failure::from_stdout(&error))?;
    print(&page)
}

fn print(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut out = Out::stdout();
    out.bytes(bytes)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// One page for all commands: a page for each would need an installer that puts them in place.
fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    commands(&mut roff, &command);
    exit_codes(&mut roff);
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// Every command that can be run, with what it takes.
fn commands(roff: &mut Roff, command: &Command) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        if sub.has_subcommands() {
            commands(roff, sub);
            continue;
        }
        let usage = sub.clone().render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
        roff.control("SS", [usage]);
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string);
        roff.text([roman(about.unwrap_or_default())]);
        // The options of every command stand above.
        for arg in sub
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && !is_own(arg))
        {
            roff.control("TP", []);
            let short = arg
                .get_short()
                .map(|short| format!("-{short}, "))
                .unwrap_or_default();
            roff.text([bold(format!("{short}{arg}"))]);
            let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
            roff.text([roman(help.unwrap_or_default()), roman(default(arg))]);
        }
        if let Some(examples) = sub.get_after_help() {
            roff.control("PP", []);
            roff.control("nf", []);
            for line in examples.to_string().lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
    }
}

/// clap's own, the same everywhere.
fn is_own(arg: &clap::Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn default(arg: &clap::Arg) -> String {
    let defaults = arg.get_default_values();
    if defaults.is_empty() || !arg.get_action().takes_values() {
        return String::new();
    }
    let values: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
    format!(" [default: {}]", values.join(","))
}

fn exit_codes(roff: &mut Roff) {
    const CODES: [(&str, &str); 10] = [
        ("0", "done"),
        ("1", "some inputs failed, the rest are done"),
        ("2", "wrong usage"),
        ("65", "no input could be read as an image"),
        ("69", "no usable ONNX Runtime, model or device"),
        (
            "74",
            "input/output error: disk full, file or folder missing, result exists",
        ),
        (
            "75",
            "temporary: another instance holds the state directory, or try again",
        ),
        (
            "76",
            "the device was lost: this process cannot use it again, a new one can",
        ),
        ("78", "the configuration is wrong or missing"),
        ("130", "Ctrl-C on a foreground command"),
    ];
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in CODES {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_tells_every_commands_options() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for text in [
            "upscaled upscale",
            "\\-\\-device\\-memory",
            "upscaled jobs retry",
            "EXIT STATUS",
        ] {
            assert!(page.contains(text), "{text} is missing from\n{page}");
        }
    }
}
