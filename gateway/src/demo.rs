//! The runner of a demo: who owns the processes of this cluster, and may hurt them.
//!
//! Owns how it is reached: a file, read at each call, because the runner writes it anew at each start. Must not know what is
//! asked; who may ask is looked at before ([`crate::rest`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{DemoControl, Problem};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The runner waits up to 10 s for a process to be gone.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Longest answer that is read: some thirty processes of a hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// An admin stays one for this long where no replica can be asked: somebody must be able to heal them all.
const ADMIN_KEPT: Duration = Duration::from_secs(600);
/// Admins remembered; more than look at one demo.
const ADMINS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct DemoRunner {
    file: PathBuf,
    http: Client,
    /// Sessions whose right the replicas have confirmed, and when.
    admins: Mutex<HashMap<Uuid, Instant>>,
}

impl DemoRunner {
    /// As configured; `None` where this is no demo.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(file) = file else { return Ok(None) };
        // The client wants one, although it speaks plain HTTP on loopback alone; who has chosen it before has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .timeout(ANSWER_WAIT)
            // The token goes to the runner and to nobody else.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .context("making the HTTP client of the demo")?;
        Ok(Some(Self { file: file.to_owned(), http, admins: Mutex::default() }))
    }

    /// Asks the runner.
    ///
    /// # Errors
    /// What the runner refused, or `unavailable` where it does not answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, WireError> {
        let gone = |why: &str| {
            let text = format!("the demo's runner {why}: is `deploy/up --demo` still running?");
            WireError::new(ErrorCode::Unavailable, text)
        };
        let file = tokio::fs::read(&self.file).await.map_err(|_| gone("has left no address"))?;
        let control: DemoControl =
            serde_json::from_slice(&file).map_err(|_| gone("has left an address that cannot be read"))?;
        if !control.address.ip().is_loopback() {
            return Err(gone("is not on this machine"));
        }
        let mut request =
            self.http.request(method, format!("http://{}{path}", control.address)).bearer_auth(control.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer = request.send().await.map_err(|_| gone("does not answer"))?;
        let is_success = answer.status().is_success();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| gone("broke off"))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(gone("says too much"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if is_success {
            return serde_json::from_slice(&bytes).map_err(|_| gone("says something else"));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            // Its token is this gateway's matter: nobody else can do anything about it.
            Ok(problem) if problem.error.code != ErrorCode::Unauthenticated => Err(problem.error),
            _ => Err(gone("does not know this gateway")),
        }
    }

    /// The replicas have said that this session is an admin's.
    pub(crate) fn confirm(&self, session: Uuid) {
        let mut admins = self.admins.lock().unwrap_or_else(PoisonError::into_inner);
        admins.retain(|_, at| at.elapsed() < ADMIN_KEPT);
        if admins.len() < ADMINS_MAX || admins.contains_key(&session) {
            admins.insert(session, Instant::now());
        }
    }

    /// They have said otherwise since.
    pub(crate) fn doubt(&self, session: Uuid) {
        self.admins.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    /// Whether they have said so a while ago.
    pub(crate) fn was_confirmed(&self, session: Uuid) -> bool {
        let admins = self.admins.lock().unwrap_or_else(PoisonError::into_inner);
        admins.get(&session).is_some_and(|at| at.elapsed() < ADMIN_KEPT)
    }
}
