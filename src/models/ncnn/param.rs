//! Owns the reading of a `.param` text: the layers, their blobs and their settings. Never knows what a layer computes.

use std::collections::BTreeMap;

use super::super::error::ImportError;

/// What the text begins with since 2017; the binary form begins with the same number as four bytes.
const MAGIC: i32 = 7_767_517;

/// Bytes of the text. The largest upscaler known has 110 kB.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Layers: ten times what the largest upscalers have.
const LAYERS_MAX: usize = 16_384;

/// Blobs that one text may name.
const BLOBS_MAX: usize = 4 * LAYERS_MAX;

/// Bytes of a name, as ncnn itself limits them.
const NAME_BYTES_MAX: usize = 255;

/// Settings are numbered below this, as in ncnn itself.
const SETTINGS_MAX: i32 = 32;

/// A key at or below this one holds an array; the distance is the setting's number.
const ARRAY_KEYS: i32 = -23_300;

/// How many characters of a stranger's name a message repeats.
const SHOWN_CHARS: usize = 60;

/// One layer as the text says it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    /// Its type, as `Convolution`.
    pub kind: String,
    /// Its name, for people.
    pub name: String,
    /// Names of the blobs that it takes.
    pub inputs: Vec<String>,
    /// Names of the blobs that it makes.
    pub outputs: Vec<String>,
    settings: BTreeMap<i32, Setting>,
}

#[derive(Debug, Clone, PartialEq)]
enum Setting {
    Number(f64),
    Array(Vec<f64>),
    Text,
}

impl Layer {
    /// The error that this layer, or `what` about it, is not translated.
    pub fn refused(&self, what: impl Into<String>) -> ImportError {
        ImportError::Layer {
            name: shown(&self.name),
            what: what.into(),
        }
    }

    /// The error that this layer contradicts itself or another one.
    pub fn damaged(&self, what: impl std::fmt::Display) -> ImportError {
        ImportError::Damaged(format!("its layer {} {what}", shown(&self.name)))
    }

    /// Whether a setting is given.
    pub fn has(&self, id: i32) -> bool {
        self.settings.contains_key(&id)
    }

    /// A setting that is a whole number.
    pub fn int(&self, id: i32, default: i64) -> Result<i64, ImportError> {
        match self.settings.get(&id) {
            None => Ok(default),
            Some(Setting::Number(value)) => self.whole(id, *value),
            Some(_) => Err(self.damaged(format_args!("has a setting {id} that is no number"))),
        }
    }

    /// A setting that is a number.
    pub fn float(&self, id: i32, default: f32) -> Result<f32, ImportError> {
        match self.settings.get(&id) {
            None => Ok(default),
            Some(Setting::Number(value)) => Ok(*value as f32),
            Some(_) => Err(self.damaged(format_args!("has a setting {id} that is no number"))),
        }
    }

    /// A setting that is a list of whole numbers; empty if not given.
    pub fn ints(&self, id: i32) -> Result<Vec<i64>, ImportError> {
        self.array(id)?
            .iter()
            .map(|value| self.whole(id, *value))
            .collect()
    }

    /// A setting that is a list of numbers; empty if not given.
    pub fn floats(&self, id: i32) -> Result<Vec<f32>, ImportError> {
        Ok(self.array(id)?.iter().map(|value| *value as f32).collect())
    }

    /// A setting that is a whole number from `least` to `most`.
    pub fn count(&self, id: i32, default: usize, least: usize, most: usize) -> Result<usize, ImportError> {
        let value = self.int(id, default as i64)?;
        usize::try_from(value)
            .ok()
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| {
                self.damaged(format_args!(
                    "has {value} as its setting {id}, where {least} to {most} make sense"
                ))
            })
    }

    /// A setting that is yes or no.
    pub fn flag(&self, id: i32) -> Result<bool, ImportError> {
        Ok(self.int(id, 0)? != 0)
    }

    fn array(&self, id: i32) -> Result<&[f64], ImportError> {
        match self.settings.get(&id) {
            None => Ok(&[]),
            Some(Setting::Array(values)) => Ok(values),
            Some(Setting::Number(_) | Setting::Text) => {
                Err(self.damaged(format_args!("has a setting {id} that is no list")))
            }
        }
    }

    fn whole(&self, id: i32, value: f64) -> Result<i64, ImportError> {
        let whole = value as i32;
        if f64::from(whole) == value {
            Ok(i64::from(whole))
        } else {
            Err(self.damaged(format_args!("has a setting {id} that is no whole number")))
        }
    }
}

/// A name from the file, short and without control characters.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = name.chars().take(SHOWN_CHARS).map(plain).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

