//! Rows of the table that are of groups.

use super::*;

/// Who joins by an invite, or a public group: everybody who is not banned; who is a member already stays one.
const JOINERS: Row = [U, U, U, D, D, D, F, D, D, D];
/// What is no way in for anybody.
const NO_WAY_IN: Row = [U, U, U, N, N, N, N, N, N, N];

pub(super) fn wishes(scene: &Scene, _by: u64, kind: &Action) -> Vec<Wish> {
    let conversation_id = scene.room;
    // Somebody who is a member too, and is not the one who asks.
    let mate = if scene.is_direct { scene.member } else { scene.mate };
    match kind {
        Action::ChangeConversation(_) => {
            let title = rpc::ChangeConversation {
                conversation_id,
                title: Some("another".into()),
                topic: Some("and more".into()),
                public: Some(true),
                announcement: Some(true),
                ..Default::default()
            };
            let retention = rpc::ChangeConversation {
                conversation_id,
                retention_ms: Some(86_400_000),
                ..Default::default()
            };
            let avatar =
                rpc::ChangeConversation { conversation_id, avatar: Some(picture()), ..Default::default() };
            let all_owners = [U, U, U, D, N, N, N, F, F, D];
            // Who may change the group needs a picture of her own.
            let without_picture = [U, U, U, N, N, N, N, F, N, N];
            vec![
                wish("change the group", Action::ChangeConversation(title), FIXED, ALL_MANAGERS),
                wish("give it another's picture", Action::ChangeConversation(avatar), FIXED, without_picture),
                wish(
                    "say how long messages are kept",
                    Action::ChangeConversation(retention),
                    FIXED,
                    all_owners,
                ),
            ]
        }
        Action::SetMemberRole(_) => {
            let set =
                |user_id, role| Action::SetMemberRole(rpc::SetMemberRole { conversation_id, user_id, role });
            vec![
                wish("make somebody an admin", set(mate, ROLE_GROUP_ADMIN), FIXED, OWNERS),
                wish("make somebody the owner", set(mate, ROLE_OWNER), FIXED, OWNERS),
                wish("make the admin a member", set(scene.group_admin, ROLE_MEMBER), FIXED, OWNERS),
            ]
        }
        Action::Ban(_) => {
            let ban = |user_id, on| Action::Ban(rpc::Ban { conversation_id, user_id, on });
            let owner_banned = [U, U, U, N, N, N, N, F, F, I];
            vec![
                wish("ban a member", ban(mate, true), FIXED, MANAGERS),
                wish("ban a stranger", ban(scene.other, true), FIXED, MANAGERS),
                wish("ban the owner", ban(scene.owner, true), FIXED, owner_banned),
                wish("lift a ban", ban(scene.banned, false), FIXED, MANAGERS),
            ]
        }
        Action::Join(_) => {
            let join = |conversation_id, code_hash| Action::Join(rpc::Join { conversation_id, code_hash });
            let by_code = |code: &str| join(0, hash(code).slice(..16));
            let public = Wish {
                public: JOINERS,
                ..wish("join by the number", join(conversation_id, Bytes::new()), NO_WAY_IN, NO_WAY_IN)
            };
            vec![
                public,
                wish("join by the invite", by_code("invite"), NO_WAY_IN, JOINERS),
                wish("join by a guess", by_code("guess"), NO_WAY_IN, NO_WAY_IN),
            ]
        }
        Action::MakeInvite(_) => {
            let code_hash = hash("new").slice(..16);
            let make = rpc::MakeInvite { conversation_id, code_hash, ttl_ms: 0, uses_max: 0 };
            vec![wish("make an invite", Action::MakeInvite(make), FIXED, MANAGERS)]
        }
        Action::EndInvite(_) => {
            let end = rpc::EndInvite { conversation_id, code_hash: invite_code() };
            vec![wish("end the invite", Action::EndInvite(end), FIXED, MANAGERS)]
        }
        Action::Prefer(_) => {
            let prefer = rpc::Prefer { conversation_id, favourite: Some(true), ..Default::default() };
            vec![wish("have it as a favourite", Action::Prefer(prefer), BOTH, MEMBERS)]
        }
        other => unreachable!("not of groups: {other:?}"),
    }
}
