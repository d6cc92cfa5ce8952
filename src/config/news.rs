//! Owns what `[hooks]`, `[[webhook]]` and `[metrics]` say: who is told what happened, and where the numbers are
//! answered. Never tells anybody anything and never reads the file that holds a token.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::file::{Section, blocks};
use super::read::{distinct, found, list, path, text, time, word};
use super::values::{Word, quoted};

/// Every key of `[hooks]`.
pub(super) const HOOKS_KEYS: &[&str] = &["on_done", "on_failed", "on_idle", "timeout"];

/// Every key of `[[webhook]]`.
pub(super) const WEBHOOK_KEYS: &[&str] = &[
    "url",
    "format",
    "events",
    "timeout",
    "token",
    "token_file",
    "headers",
];

/// Every key of `[metrics]`.
pub(super) const METRICS_KEYS: &[&str] = &["listen"];

/// Each has a thread and news that wait.
const WEBHOOKS_MAX: usize = 16;

/// Commands wait for one another: what takes longer should start something else and return.
const HOOK_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// An answer that takes longer than this is none.
const WEBHOOK_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(120);

/// Longest command, words; more is a list of files, which a hook does not take.
const WORDS_MAX: usize = 64;

/// Headers of one webhook: a request with more is refused by servers.
const HEADERS_MAX: usize = 16;

/// Longest address, header and token, bytes: what servers accept.
const TEXT_MAX_BYTES: usize = 4096;

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A job is done.
    Done,
    /// A job failed for good.
    Failed,
    /// The queue ran empty after some work.
    Idle,
}

impl Happening {
    /// The key of its command.
    pub fn hook(self) -> &'static str {
        match self {
            Self::Done => "on_done",
            Self::Failed => "on_failed",
            Self::Idle => "on_idle",
        }
    }
}

impl Word for Happening {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("done", Self::Done),
        ("failed", Self::Failed),
        ("idle", Self::Idle),
    ];
}

/// A command as a list of words; no shell reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// An absolute path, or a bare name that is looked for in `PATH`.
    pub program: PathBuf,
    /// What follows it.
    pub arguments: Vec<String>,
}

impl Command {
    /// The list that it was written as, lossily.
    pub fn words(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program)
            .chain(self.arguments.iter().cloned())
            .collect()
    }
}

/// `[hooks]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HooksConfig {
    /// Run for every job that is done.
    pub on_done: Option<Command>,
    /// Run for every job that failed for good.
    pub on_failed: Option<Command>,
    /// Run when the queue ran empty.
    pub on_idle: Option<Command>,
    /// What still runs after it is killed.
    pub timeout: Duration,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            on_done: None,
            on_failed: None,
            on_idle: None,
            timeout: Duration::from_secs(60),
        }
    }
}

impl HooksConfig {
    /// What is run when this happens.
    pub fn command(&self, happening: Happening) -> Option<&Command> {
        match happening {
            Happening::Done => self.on_done.as_ref(),
            Happening::Failed => self.on_failed.as_ref(),
            Happening::Idle => self.on_idle.as_ref(),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// `[[webhook]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `http://` or `https://`, without user and password.
    pub url: String,
    /// What is sent.
    pub format: WebhookFormat,
    /// What it is told of. Never empty.
    pub events: Vec<Happening>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// A file with the token, read for every message.
    pub token_file: Option<PathBuf>,
    /// Sent as they are.
    pub headers: Vec<(String, Secret)>,
}

impl Webhook {
    /// Host and port, for logs: the rest of an address may be a secret.
    pub fn host(&self) -> &str {
        split_url(&self.url).map_or("", |(_, host, _)| host)
    }
}

/// `format` of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The event as a JSON document.
    Json,
    /// A line of text, with title, priority and tags as ntfy reads them.
    Ntfy,
}

impl Word for WebhookFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("ntfy", Self::Ntfy)];
}

/// `[metrics]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where `/metrics` and `/health` are answered; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

