//! Owns HTTP to the outside: one POST for an event, what of its answer means "again" and what means "never". The only
//! file that names the HTTP client. Never follows a redirect, never reads an answer's body, never logs more of an
//! address than its host.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Request, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use super::{Delivery, Event};
use crate::config::{Happening, Webhook, WebhookFormat};
use crate::error::plain;

/// Headers of an answer, bytes: more is an attack.
const ANSWER_HEADERS_MAX_BYTES: usize = 32 << 10;

/// Largest token file, bytes.
const TOKEN_MAX_BYTES: u64 = 8 << 10;

/// What sends to one address.
#[derive(Debug)]
pub struct Sender {
    webhook: Webhook,
    agent: Agent,
}

impl Sender {
    /// Connects to nobody yet.
    pub fn new(webhook: Webhook) -> Self {
        let tls = TlsConfig::builder()
            // The system's certificates: an administrator's own authority counts.
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let agent = Agent::config_builder()
            .timeout_global(Some(webhook.timeout))
            .tls_config(tls)
            // A POST that is redirected arrives as a GET, and the token elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(ANSWER_HEADERS_MAX_BYTES)
            .user_agent(concat!("upscaled/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { webhook, agent }
    }

    /// One try.
    pub fn deliver(&self, event: &Event) -> Delivery {
        let request = match self.request(event) {
            Ok(request) => request,
            Err(delivery) => return delivery,
        };
        match self.agent.run(request) {
            Ok(answer) => judged(answer.status(), answer.headers()),
            Err(error) => Delivery::Again {
                why: format!("does not answer: {}", in_words(error)),
                after: None,
                was_heard: false,
            },
        }
    }

    fn request(&self, event: &Event) -> Result<Request<Vec<u8>>, Delivery> {
        let never = |why: String| Delivery::Never(format!("the message cannot be written: {why}"));
        let mut request = Request::post(&self.webhook.url);
        for (name, value) in &self.webhook.headers {
            request = request.header(name, value.reveal());
        }
        if let Some(token) = self.token()? {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let body = match self.webhook.format {
            WebhookFormat::Json => {
                request = request.header("Content-Type", "application/json");
                serde_json::to_vec(event).map_err(|error| never(error.to_string()))?
            }
            WebhookFormat::Ntfy => {
                let (title, priority, tags) = ntfy(event.event);
                request = request
                    .header("Content-Type", "text/plain; charset=utf-8")
                    .header("Title", title)
                    .header("Priority", priority)
                    .header("Tags", tags);
                event.text.clone().into_bytes()
            }
        };
        // The error names the part that is wrong and nothing of its content.
        request.body(body).map_err(|error| never(error.to_string()))
    }

    fn token(&self) -> Result<Option<String>, Delivery> {
        let Some(path) = &self.webhook.token_file else {
            return Ok(self.webhook.token.as_ref().map(|token| token.reveal().to_owned()));
        };
        let token = read_token(path).map_err(|why| {
            let path = path.display();
            Delivery::Again {
                why: format!("token_file {path}: {why}"),
                after: None,
                was_heard: false,
            }
        })?;
        Ok(Some(token))
    }
}

/// Titles are ASCII, as headers are; names of files stand in the text.
fn ntfy(event: Happening) -> (&'static str, &'static str, &'static str) {
    match event {
        Happening::Done => ("upscaled: done", "default", "white_check_mark"),
        Happening::Failed => ("upscaled: failed", "high", "warning"),
        Happening::Idle => ("upscaled: idle", "low", "zzz"),
    }
}

fn read_token(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TOKEN_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| plain(&error))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err("holds no token; write it on one line".to_owned());
    }
    Ok(token.to_owned())
}

/// What an answer means.
fn judged(status: StatusCode, headers: &HeaderMap) -> Delivery {
    if status.is_success() {
        return Delivery::Done;
    }
    let passes = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if passes {
        let after = headers
            .get("Retry-After")
            .and_then(|after| after.to_str().ok()?.trim().parse().ok());
        return Delivery::Again {
            why: format!("answers {status}"),
            after: after.map(Duration::from_secs),
            was_heard: true,
        };
    }
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check token",
        _ if status.is_redirection() => "it has moved; write the new address as url",
        _ => "check url and format",
    };
    Delivery::Never(format!("answers {status}; {remedy}"))
}

/// The client's error without the address, which may be a secret.
fn in_words(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => io_in_words(&error),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "its name is unknown".to_owned(),
        ureq::Error::BadUri(_) => "its address cannot be used; check url".to_owned(),
        other => tls_in_words(&other.to_string()),
    }
}

fn tls_in_words(text: &str) -> String {
    let text = crate::error::one_line(text);
    match text.contains("peer certificate") {
        true => format!("its certificate is not trusted here ({text}); add its authority to the system's"),
        false => text,
    }
}

fn io_in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this service may not use the network; see the README on webhooks and systemd".to_owned()
        }
        _ => tls_in_words(&plain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(status: u16, headers: &[(&'static str, &str)]) -> Option<Option<u64>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        match judged(StatusCode::from_u16(status).unwrap(), &map) {
            Delivery::Again { after, .. } => Some(after.map(|after| after.as_secs())),
            _ => None,
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_told() {
        assert_eq!(again(503, &[("Retry-After", "7")]), Some(Some(7)));
        assert_eq!(
            again(429, &[("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")]),
            Some(None)
        );
        assert_eq!(again(408, &[]), Some(None));
        for status in [302, 400, 401, 404, 413] {
            assert_eq!(again(status, &[]), None);
        }
        let never = judged(StatusCode::UNAUTHORIZED, &HeaderMap::new());
        assert_eq!(
            never,
            Delivery::Never("answers 401 Unauthorized; check token".to_owned())
        );
    }
}
