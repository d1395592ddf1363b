//! The terminal client as people and scripts run it: in real terminals (tmux) on two gateways, and through pipes, while the leader
//! and a gateway are killed.

mod pane;
mod program;

use anyhow::{Context as _, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_tests::client::rest::PASSWORD;
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::{WAIT, caught_up, leader};
use quorate_tests::skip::skip;

use crate::chat::{all_is_well, cluster};
use pane::{Tmux, is_installed};
use program::Program;

/// Messages while nobody leads.
const MESSAGES: usize = 5;

/// Kills whoever leads; the caller starts it again.
async fn kill_the_leader(test: &TestCluster) -> anyhow::Result<u16> {
    let (victim, _) = leader(test).await?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    test.recorder.mark(format!("killed the leader, replica {victim}"));
    Ok(victim)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_terminals_talk_while_leader_and_gateway_die() -> anyhow::Result<()> {
    if !is_installed() {
        skip("two_terminals_talk_while_leader_and_gateway_die", "tmux is not installed");
        return Ok(());
    }
    let test = cluster("terminals").await?;
    let result = talk(&test).await;
    test.finish(result).await
}

async fn talk(test: &TestCluster) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ana = Program::new(folder.path(), "ana", test.cluster.gateway_address("a")?)?;
    let bob = Program::new(folder.path(), "bob", test.cluster.gateway_address("b")?)?;
    bob.run_with(&["--sign-up", "--name", "bob", "--password-file", "-"], PASSWORD).await?.is(0)?;

    let tmux = Tmux::start(folder.path())?;
    let mine = tmux.open("ana", &ana)?;
    mine.sees("Sign in").await?;
    mine.key("F2")?;
    mine.sees("Create an account").await?;
    mine.types("ana")?;
    mine.key("Tab")?;
    mine.types(PASSWORD)?;
    let shown = mine.sees("•••••").await?;
    ensure!(!shown.contains(PASSWORD), "the password is on the screen:\n{shown}");
    mine.key("Enter")?;
    mine.sees("Connected to gateway a").await?;
    let hers = tmux.open("bob", &bob)?;
    hers.sees("Connected to gateway b").await?;

    // A conversation is started, opened and read, all by keys.
    mine.key("C-n")?;
    mine.types("bob")?;
    mine.key("Enter")?;
    mine.sees("> Write to bob").await?;
    mine.types("hello bob")?;
    mine.key("M-Enter")?;
    mine.types("second line")?;
    mine.key("Enter")?;
    hers.sees("1 unread").await?;
    hers.key("Enter")?;
    hers.sees("second line").await?;
    mine.sees("second line  ✓✓ read").await?;
    mine.sees("bob  here").await?;
    hers.types("writing")?;
    hers.types_until(&mine, "bob is typing…").await?;
    hers.key("Enter")?;
    mine.sees("writing").await?;

    // Nobody leads: what is written waits, in order, and comes once.
    let victim = kill_the_leader(test).await?;
    for number in 0..MESSAGES {
        mine.types(&format!("while nobody led {number}"))?;
        mine.key("Enter")?;
    }
    let last = format!("while nobody led {}", MESSAGES - 1);
    let screen = hers.sees(&last).await?;
    in_order(&screen)?;
    mine.sees(&format!("{last}  ✓✓ read")).await?;
    test.cluster.start_member(&Member::Replica(victim))?;

    // Her gateway dies: it is said in words, and nothing is missing afterwards.
    test.cluster.kill(&Member::Gateway("b".to_owned())).await?;
    hers.sees("onnecting").await?;
    mine.types("while you were cut off")?;
    mine.key("Enter")?;
    mine.sees("while you were cut off  ✓").await?;
    hers.types("written while cut off")?;
    hers.key("Enter")?;
    hers.sees("1 message waits").await?;
    test.cluster.start_member(&Member::Gateway("b".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("b".to_owned()), WAIT).await?;
    // At once, not when it would by itself.
    hers.key("C-r")?;
    hers.sees("Connected to gateway b").await?;
    hers.sees("while you were cut off").await?;
    mine.sees("written while cut off").await?;

    hostile(&ana, &hers).await?;
    sizes(&hers).await?;
    ends(&mine, &hers).await?;
    asked(&tmux, &ana).await?;
    caught_up(test, victim).await?;
    all_is_well(test).await
}

/// Each once, one below the other; the list beside them shows the newest as well.
fn in_order(screen: &str) -> anyhow::Result<()> {
    let messages = screen.lines().filter_map(|line| line.split_once('│'));
    let messages: Vec<&str> = messages.map(|(_, message)| message).collect();
    let screen = messages.join("\n");
    let mut from = 0;
    for number in 0..MESSAGES {
        let text = format!("while nobody led {number}");
        ensure!(screen.matches(&text).count() == 1, "{text:?} is not there once:\n{screen}");
        let at = screen.find(&text).context("it is there")?;
        ensure!(at >= from, "{text:?} is out of order:\n{screen}");
        from = at;
    }
    Ok(())
}

/// What a message would tell a terminal is not obeyed.
async fn hostile(ana: &Program, hers: &pane::Pane<'_>) -> anyhow::Result<()> {
    let text = "\u{1b}[2J\u{1b}]0;owned\u{7}harm\u{9b}31mless";
    ana.run(&["--send", "@bob", text]).await?.is(0)?;
    let screen = hers.sees("harmless").await?;
    ensure!(
        screen.contains("Conversations") && screen.contains("? help"),
        "the screen was cleared:\n{screen}"
    );
    ensure!(hers.title()? != "owned", "the title was set");
    Ok(())
}

async fn sizes(hers: &pane::Pane<'_>) -> anyhow::Result<()> {
    hers.resize(50, 16)?;
    // Drawn anew: the conversation alone, with the newest in view. Until then the window is the lower left of the large one, where
    // both can be, but for the line between the list and the conversation; and there is nothing to turn back to.
    hers.sees_without("harmless", "│").await?;
    hers.key("PageUp")?;
    hers.sees("Newer messages are below").await?;
    hers.key("Escape")?;
    hers.sees("harmless").await?;
    hers.resize(110, 34)?;
    hers.sees("Conversations").await?;
    hers.key("?")?;
    hers.sees("kept by a majority").await?;
    hers.key("Escape")?;
    hers.sees_without("harmless", "kept by a majority").await?;
    Ok(())
}

/// The terminal is given back, whoever ends the program.
async fn ends(mine: &pane::Pane<'_>, hers: &pane::Pane<'_>) -> anyhow::Result<()> {
    hers.terminate()?;
    mine.key("C-c")?;
    for (pane, code) in [(hers, 143), (mine, 0)] {
        let screen = pane.is_left(code).await?;
        ensure!(!screen.contains("Conversations"), "the screen was not given back:\n{screen}");
    }
    Ok(())
}

/// Who is asked for a password can leave, or be ended, and has her terminal back.
async fn asked(tmux: &Tmux, ana: &Program) -> anyhow::Result<()> {
    let left = tmux.open_with("asked", ana, "--sign-in --name ana")?;
    left.sees("Password of ana:").await?;
    left.key("C-c")?;
    left.is_left(130).await?;
    let ended = tmux.open_with("asked again", ana, "--sign-in --name ana")?;
    ended.sees("Password of ana:").await?;
    ended.terminate()?;
    ended.is_left(143).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_send_and_tail_each_message_once_while_the_leader_dies() -> anyhow::Result<()> {
    let test = cluster("terminal-lines").await?;
    let result = lines(&test).await;
    test.finish(result).await
}

async fn lines(test: &TestCluster) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ana = Program::new(folder.path(), "ana", test.cluster.gateway_address("a")?)?;
    let bob = Program::new(folder.path(), "bob", test.cluster.gateway_address("b")?)?;
    // Before anybody is signed in, and when the command line makes no sense.
    ana.run(&["--list"]).await?.is(3)?;
    ana.run(&["--send", "5"]).await?.is(2)?;
    ana.run(&["--list", "--url", "ftp://chat"]).await?.is(2)?;
    for person in [&ana, &bob] {
        let made = ["--sign-up", "--name", &person.name, "--password-file", "-"];
        person.run_with(&made, PASSWORD).await?.is(0)?;
    }
    let again = ["--sign-up", "--name", "ana", "--password-file", "-"];
    bob.run_with(&again, PASSWORD).await?.is(1)?;
    bob.run_with(&["--sign-in", "--name", "bob", "--password-file", "-"], "another horse").await?.is(3)?;
    ensure!(ana.session_mode()? == 0o600, "others may read the session");

    // The first message starts the conversation.
    let sent = ana.run(&["--send", "@bob", "first", "--json"]).await?.is(0)?.json()?;
    ensure!(sent.len() == 1 && sent[0]["type"] == "sent" && sent[0]["sequence"] == 1, "{sent:?}");
    // At the other gateway, to which it may come a moment later.
    wait_until("bob to have it in his list", WAIT, || async {
        let listed = async { bob.run(&["--list", "--json"]).await?.is(0)?.json() }.await;
        let listed = listed.map_err(|error| format!("{error:#}"))?;
        let is_there = listed.len() == 1 && listed[0]["name"] == "ana" && listed[0]["unread"] == 1;
        if is_there { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await?;

    let mut tail = bob.tail(&["--tail", "@ana", "--last", "1", "--json"])?;
    tail.message("first").await?;
    let victim = kill_the_leader(test).await?;
    for number in 0..MESSAGES {
        ana.run_with(&["--send", "@bob", "-"], &format!("number {number}\nof many\n")).await?.is(0)?;
    }
    for number in 0..MESSAGES {
        tail.message(&format!("number {number}\nof many")).await?;
    }
    test.cluster.start_member(&Member::Replica(victim))?;
    test.cluster.kill(&Member::Gateway("b".to_owned())).await?;
    tail.says("reconnecting").await?;
    ana.run(&["--send", "@bob", "meanwhile"]).await?.is(0)?;
    test.cluster.start_member(&Member::Gateway("b".to_owned()))?;
    tail.message("meanwhile").await?;
    // Nothing came twice before this one.
    ana.run(&["--send", "@bob", "the last of all"]).await?.is(0)?;
    tail.message("the last of all").await?;
    ensure!(tail.end().await? == 143, "SIGTERM has its own exit code");

    // Ended while it reads what never comes.
    for args in [&["--send", "@bob", "-"][..], &["--sign-in", "--name", "ana", "--password-file", "-"][..]] {
        let code = ana.ended_while_reading(args).await?;
        ensure!(code == 143, "{args:?}: {code}");
    }

    // With nobody to answer it is told, in time.
    test.cluster.kill(&Member::Gateway("a".to_owned())).await?;
    ana.run(&["--send", "@bob", "lost", "--wait", "2"]).await?.is(4)?;
    test.cluster.start_member(&Member::Gateway("a".to_owned()))?;
    test.cluster.wait_ready(&Member::Gateway("a".to_owned()), WAIT).await?;
    ana.run(&["--sign-out"]).await?.is(0)?;
    ensure!(ana.session_mode().is_err(), "the session is still there");
    ana.run(&["--list"]).await?.is(3)?;
    caught_up(test, victim).await?;
    all_is_well(test).await
}