pub(super) fn read_hooks(section: &mut Section<'_>, base: &Path) -> HooksConfig {
    section.refuse_unknown(HOOKS_KEYS, "in [hooks]");
    let default = HooksConfig::default();
    HooksConfig {
        on_done: section.value("on_done", None, |v| command(v, base)),
        on_failed: section.value("on_failed", None, |v| command(v, base)),
        on_idle: section.value("on_idle", None, |v| command(v, base)),
        timeout: section.value("timeout", default.timeout, |v| time(v, HOOK_TIMEOUT)),
    }
}

pub(super) fn read_webhooks(root: &Table, base: &Path, problems: &mut Vec<String>) -> Vec<Webhook> {
    let fewer = "let one address pass the news on";
    let mut webhooks = Vec::new();
    for (index, table) in blocks(root, "webhook", WEBHOOKS_MAX, fewer, problems)
        .into_iter()
        .enumerate()
    {
        let place = format!("[[webhook]] {}", index + 1);
        let mut section = Section::new(format!("{place} "), table, problems);
        section.refuse_unknown(WEBHOOK_KEYS, &format!("in {place}"));
        webhooks.extend(read_webhook(&mut section, base));
    }
    webhooks
}

fn read_webhook(section: &mut Section<'_>, base: &Path) -> Option<Webhook> {
    const EVENTS: &str = "events such as [\"failed\", \"idle\"]";
    let all = Happening::WORDS.iter().map(|(_, happening)| *happening).collect();
    let address = section.required("url", "an address such as \"https://ntfy.sh/my-topic\"", url);
    let webhook = Webhook {
        url: String::new(),
        format: section.value("format", WebhookFormat::Json, word),
        events: section.value("events", all, |v| distinct(list(v, EVENTS, word)?)),
        timeout: section.value("timeout", Duration::from_secs(10), |v| time(v, WEBHOOK_TIMEOUT)),
        token: section.value("token", None, |v| Ok(Some(Secret::new(secret(v)?)))),
        token_file: section.value("token_file", None, |v| path(v, base).map(Some)),
        headers: section.value("headers", Vec::new(), headers),
    };
    let url = address?;
    let has_path = split_url(&url).is_some_and(|(_, _, rest)| rest.len() > 1);
    let bearer = |(name, _): &(String, Secret)| name.eq_ignore_ascii_case("authorization");
    let is_token = webhook.token.is_some() || webhook.token_file.is_some();
    let mut refuse = |key: &str, why: &str| section.refuse(key, why);
    if webhook.format == WebhookFormat::Ntfy && !has_path {
        refuse(
            "url",
            "names no topic; write it behind the host, such as https://ntfy.sh/my-topic",
        );
    }
    if webhook.token.is_some() && webhook.token_file.is_some() {
        refuse("token_file", "stands beside token; leave one of them out");
    }
    if is_token && webhook.headers.iter().any(bearer) {
        refuse(
            "headers",
            "holds Authorization, which the token is sent as; leave one of them out",
        );
    }
    Some(Webhook { url, ..webhook })
}

pub(super) fn read_metrics(section: &mut Section<'_>) -> MetricsConfig {
    section.refuse_unknown(METRICS_KEYS, "in [metrics]");
    MetricsConfig {
        listen: section.value("listen", None, listen),
    }
}

/// A command; an empty list is none.
fn command(value: &Value, base: &Path) -> Result<Option<Command>, String> {
    const WHAT: &str = "a list of words such as [\"/usr/local/bin/tell\", \"--quick\"]";
    let Value::Array(words) = value else {
        let hint = if value.is_str() {
            "; no shell splits a line"
        } else {
            ""
        };
        return Err(format!("must be {WHAT}, not {}{hint}", found(value)));
    };
    if words.len() > WORDS_MAX {
        return Err(format!("has more than {WORDS_MAX} words; write a script"));
    }
    let Some((program, arguments)) = words.split_first() else {
        return Ok(None);
    };
    let argument = |value: &Value| {
        let word = text(value, "words in quotes")?;
        match word.contains('\0') {
            true => Err("holds a NUL character; leave it out".to_owned()),
            false => Ok(word.to_owned()),
        }
    };
    let name = argument(program)?;
    let program = match name.contains('/') {
        true => path(program, base)?,
        false if name.trim().is_empty() => return Err(format!("names no program; write {WHAT}")),
        false => PathBuf::from(name),
    };
    let arguments = arguments.iter().map(argument).collect::<Result<_, _>>()?;
    Ok(Some(Command { program, arguments }))
}