/// The layers of a `.param` text, in its order, which is the order of their weights too.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Layer>, ImportError> {
    let format = |why: &str| ImportError::Format(format!("it is not an ncnn .param: {why}"));
    if text.starts_with(&MAGIC.to_le_bytes()) {
        return Err(ImportError::Format(
            "it is the binary form of an ncnn .param; bring the text form, which comes with it".to_owned(),
        ));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(ImportError::TooLarge(format!(
            "its .param has {} bytes, {TEXT_BYTES_MAX} are read",
            text.len()
        )));
    }
    let text = std::str::from_utf8(text).map_err(|_| format("it is no text"))?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let magic = lines.next().and_then(|line| line.trim().parse().ok());
    if magic != Some(MAGIC) {
        return Err(format("it does not begin with 7767517"));
    }
    let (layers, blobs) = lines
        .next()
        .and_then(counts)
        .ok_or_else(|| format("its second line does not say how many layers and blobs there are"))?;
    let layers = bounded(layers, LAYERS_MAX, "layers")?;
    let blobs = bounded(blobs, BLOBS_MAX, "blobs")?;
    let parsed: Vec<Layer> = lines.by_ref().take(layers).map(layer).collect::<Result<_, _>>()?;
    if parsed.len() < layers {
        let found = parsed.len();
        return Err(ImportError::Damaged(format!(
            "it says that it has {layers} layers, and has {found}"
        )));
    }
    if lines.next().is_some() {
        return Err(ImportError::Damaged(format!(
            "it goes on after its {layers} layers"
        )));
    }
    let made: usize = parsed.iter().map(|layer| layer.outputs.len()).sum();
    // One more: the input may be a blob that no layer makes.
    if made > blobs + 1 {
        return Err(ImportError::Damaged(format!(
            "it says that it has {blobs} blobs, and makes {made}"
        )));
    }
    Ok(parsed)
}

fn counts(line: &str) -> Option<(i64, i64)> {
    let mut words = line.split_whitespace();
    let counts = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(counts)
}

fn bounded(count: i64, most: usize, of: &str) -> Result<usize, ImportError> {
    match usize::try_from(count) {
        Ok(1..) if count as usize <= most => Ok(count as usize),
        Ok(1..) => Err(ImportError::TooLarge(format!(
            "it has {count} {of}, {most} are read"
        ))),
        _ => Err(ImportError::Damaged(format!("it says that it has {count} {of}"))),
    }
}

fn layer(line: &str) -> Result<Layer, ImportError> {
    let bad = |why: &str| ImportError::Damaged(format!("its line \"{}\" {why}", shown(line)));
    let mut words = line.split_whitespace();
    let mut name = || {
        let word = words.next().ok_or_else(|| bad("ends too early"))?;
        if word.len() > NAME_BYTES_MAX {
            return Err(bad("has a name that is too long"));
        }
        Ok(word.to_owned())
    };
    let (kind, layer_name) = (name()?, name()?);
    let mut count = || {
        let count = name()?.parse::<usize>().ok();
        count
            .filter(|count| *count <= BLOBS_MAX)
            .ok_or_else(|| bad("does not say how many blobs it takes and makes"))
    };
    let (takes, makes) = (count()?, count()?);
    // No capacity is taken from the numbers: names that are not there end it.
    let inputs = (0..takes).map(|_| name()).collect::<Result<Vec<_>, _>>()?;
    let outputs = (0..makes).map(|_| name()).collect::<Result<Vec<_>, _>>()?;
    let mut settings = BTreeMap::new();
    for word in words {
        let (id, value) = setting(word).ok_or_else(|| bad(&format!("has the setting {}", shown(word))))?;
        settings.insert(id, value);
    }
    Ok(Layer {
        kind,
        name: layer_name,
        inputs,
        outputs,
        settings,
    })
}

/// `4=1`, `10=0.5`, `9=a,b` or, in the older way, `-23309=2,a,b`.
fn setting(word: &str) -> Option<(i32, Setting)> {
    let (key, value) = word.split_once('=')?;
    let key: i32 = key.parse().ok()?;
    let old_array = key <= ARRAY_KEYS;
    let id = if old_array {
        ARRAY_KEYS.checked_sub(key)?
    } else {
        key
    };
    if !(0..SETTINGS_MAX).contains(&id) {
        return None;
    }
    let setting = if old_array {
        let (len, values) = value.split_once(',').unwrap_or((value, ""));
        let values = numbers(values)?;
        if len.parse() != Ok(values.len()) {
            return None;
        }
        Setting::Array(values)
    } else if value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '"') {
        Setting::Text
    } else if value.contains(',') {
        Setting::Array(numbers(value.trim_end_matches(','))?)
    } else {
        Setting::Number(number(value)?)
    };
    Some((id, setting))
}

fn numbers(list: &str) -> Option<Vec<f64>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    list.split(',').map(number).collect()
}

fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = text.parse().ok().filter(|_| plain)?;
    (value as f32).is_finite().then_some(value)
}
