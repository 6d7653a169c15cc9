//! `ringleader watch`: the traffic of a ring, for people or for programs.

mod view;

use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use clap::builder::FalseyValueParser;
use ringleader_client::transport::hub::{self, HubUrl, Link, Purpose};
use ringleader_shared::wire::{self, Body, DecodeError, Frame};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use super::join::Where;
use super::terminal::{Paint, Printer, now, printable};
use crate::logs;
use view::View;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WatchArgs {
    #[command(flatten)]
    place: Where,
    /// Print the frames themselves, as they came, each on a line.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  ringleader watch                                  the hub on this machine
  ringleader watch --hub ws://lab:8080 --ring red   another ring of another hub
  ringleader watch --hub wss://lab:8443 --ca lab.pem --token-file lab.token
  ringleader watch --json | jq -c .data.frame       for programs

A line is a frame that the hub handed on: when (UTC), out of whose hands into whose,
what it is, its term, and what it says.";

/// How long a hub may take to say where we are.
const WELCOME: Duration = Duration::from_secs(5);

pub async fn run(args: WatchArgs, logs: &logs::LogArgs) -> anyhow::Result<()> {
    logs::start(logs)?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let printer = Printer::start();
    let mut watcher = Watcher {
        hub: args.place.url(),
        json: args.json,
        view: View::new(Paint::for_stdout()),
        printer: printer.clone(),
        said_who: false,
    };
    let stop = async {
        tokio::select! {
            () = printer.closed() => debug!("told to stop (stdout is closed)"),
            _ = terminated.recv() => debug!("told to stop (SIGTERM)"),
            _ = interrupted.recv() => debug!("told to stop (Ctrl-C)"),
        }
    };
    watcher.watch(stop).await;
    printer.finish().await
}

struct Watcher {
    hub: HubUrl,
    json: bool,
    view: View,
    printer: Printer,
    /// Whether this connection's welcome has been passed on to the person watching.
    said_who: bool,
}

impl Watcher {
    /// Connects again whenever the connection is lost.
    async fn watch(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let mut link = tokio::select! {
                link = Link::keep_trying(&self.hub, Purpose::Watch) => link,
                () = &mut stop => return,
            };
            self.said_who = false;
            let lost = tokio::select! {
                lost = self.serve(&mut link) => lost,
                () = &mut stop => return link.close().await,
            };
            warn!("{}", printable(&lost));
            tokio::select! {
                () = sleep(hub::pause()) => {}
                () = &mut stop => return,
            }
        }
    }

    /// One connection, to its end.
    async fn serve(&mut self, link: &mut Link) -> String {
        let welcome = Instant::now() + WELCOME;
        loop {
            let received = if self.said_who {
                link.receive().await
            } else {
                match timeout_at(welcome, link.receive()).await {
                    Ok(received) => received,
                    Err(_) => return format!("no welcome in {} s: is {} a hub?", WELCOME.as_secs(), self.hub),
                }
            };
            let text = match received {
                Ok(text) => text,
                Err(lost) => return lost.to_string(),
            };
            match wire::decode(&text) {
                Ok(frame) => self.on_frame(frame, &text).await,
                Err(error) if !self.said_who => return format!("{} does not speak like a hub: {error}", self.hub),
                // A newer hub may have more to say than we know.
                Err(DecodeError::UnknownMethod(_)) if self.json => self.print_raw(&text).await,
                Err(error) => warn!("passed over a frame: {}", printable(&error.to_string())),
            }
        }
    }

    async fn on_frame(&mut self, frame: Frame, text: &str) {
        if let Body::Error(error) = &frame.body {
            warn!("the hub says {:?}: {}", error.code, printable(&error.message));
        }
        let shown = self.view.show(&frame, now());
        if let Body::Welcome(welcome) = &frame.body {
            self.said_who = true;
            let ring = welcome.ring.as_deref().map(|ring| format!("ring {} of ", printable(ring))).unwrap_or_default();
            info!("watching {ring}{}: {}", self.hub, self.view.who(welcome));
        }
        if self.json {
            self.print_raw(text).await;
        }
        match shown {
            Ok(lines) if !self.json => {
                for line in lines {
                    self.printer.print(line).await;
                }
            }
            Ok(_) => {}
            Err(problem) => warn!("passed over a frame: {}", printable(&problem.to_string())),
        }
    }

    /// On one line, which changes nothing: within a JSON text there is no line break.
    async fn print_raw(&self, text: &str) {
        self.printer.print(text.replace(['\n', '\r'], " ")).await;
    }
}
