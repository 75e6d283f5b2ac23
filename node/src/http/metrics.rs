//! What `/metrics` shows: counters of the API, and the groups as they stand.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::error::Error;
use super::{Api, Response};

/// How often samples are folded together, so that they do not pile up between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The node's meters.
pub struct Metrics {
    handle: PrometheusHandle,
    succeeded: Counter,
    client_errors: Counter,
    server_errors: Counter,
    seconds: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Makes the process's meters known to all parts of the node; nodes that share a process share
    /// them. To be called within a tokio runtime, before the parts are opened.
    pub fn install() -> Metrics {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder may be there already: then this one shows only the groups.
            let _ = metrics::set_global_recorder(recorder);
            let upkeep = handle.clone();
            tokio::spawn(async move {
                let mut ticker = tokio::time::interval(UPKEEP);
                loop {
                    ticker.tick().await;
                    upkeep.run_upkeep();
                }
            });
            handle
        });
        let counter = |class: &'static str| metrics::counter!("ordeal_http_responses_total", "class" => class);
        Metrics {
            handle: handle.clone(),
            succeeded: counter("2xx"),
            client_errors: counter("4xx"),
            server_errors: counter("5xx"),
            seconds: metrics::histogram!("ordeal_http_request_seconds"),
        }
    }

    pub(super) fn count_response(&self, status: StatusCode, took: Duration) {
        self.seconds.record(took);
        match status.as_u16() {
            ..400 => self.succeeded.increment(1),
            400..500 => self.client_errors.increment(1),
            _ => self.server_errors.increment(1),
        }
    }
}

impl Api {
    pub(super) async fn show_metrics(&self) -> Result<Response, Error> {
        let status = self
            .router
            .status()
            .await
            .map_err(|failure| self.failed(&failure))?;
        let mut text = self.metrics.handle.render();
        let mut gauge = |name: &str, what: &str, of: &dyn Fn(&crate::group::GroupStatus) -> u64| {
            let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge");
            for group in &status.groups {
                let _ = writeln!(text, "{name}{{group=\"{}\"}} {}", group.group, of(group));
            }
        };
        gauge("ordeal_raft_term", "Current term.", &|group| group.term);
        gauge(
            "ordeal_raft_leading",
            "1 where this node leads.",
            &|group| u64::from(group.role == "leader"),
        );
        gauge(
            "ordeal_raft_leader",
            "Id of the leader, 0 if unknown.",
            &|group| group.leader.unwrap_or(0),
        );
        gauge(
            "ordeal_raft_commit_index",
            "Highest committed index.",
            &|group| group.commit,
        );
        gauge(
            "ordeal_raft_applied_index",
            "Highest applied index.",
            &|group| group.applied,
        );
        gauge("ordeal_raft_log_entries", "Entries in the log.", &|group| {
            (group.last_index + 1).saturating_sub(group.first_index)
        });
        let (mut keys, mut bytes) = (0, 0);
        for state in self.router.states() {
            let state = state.read();
            keys += state.keys() as u64;
            bytes += state.size_bytes();
        }
        let mut node = |name: &str, what: &str, value: u64| {
            let _ = writeln!(
                text,
                "# HELP {name} {what}\n# TYPE {name} gauge\n{name} {value}"
            );
        };
        node("ordeal_state_keys", "Keys held.", keys);
        node(
            "ordeal_state_bytes",
            "Bytes of keys and values held.",
            bytes,
        );
        node(
            "ordeal_disk_bytes",
            "Bytes of the data directory.",
            status.disk_bytes,
        );
        node(
            "ordeal_uptime_ms",
            "Milliseconds since the start.",
            status.uptime_ms,
        );
        let mut response = hyper::Response::new(Full::new(Bytes::from(text)));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }
}
