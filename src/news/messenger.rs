//! Owns the messenger's life: what it reads, who it has tell it, and its end. Never talks back to the service.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as End, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::backlog::Backlog;
use super::webhook::Sender;
use super::{Delivery, Event, FAREWELL, Line, command};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, HooksConfig, Webhook};

/// Longest line, bytes: an event with the longest paths and reason takes a twentieth of it.
const LINE_MAX_BYTES: u64 = 1 << 20;

/// What logs call the commands together.
const COMMANDS: &str = "hooks";

/// Reads events from `pipe` and has them told, until the pipe ends; then what waits is told within [`FAREWELL`].
/// `config` is the configuration file, absolute.
///
/// # Errors
/// The pipe cannot be read.
pub fn run(pipe: impl Read, config: &Path) -> io::Result<()> {
    let mut messenger = Messenger::new(config);
    messenger.read_config();
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    let read = loop {
        line.clear();
        match (&mut pipe).take(LINE_MAX_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break Ok(()),
            Err(error) => break Err(error),
            Ok(_) => match serde_json::from_slice(&line) {
                Ok(Line::Tell(event)) => messenger.tell(Arc::new(*event)),
                Ok(Line::Reload) => messenger.read_config(),
                Err(error) => tracing::warn!("a line of the service cannot be read and is left out: {error}"),
            },
        }
    };
    messenger.end();
    read
}

/// Who hears of what.
struct Messenger {
    config: PathBuf,
    clock: SharedClock,
    hooks: Arc<Mutex<HooksConfig>>,
    /// `None` before the first command is configured.
    commands: Option<Arc<Backlog>>,
    webhooks: Vec<(Webhook, Arc<Backlog>)>,
    /// Every thread holds one until it ends.
    ends: Option<End<()>>,
    ended: Receiver<()>,
}

impl Messenger {
    fn new(config: &Path) -> Self {
        let (ends, ended) = channel();
        Self {
            config: config.to_owned(),
            clock: SystemClock::shared(),
            hooks: Arc::default(),
            commands: None,
            webhooks: Vec::new(),
            ends: Some(ends),
            ended,
        }
    }

    /// Follows the file. The service has read it just before: a mistake that appeared in between is told by it, too.
    fn read_config(&mut self) {
        match Config::load(&self.config) {
            Ok(config) => self.follow(config.hooks, config.webhooks),
            Err(error) => tracing::warn!("hooks and webhooks stay as they were: {error}"),
        }
    }

    /// What is still wanted keeps what waits for it.
    fn follow(&mut self, hooks: HooksConfig, wanted: Vec<Webhook>) {
        let any = hooks.on_done.is_some() || hooks.on_failed.is_some() || hooks.on_idle.is_some();
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = hooks;
        if any && self.commands.is_none() {
            self.commands = self.start_commands();
        }
        let mut before = std::mem::take(&mut self.webhooks);
        let mut names = BTreeMap::<String, u32>::new();
        for webhook in wanted {
            let nth = names.entry(webhook.host().to_owned()).or_default();
            *nth += 1;
            if let Some(at) = before.iter().position(|(known, _)| *known == webhook) {
                self.webhooks.push(before.swap_remove(at));
                continue;
            }
            let name = match nth {
                1 => format!("webhook {}", webhook.host()),
                n => format!("webhook {} ({n})", webhook.host()),
            };
            if let Some(backlog) = self.start_webhook(name, &webhook) {
                self.webhooks.push((webhook, backlog));
            }
        }
        for (_, backlog) in before {
            backlog.retire();
        }
    }

    fn start_commands(&self) -> Option<Arc<Backlog>> {
        let (hooks, config, clock) = (Arc::clone(&self.hooks), self.config.clone(), self.clock.clone());
        self.start(COMMANDS.to_owned(), move |backlog, event| {
            let hooks = hooks.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(hook) = hooks.command(event.event) else {
                return Delivery::Done;
            };
            command::run(hook, event, &config, hooks.timeout, clock.as_ref(), || {
                backlog.is_over()
            })
        })
    }

    fn start_webhook(&self, name: String, webhook: &Webhook) -> Option<Arc<Backlog>> {
        let sender = Sender::new(webhook.clone());
        self.start(name, move |_, event| sender.deliver(event))
    }

    /// A thread that tells. `None`, and it is said, where the system grants none.
    fn start(
        &self,
        name: String,
        mut deliver: impl FnMut(&Backlog, &Event) -> Delivery + Send + 'static,
    ) -> Option<Arc<Backlog>> {
        let backlog = Backlog::new(name, self.clock.clone());
        let (served, end) = (Arc::clone(&backlog), self.ends.clone());
        let started = thread::Builder::new().name("news".to_owned()).spawn(move || {
            served.serve(|event| deliver(&served, event));
            drop(end);
        });
        if let Err(error) = started {
            let why = crate::error::plain(&error);
            tracing::error!("{}: no thread for it ({why}); it is told nothing", backlog.name());
            return None;
        }
        Some(backlog)
    }

    fn tell(&self, event: Arc<Event>) {
        let is_hooked = self
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .command(event.event)
            .is_some();
        if let Some(commands) = self.commands.as_ref().filter(|_| is_hooked) {
            commands.put(Arc::clone(&event));
        }
        for (webhook, backlog) in &self.webhooks {
            if webhook.events.contains(&event.event) {
                backlog.put(Arc::clone(&event));
            }
        }
    }

    /// Has what waits told, and says what was not.
    fn end(mut self) {
        let until = self.clock.monotonic() + FAREWELL;
        let backlogs: Vec<_> = self
            .webhooks
            .iter()
            .map(|(_, backlog)| backlog)
            .chain(&self.commands)
            .collect();
        for backlog in &backlogs {
            backlog.close(until);
        }
        self.ends = None;
        // Nobody sends: what is waited for is that all have hung up. A little longer, for a command to be killed.
        match self.ended.recv_timeout(FAREWELL + FAREWELL / 10) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
        for backlog in backlogs {
            match backlog.left() {
                0 => {}
                left => tracing::warn!("{}: {left} news were not told before the end", backlog.name()),
            }
        }
    }
}