/// An address that news are sent to.
fn url(value: &Value) -> Result<String, String> {
    const FORM: &str = "must be an address such as \"https://ntfy.sh/my-topic\"";
    let url = text(value, "an address such as \"https://ntfy.sh/my-topic\"")?;
    if url.len() > TEXT_MAX_BYTES {
        return Err("is longer than 4096 bytes; shorten it".to_owned());
    }
    if !url.chars().all(|c| c.is_ascii_graphic()) {
        return Err("holds a space or a letter outside ASCII; write it as %20 and the like".to_owned());
    }
    let Some((_, host, _)) = split_url(url) else {
        return Err(format!("{FORM}, with http:// or https://, not {}", quoted(url)));
    };
    if host.contains('@') {
        // Not quoted: it holds a password.
        return Err("holds a user or password before the host; write token or headers instead".to_owned());
    }
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, port),
        Some(_) => return Err(format!("{FORM}, not {}", quoted(url))),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_ok = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    if name.is_empty() || !port_ok || url.contains('#') {
        return Err(format!("{FORM}, not {}", quoted(url)));
    }
    Ok(url.to_owned())
}

/// Scheme, host with port, and the rest.
fn split_url(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let known = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (known && !host.is_empty()).then_some((scheme, host, rest))
}

/// A token or the value of a header. What is wrong with it is told without it.
fn secret(value: &Value) -> Result<String, String> {
    let Some(secret) = value.as_str() else {
        return Err("must be a text in quotes".to_owned());
    };
    let is_sendable = |c: char| c.is_ascii_graphic() || c == ' ';
    if secret.trim().is_empty() || secret.len() > TEXT_MAX_BYTES || !secret.chars().all(is_sendable) {
        return Err("must be 1 to 4096 letters of ASCII without line breaks".to_owned());
    }
    Ok(secret.trim().to_owned())
}

/// What HTTP itself decides, and what would let one message look like two.
const RESERVED_HEADERS: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "user-agent",
];

fn headers(value: &Value) -> Result<Vec<(String, Secret)>, String> {
    let Value::Table(table) = value else {
        return Err(format!(
            "must be a table such as {{ X-Key = \"value\" }}, not {}",
            found(value)
        ));
    };
    if table.len() > HEADERS_MAX {
        return Err(format!("holds more than {HEADERS_MAX} headers; leave some out"));
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let read = |(name, value): (&String, &Value)| {
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(format!("{} is no name of a header; correct it", quoted(name)));
        }
        if RESERVED_HEADERS
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        {
            return Err(format!(
                "{} is set by upscaled itself; leave it out",
                quoted(name)
            ));
        }
        let value = secret(value).map_err(|why| format!("{} {why}", quoted(name)))?;
        Ok((name.clone(), Secret::new(value)))
    };
    table.iter().map(read).collect()
}

/// Where numbers are answered. An address and no name: which one a name means is decided elsewhere.
fn listen(value: &Value) -> Result<Option<SocketAddr>, String> {
    const FORM: &str = "must be \"off\" or an address with its port such as \"127.0.0.1:9753\"";
    let text = text(value, "\"off\" or an address such as \"127.0.0.1:9753\"")?;
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(format!("{FORM}, not {}; port 0 is none", quoted(text))),
        Ok(address) => Ok(Some(address)),
        Err(_) if text.starts_with("localhost:") => {
            Err(format!("{FORM}, not {}; write 127.0.0.1", quoted(text)))
        }
        Err(_) => Err(format!("{FORM}, not {}", quoted(text))),
    }
}
