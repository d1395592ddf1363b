//! The admins' part: how one becomes an admin, users, a report, somebody shut out, and the log of it all.

use anyhow::ensure;
use quorate_cluster::Cluster;

use super::accounts::{Report, sign_in};
use crate::window::{PASSWORD, Window};

/// What the admin writes beside a report that is done with.
const DONE: &str = "Her account is switched off.";

fn user(name: &str) -> String {
    format!("[data-testid=admin-user][data-name={name}]")
}

/// By the operator's secret Ana becomes an admin, works through Ben's report, and shuts Eva out.
pub(super) async fn at_work(
    cluster: &Cluster,
    ana: &Window,
    eva: &Window,
    report: &Report,
) -> anyhow::Result<()> {
    let secret = cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
    ensure!(ana.count("[data-testid=administer]").await? == 0, "ana is an admin by chance");
    ana.press("[data-testid=account]").await?;
    ana.fill("[data-testid=admin-secret]", "a guess").await?;
    ana.press("[data-testid=admin] button[type=submit]").await?;
    ana.wait_words("[data-testid=admin] .error").await?;
    ana.fill("[data-testid=admin-secret]", &secret).await?;
    ana.press("[data-testid=admin] button[type=submit]").await?;
    ana.wait_text("[data-testid=admin] .done", "You are an admin now.").await?;
    ana.picture("34-admin").await?;
    ana.close_dialog().await?;

    ana.press("[data-testid=administer]").await?;
    for name in ["ana", "ben", "eva"] {
        ana.wait_count(&user(name), 1).await?;
    }
    ana.look("35-users").await?;
    ana.press_words(".tabs a", "Reports").await?;
    ana.wait_text("[data-testid=report] q", report.text).await?;
    ana.wait_text("[data-testid=report]", report.reason).await?;
    ana.wait_text("[data-testid=report]", "Reported by Benjamin Reed").await?;
    ana.look("36-report").await?;
    ana.fill("[data-testid=report] input", DONE).await?;
    ana.press("[data-testid=report] button[type=submit]").await?;
    ana.wait_text(".admin-body", "Nothing is reported.").await?;

    ana.press_words(".tabs a", "Users").await?;
    ana.press(&format!("{} [data-testid=user-sessions]", user("eva"))).await?;
    ana.wait_text(&format!("{} [data-testid=session-list]", user("eva")), "last used").await?;
    ana.look("37-sessions").await?;
    ana.press_words(&format!("{} .acts button", user("eva")), "Disable…").await?;
    ana.press_words(&format!("{} .acts button", user("eva")), "Disable").await?;
    ana.wait_text(&user("eva"), "disabled").await?;
    ana.picture("37-disabled").await?;
    eva.wait_for("sign-in").await?;
    sign_in(eva, "eva", PASSWORD).await?;
    eva.wait_words("[data-testid=sign-in] .error").await?;
    eva.look("38-shut-out").await?;

    ana.press_words(".tabs a", "Audit log").await?;
    for what in ["admin offered", "admin claimed", "report resolved", "user disabled"] {
        ana.wait_text("[data-testid=audit-entry]", what).await?;
    }
    ana.look("39-audit-log").await
}
