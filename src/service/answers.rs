//! Owns the answers to GET /metrics and GET /health, where the configuration says so: who may connect, how long a
//! connection lasts, what is said. Never changes anything and never asks the ledger: it tells what the overview saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::metrics::Moment;
use super::shared::Shared;
use crate::error::plain;
use crate::status::ServiceState;

/// Connections at a time: a Prometheus, a health check and a curious person need three.
const CONNECTIONS_MAX: usize = 16;

/// Longest that one may last: a request of a line, an answer of a few pages.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// Longest that its request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Largest head of a request, bytes, and most headers: what scrapers send, many times.
const REQUEST_MAX_BYTES: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Between two tries at an address that is taken.
const TRY_INTERVAL: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be accepted: mostly because there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers where the configuration of the moment says, until `end` turns true. An address that cannot be had is told
/// once and tried again: numbers are worth no service.
pub async fn run(shared: Arc<Shared>, mut end: watch::Receiver<bool>) {
    let mut config = shared.config.clone();
    let mut told = None::<(SocketAddr, String)>;
    while !*end.borrow() {
        let listen = config.borrow_and_update().metrics.listen;
        let bound = match listen {
            Some(address) => Some((address, TcpListener::bind(address).await)),
            None => None,
        };
        tokio::select! {
            () = serve_or_wait(&shared, bound, &mut told) => {}
            () = changed(&mut config, listen) => {}
            _ = end.wait_for(|end| *end) => {}
        }
    }
}

/// Ends when the address is another one.
async fn changed(config: &mut watch::Receiver<Arc<crate::config::Config>>, listen: Option<SocketAddr>) {
    let is_over = config
        .wait_for(|config| config.metrics.listen != listen)
        .await
        .is_err();
    if is_over {
        // Whoever could change it is gone.
        std::future::pending::<()>().await;
    }
}

/// Serves for ever, or ends when an address is to be tried again.
async fn serve_or_wait(
    shared: &Arc<Shared>,
    bound: Option<(SocketAddr, std::io::Result<TcpListener>)>,
    told: &mut Option<(SocketAddr, String)>,
) {
    match bound {
        None => std::future::pending().await,
        Some((address, Ok(listener))) => {
            *told = None;
            tracing::info!(%address, "metrics are answered at http://{address}/metrics");
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "whoever reaches {address} can read metrics: nobody is asked for a password");
            }
            serve(shared, &listener).await;
        }
        Some((address, Err(error))) => {
            let why = plain(&error);
            let news = Some((address, why.clone()));
            if *told != news {
                tracing::warn!(
                    %address,
                    "cannot answer metrics at {address}: {why}; it is tried again, the rest works; free it or change \
                     listen in [metrics]"
                );
                *told = news;
            }
            sleep(TRY_INTERVAL).await;
        }
    }
}

async fn serve(shared: &Arc<Shared>, listener: &TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Before the accept: who comes when all are taken waits in the kernel's queue, which is bounded.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    // Late, or gone: the other side's affair.
                    let _ = timeout(CONNECTION_TIME, converse(shared, stream)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a connection was not accepted: {}", plain(&error));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(shared: Arc<Shared>, stream: TcpStream) -> Result<(), hyper::Error> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .keep_alive(false)
        .max_buf_size(REQUEST_MAX_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request: Request<Incoming>| {
                let answer = answer(&shared, request.method(), request.uri().path());
                async { Ok::<_, Infallible>(answer) }
            }),
        )
        .await
}

fn answer(shared: &Shared, method: &Method, path: &str) -> Response<String> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut answer = page(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".to_owned(),
        );
        answer
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/metrics" => {
            let seen = shared.seen.borrow();
            let text = shared.metrics.text(seen.as_ref(), moment(shared));
            page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/health" => {
            let (is_well, text) = health(shared);
            let status = match is_well {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            page(status, "application/json", text)
        }
        _ => page(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is /metrics and /health\n".to_owned(),
        ),
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<String> {
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    answer
}

fn moment(shared: &Shared) -> Moment {
    Moment {
        at: shared.clock.wall(),
        stalled: shared.pulse.stalled(shared.clock.monotonic()),
        news_dropped: shared.post.dropped(),
    }
}

/// Whether all is well, by what systemd's watchdog goes by and by whether the queue can work; and why, as JSON.
fn health(shared: &Shared) -> (bool, String) {
    let now = shared.clock.monotonic();
    let is_alive = shared.pulse.is_alive(now, shared.config().job_timeout);
    let seen = shared.seen.borrow();
    let service = seen
        .as_ref()
        .map_or(ServiceState::Starting, |seen| seen.snapshot.service);
    let blocked_reason = seen
        .as_ref()
        .and_then(|seen| seen.snapshot.blocked_reason.clone());
    let is_well = is_alive && matches!(service, ServiceState::Running | ServiceState::Paused);
    let stalled = shared.pulse.stalled(now);
    let progress_at = shared.clock.wall().saturating_sub(stalled).ok();
    let json = serde_json::json!({
        "ok": is_well,
        "service": service,
        "alive": is_alive,
        "blocked_reason": blocked_reason,
        "last_progress_at": progress_at,
        "version": env!("CARGO_PKG_VERSION"),
    });
    (is_well, format!("{json}\n"))
}
