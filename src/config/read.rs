//! Owns how a value of the file becomes a typed one: its kind, its range, and what to say when it is another.
//! Pure; knows no key.
//!
//! Every reader returns why not as the rest of a sentence that begins with the key, as in [`super::values`].

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::values::{self, Word, quoted};
use super::{Background, Scale, Schedule, place};

/// Longest folder name, characters: it stands in every log line.
const FOLDER_NAME_MAX: usize = 64;

/// A value, as a message names it.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Text; `what` says what should stand there.
pub(super) fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, String> {
    let hint = match value {
        Value::Integer(_) | Value::Float(_) | Value::Datetime(_) => "; write it in quotes",
        _ => "",
    };
    value
        .as_str()
        .ok_or_else(|| format!("must be {what}, not {}{hint}", found(value)))
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    let hint = if value.is_str() {
        "; leave the quotes out"
    } else {
        ""
    };
    value
        .as_bool()
        .ok_or_else(|| format!("must be true or false, not {}{hint}", found(value)))
}

/// A whole number within `range`.
pub(super) fn whole(value: &Value, range: RangeInclusive<i64>) -> Result<i64, String> {
    let hint = match value.as_str().map(str::parse::<i64>) {
        Some(Ok(_)) => "; leave the quotes out",
        _ => "",
    };
    value
        .as_integer()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!(
                "must be a whole number from {least} to {most}, not {}{hint}",
                found(value)
            )
        })
}

/// One of a few words.
pub(super) fn word<W: Word>(value: &Value) -> Result<W, String> {
    match value.as_str() {
        Some(text) => W::read(text),
        None => Err(format!("must be {}, not {}", W::choices(), found(value))),
    }
}

/// `"auto"`, or what `read` reads; its refusal then names `"auto"` too.
pub(super) fn auto<T>(
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    or_word("auto", value, read)
}

/// `None` for this word, or what `read` reads; its refusal then names the word too.
pub(super) fn or_word<T>(
    word: &str,
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.as_str() == Some(word) {
        return Ok(None);
    }
    let why_not = |why: String| match why.strip_prefix("must be ") {
        Some(rest) => format!("must be \"{word}\" or {rest}"),
        None => why,
    };
    read(value).map(Some).map_err(why_not)
}

/// A size in bytes, at least `least`.
pub(super) fn size(value: &Value, least: u64) -> Result<u64, String> {
    let bytes = values::parse_size(text(value, "a size such as \"6GiB\" or \"512MiB\"")?)?;
    if bytes < least {
        return Err(format!(
            "must be at least {}, not {}",
            values::show_size(least),
            found(value)
        ));
    }
    Ok(bytes)
}

/// A time within `range`.
pub(super) fn time(value: &Value, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = values::parse_time(text(value, "a time such as \"10s\", \"30min\" or \"2h\"")?)?;
    if !range.contains(&time) {
        let (least, most) = (values::show_time(*range.start()), values::show_time(*range.end()));
        return Err(format!("must be from {least} to {most}, not {}", found(value)));
    }
    Ok(time)
}

/// Times of day at which jobs may begin.
pub(super) fn schedule(value: &Value) -> Result<Schedule, String> {
    Schedule::parse(text(value, "times of day such as \"22:00-07:00\"")?)
}

/// `"forever"` is `None`, or whole days.
pub(super) fn history(value: &Value) -> Result<Option<Duration>, String> {
    const WHAT: &str = "\"forever\" or a number of days such as \"365d\"";
    match text(value, WHAT)? {
        "forever" => Ok(None),
        days => values::parse_days(days)
            .map(Some)
            .ok_or_else(|| format!("must be {WHAT}, not {}", found(value))),
    }
}

/// A umask: octal digits in quotes, as `umask(1)` prints them.
pub(super) fn umask(value: &Value) -> Result<u16, String> {
    // The owner's bits stay: the service reads again what it wrote.
    const WHAT: &str = "a umask in quotes from \"0000\" to \"0077\"";
    let text = text(value, WHAT)?;
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|bits| *bits <= 0o077 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| format!("must be {WHAT}, not {}", quoted(text)))
}

/// A number of pixels, with or without a unit.
pub(super) fn pixels(value: &Value) -> Result<u64, String> {
    match value {
        Value::Integer(number) => values::parse_pixels(&number.to_string()),
        _ => values::parse_pixels(text(value, "a number of pixels such as \"400MP\"")?),
    }
}

/// A length in pixels within `range`.
pub(super) fn px(value: &Value, range: RangeInclusive<u32>) -> Result<u32, String> {
    let range = i64::from(*range.start())..=i64::from(*range.end());
    // In range, so the cast loses nothing.
    whole(value, range).map(|px| px as u32)
}

