//! A network of real hosts on one machine: a namespace for each replica, one for everybody else, a bridge between them.
//!
//! Owns the namespaces, their links and what is cut between them. Must not know what runs there.
//!
//! ```text
//!   replica 1 ─ 10.97.0.1 ─ p1 ┐
//!        …                     ├─ bridge, where nftables drops what is cut, each direction by itself
//!   replica 5 ─ 10.97.0.5 ─ p5 ┤
//!   gateways, clients ─ .6 ─ p6 ┘   (the namespace of the test program itself; everything else there is on its loopback)
//! ```
//!
//! A test that needs it starts itself again under `unshare`, with a network and mounts of its own, as root of a user
//! namespace where it is not root already. Everything made there is gone when the last process of it is, however the test
//! ends: nothing is left to sweep, and no name can clash.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use quorate_cluster::process::find_program;
use quorate_cluster::{Host, Spec};

use crate::skip::skip;

/// Set for the program that runs inside.
const INSIDE: &str = "QUORATE_NETLAB_INSIDE";
/// Replicas, each a host.
pub const REPLICAS: u16 = 5;
/// The place of gateways and clients.
pub const HOME: u16 = 6;
/// What a lab is made of.
const TOOLS: [&str; 7] = ["ip", "tc", "nft", "nsenter", "unshare", "setpriv", "mount"];
/// What a slow line queues before it drops: a second's worth, as routers do.
const SLOW_QUEUE: &str = "burst 16kb latency 1s";

/// One direction between two places.
pub type Way = (u16, u16);

/// A lab, in whose home this program runs.
#[derive(Debug)]
pub struct Lab {
    tools: BTreeMap<&'static str, PathBuf>,
}

/// Runs a test in a lab: starts the program again for this one test, there. Skips it, by name, where that cannot be done.
///
/// # Errors
/// When the lab cannot be built although it should, or the test fails.
pub fn run<T, F>(test: &str, body: T) -> anyhow::Result<()>
where
    T: FnOnce(Lab) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut tools = BTreeMap::new();
    for tool in TOOLS {
        let Some(program) = find_program(tool) else {
            skip(test, &format!("there is no `{tool}` (packages iproute2, nftables, util-linux, mount)"));
            return Ok(());
        };
        tools.insert(tool, program);
    }
    let lab = Lab { tools };
    if std::env::var_os(INSIDE).is_some() {
        lab.build()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(body(lab));
    }
    let Some(unshare) = lab.unshare() else {
        skip(test, "this machine allows no network namespaces to whoever runs the tests");
        return Ok(());
    };
    let mut again = unshare;
    // If this program is killed, what runs inside ends with it.
    again.arg(&lab.tools["setpriv"]).args(["--pdeathsig", "KILL", "--"]);
    again.arg(std::env::current_exe()?).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    let status = again.stdin(Stdio::null()).status().context("cannot start the test again in the lab")?;
    ensure!(status.success(), "{test} failed in the lab: {status}");
    Ok(())
}

impl Lab {
    /// `unshare` as this machine allows it; `None` where it does not.
    fn unshare(&self) -> Option<Command> {
        [&["--net", "--mount"][..], &["--user", "--map-root-user", "--net", "--mount"][..]]
            .into_iter()
            .find_map(|arguments| {
                let command = || {
                    let mut command = Command::new(&self.tools["unshare"]);
                    command.args(arguments).arg("--");
                    command
                };
                // What the lab's building needs first: a mount, and a namespace that has a name.
                let script =
                    "mount -t tmpfs none /run && mkdir /run/netns && ip netns add probe && nft list tables";
                let tried = command()
                    .args(["sh", "-c", script])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                tried.is_ok_and(|status| status.success()).then(command)
            })
    }

    fn tool(&self, tool: &'static str, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(&self.tools[tool]).args(arguments).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "{tool} {}: {said}", arguments.join(" "));
        Ok(())
    }

    fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        self.tool("ip", &arguments.split(' ').collect::<Vec<_>>())
    }

    /// `nft`, where the bridge is.
    fn nft(&self, script: &str) -> anyhow::Result<()> {
        let nft = self.tools["nft"].display().to_string();
        self.tool("nsenter", &["--net=/run/netns/br", "--", &nft, script])
    }

    fn build(&self) -> anyhow::Result<()> {
        self.tool("mount", &["-t", "tmpfs", "none", "/run"])?;
        std::fs::create_dir("/run/netns")?;
        self.ip("link set lo up")?;
        self.ip("netns add br")?;
        self.ip("-n br link add br0 type bridge")?;
        self.ip("-n br link set br0 up")?;
        for place in 1..=HOME {
            let (own, far) = (format!("v{place}"), format!("p{place}"));
            // Where its commands go: home is this namespace itself.
            let at = if place == HOME {
                self.ip(&format!("link add {own} type veth peer name {far} netns br"))?;
                String::new()
            } else {
                self.ip(&format!("netns add r{place}"))?;
                self.ip(&format!("link add {own} netns r{place} type veth peer name {far} netns br"))?;
                format!("-n r{place} ")
            };
            self.ip(&format!("-n br link set {far} master br0 up"))?;
            self.ip(&format!("{at}link set lo up"))?;
            self.ip(&format!("{at}addr add {}/24 dev {own}", address(place)))?;
            self.ip(&format!("{at}link set {own} up"))?;
        }
        self.nft("add table bridge cut")?;
        self.nft("add set bridge cut blocked { type ifname . ifname ; }")?;
        self.nft("add chain bridge cut forward { type filter hook forward priority 0 ; policy accept ; }")?;
        self.nft("add rule bridge cut forward iifname . oifname @blocked counter drop")
    }

    /// Puts the replicas of a cluster onto their hosts; certificates are needed there.
    #[must_use]
    pub fn place(&self, mut spec: Spec) -> Spec {
        spec.tls = true;
        spec.replicas = Some(REPLICAS);
        spec.hosts = (1..=REPLICAS)
            .map(|id| {
                let nsenter = self.tools["nsenter"].display().to_string();
                let through = vec![nsenter, format!("--net=/run/netns/r{id}"), "--".to_owned()];
                (id, Host { address: IpAddr::V4(address(id)), through })
            })
            .collect();
        spec
    }

    /// Drops everything that goes these ways from now on. Connections stay and hear nothing: half-open.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn cut(&self, ways: &[Way]) -> anyhow::Result<()> {
        let pairs: Vec<String> = ways.iter().map(|(from, to)| format!("\"p{from}\" . \"p{to}\"")).collect();
        self.nft(&format!("add element bridge cut blocked {{ {} }}", pairs.join(", ")))
    }

    /// Makes a replica's line slow in both directions, so many kilobits per second.
    ///
    /// # Errors
    /// When `tc` refuses.
    pub fn slow(&self, id: u16, kbit: u32) -> anyhow::Result<()> {
        for end in Self::ends(id) {
            let rule = format!("{end} root tbf rate {kbit}kbit {SLOW_QUEUE}").replacen("DO", "replace", 1);
            self.tool("tc", &rule.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Takes [`Self::slow`] back.
    ///
    /// # Errors
    /// When `tc` refuses.
    pub fn full_speed(&self, id: u16) -> anyhow::Result<()> {
        for end in Self::ends(id) {
            let rule = format!("{end} root").replacen("DO", "del", 1);
            self.tool("tc", &rule.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Both ends of a replica's line, as `tc` names them.
    fn ends(id: u16) -> [String; 2] {
        [format!("-n br qdisc DO dev p{id}"), format!("-n r{id} qdisc DO dev v{id}")]
    }

    /// Every way is open again.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.nft("flush set bridge cut blocked")
    }
}

fn address(place: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 97, 0, u8::try_from(place).unwrap_or(u8::MAX))
}

/// All ways between the two sides, both directions.
pub fn between(one: &[u16], other: &[u16]) -> Vec<Way> {
    let there = one.iter().flat_map(|a| other.iter().map(|b| (*a, *b)));
    there.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

/// All ways between replicas.
pub fn all_ways() -> Vec<Way> {
    let pairs = (1..=REPLICAS).flat_map(|a| (1..=REPLICAS).map(move |b| (a, b)));
    pairs.filter(|(a, b)| a != b).collect()
}
