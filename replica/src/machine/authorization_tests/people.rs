//! Rows of the table that are of people and of those who administer them.

use super::*;

/// Of the admins of the site only.
const ADMINS: Row = [U, U, U, D, F, F, F, F, F, F];

pub(super) fn wishes(scene: &Scene, by: u64, kind: &Action) -> Vec<Wish> {
    let room = scene.room;
    match kind {
        Action::SetProfile(_) => {
            let name = rpc::SetProfile { display_name: Some("Another".into()), ..Default::default() };
            let avatar = rpc::SetProfile { avatar: Some(picture()), ..Default::default() };
            let members = [U, U, U, N, N, N, N, D, N, N];
            vec![
                wish("change one's profile", Action::SetProfile(name), OWN, OWN),
                wish("have the member's picture", Action::SetProfile(avatar), members, members),
            ]
        }
        Action::DeleteUser(_) => {
            let delete = |user_id| {
                let password_mark = hash("$argon2id$").slice(..16);
                Action::DeleteUser(rpc::DeleteUser { user_id, password_mark })
            };
            let owners = [U, U, U, D, F, F, F, F, F, D];
            // The one admin there is stays.
            let own = [U, U, U, I, D, D, D, D, D, D];
            vec![
                wish("delete one's account", delete(by), own, own),
                wish("delete somebody's account", delete(scene.other), ADMINS, ADMINS),
                wish("delete the owner's bot", delete(scene.bot), owners, owners),
            ]
        }
        Action::Block(_) => {
            anywhere("block somebody", Action::Block(rpc::Block { user_id: scene.other, on: true }), OWN)
        }
        Action::Report(_) => {
            let report = rpc::Report { conversation_id: room, sequence: 1, reason: "rude".into() };
            // Who was removed still reads what was said before, and may show it.
            let readers = [U, U, U, N, N, D, D, D, D, D];
            vec![wish("report a message", Action::Report(report), BOTH, readers)]
        }
        Action::ResolveReport(_) => {
            let resolve = rpc::ResolveReport { report_id: scene.report, resolution: "done".into() };
            anywhere("be done with a report", Action::ResolveReport(resolve), ADMINS)
        }
        Action::SetUserState(_) => {
            let set = |disabled, admin| {
                Action::SetUserState(rpc::SetUserState { user_id: scene.other, disabled, admin })
            };
            vec![
                wish("disable somebody", set(Some(true), None), ADMINS, ADMINS),
                wish("make somebody an admin", set(None, Some(true)), ADMINS, ADMINS),
            ]
        }
        Action::OfferReset(_) => {
            let offer = rpc::OfferReset { user_id: scene.other, secret_hash: hash("another") };
            anywhere("let somebody set her password anew", Action::OfferReset(offer), ADMINS)
        }
        Action::ResetPassword(_) => {
            let reset = |secret| {
                let password_phc = "$new$".to_owned();
                let secret_hash = hash(secret);
                Action::ResetPassword(rpc::ResetPassword { user_id: scene.other, secret_hash, password_phc })
            };
            vec![
                wish("set a password with the secret", reset("reset"), OPEN, OPEN),
                wish("set a password with a guess", reset("guess"), [U; 10], [U; 10]),
            ]
        }
        Action::SetRecoveryCodes(_) => {
            let set = rpc::SetRecoveryCodes { code_hashes: vec![hash("code")] };
            anywhere("set one's recovery codes", Action::SetRecoveryCodes(set), OWN)
        }
        // Gateways say it for themselves; there is nothing to be gained by it.
        Action::RecordSeen(_) => {
            let seen = rpc::RecordSeen { user_ids: vec![scene.other] };
            anywhere("say that somebody was there", Action::RecordSeen(seen), OPEN)
        }
        Action::RecordExport(_) => {
            let export =
                |conversation_id, direct| Action::RecordExport(rpc::RecordExport { conversation_id, direct });
            let nothing = [U, U, U, N, F, F, F, F, F, F];
            vec![
                wish("have an export recorded", export(room, false), ADMINS, ADMINS),
                wish("have an export of all recorded", export(0, true), ADMINS, ADMINS),
                wish("have an export of nothing recorded", export(99, false), nothing, nothing),
            ]
        }
        _ => Vec::new(),
    }
}