/// `scale`.
pub(super) fn scale(value: &Value) -> Result<Scale, String> {
    const FORM: &str = "must be \"model\" or a number from 1 to 16";
    let refuse = |found: String| format!("{FORM}, not {found}");
    match value {
        Value::String(text) if text == "model" => Ok(Scale::Model),
        Value::String(text) if values::parse_scale(text).is_ok() => {
            Err(format!("{}; leave the quotes out", refuse(found(value))))
        }
        Value::Integer(number) => values::scale_of(*number as f64).map_err(|_| refuse(found(value))),
        Value::Float(number) => values::scale_of(*number).map_err(|_| refuse(found(value))),
        _ => Err(refuse(found(value))),
    }
}

/// A colour.
pub(super) fn background(value: &Value) -> Result<Background, String> {
    let refuse = || {
        format!(
            "must be \"white\", \"black\" or a colour such as \"#f0e8d8\", not {}",
            found(value)
        )
    };
    value.as_str().and_then(Background::parse).ok_or_else(refuse)
}

/// A path, absolute as seen from `base`.
pub(super) fn path(value: &Value, base: &Path) -> Result<PathBuf, String> {
    let text = text(value, "a path")?;
    if text.is_empty() {
        return Err("is empty; write a path".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a zero byte, which no path may; leave it out".to_owned());
    }
    if text == "~" || text.starts_with("~/") || text.starts_with('$') {
        return Err(format!("{} is not expanded; write the whole path", quoted(text)));
    }
    Ok(place::absolute(base, Path::new(text)))
}

/// A model's name stays; what looks like a path becomes absolute.
pub(super) fn model(value: &Value, base: &Path) -> Result<String, String> {
    let name = text(value, "a model's name or the path to an .onnx file")?;
    if name.contains('/') || name.ends_with(".onnx") {
        // The base may not be UTF-8; a recipe is text, because its hash is taken over JSON.
        let path = path(value, base)?;
        return path.into_os_string().into_string().map_err(|path| {
            let shown = path.display();
            format!("\"{shown}\" is not UTF-8; rename the directory or import the model")
        });
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!(
            "must be a model's name or the path to an .onnx file, not {}",
            found(value)
        ));
    }
    Ok(name.to_owned())
}

/// A name that fits into a log line and behind `--folder`.
pub(super) fn folder_name(value: &Value) -> Result<String, String> {
    let name = text(value, "a name in quotes")?;
    let why = if name.is_empty() {
        "is empty; write a name such as \"photos\""
    } else if name.chars().count() > FOLDER_NAME_MAX {
        "is longer than 64 characters; shorten it"
    } else if name.contains('/') || name.chars().any(char::is_control) {
        "holds a \"/\" or a control character; leave it out"
    } else if name.trim() != name || name.starts_with('-') {
        "begins with \"-\" or begins or ends with a space; leave it out"
    } else {
        return Ok(name.to_owned());
    };
    Err(why.to_owned())
}

/// A list with at least one element.
pub(super) fn list<T>(
    value: &Value,
    what: &str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match value {
        Value::Array(values) if values.is_empty() => Err(format!("is an empty list; write {what}")),
        Value::Array(values) => values.iter().map(read).collect(),
        _ => Err(format!("must be a list of {what}, not {}", found(value))),
    }
}

/// The values, none of them twice.
pub(super) fn distinct<T: PartialEq>(values: Vec<T>) -> Result<Vec<T>, String> {
    let repeated = (1..values.len()).find(|at| values[..*at].contains(&values[*at]));
    match repeated {
        Some(at) => Err(format!(
            "names the same twice, at place {}; leave one out",
            at + 1
        )),
        None => Ok(values),
    }
}

/// A device number or a list of them.
pub(super) fn device_ids(value: &Value) -> Result<Vec<u32>, String> {
    // More devices than any machine has.
    const IDS: RangeInclusive<i64> = 0..=1023;
    let id = |value: &Value| whole(value, IDS).map(|id| id as u32);
    match value {
        Value::Array(_) => distinct(list(value, "device numbers such as [0, 1]", id)?),
        _ => Ok(vec![id(value)?]),
    }
}

/// Glob patterns on file names.
pub(super) fn patterns(value: &Value, needed: bool) -> Result<Vec<String>, String> {
    const WHAT: &str = "patterns such as [\"*.jpg\", \"*.png\"]";
    let pattern = |value: &Value| {
        let pattern = text(value, "a pattern in quotes")?;
        if pattern.is_empty() {
            return Err("holds an empty pattern; leave it out".to_owned());
        }
        if pattern.contains('/') {
            let shown = quoted(pattern);
            return Err(format!(
                "{shown} holds a \"/\", but patterns are for file names alone; leave it out"
            ));
        }
        match globset::Glob::new(pattern) {
            Ok(_) => Ok(pattern.to_owned()),
            Err(why) => Err(format!(
                "{} is no pattern: {}; correct it",
                quoted(pattern),
                why.kind()
            )),
        }
    };
    match value {
        Value::Array(values) if values.is_empty() && !needed => Ok(Vec::new()),
        _ => list(value, WHAT, pattern),
    }
}
