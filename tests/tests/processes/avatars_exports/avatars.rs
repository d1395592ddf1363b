//! A picture is uploaded, made somebody's or a group's, shown to those who may see it, replaced and removed.

use anyhow::{Context as _, ensure};
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{EventKind, MeKind};
use quorate_proto::rest::{Channels, Conversations, FilesUse, Members, Profile, SessionGrant, UserProfile};
use quorate_tests::harness::TestCluster;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Stage;
use super::exports::Said;
use super::picture::of_colour;
use crate::chat::device::Device;
use crate::people::calls::{self, Caller};
use crate::people::while_the_leader_dies;

const ME: &str = "/api/v1/me";
/// What Ann says with her picture.
const WORDS: &str = "It is me";

async fn upload(caller: Caller<'_>, name: &str, data: &[u8]) -> anyhow::Result<Uuid> {
    let id = Uuid::now_v7();
    caller.upload(id, name, data).await?.is(201)?;
    Ok(id)
}

async fn delete(caller: Caller<'_>, file: Uuid) -> anyhow::Result<calls::Reply> {
    caller.ask("DELETE", &format!("/api/v1/files/{file}"), Value::Null).await
}

/// At each gateway: the picture's thumbnail by this query, for who may.
async fn is_shown(stage: &Stage, grant: &SessionGrant, file: Uuid, query: &str) -> anyhow::Result<()> {
    for at in [stage.a, stage.b] {
        // Of what is opaque the small form is a JPEG.
        for (part, begins) in [("thumbnail", &b"\xff\xd8\xff"[..]), ("content", b"\x89PNG")] {
            let path = format!("/api/v1/files/{file}/{part}?{query}");
            let reply = calls::at(at, grant).ask("GET", &path, Value::Null).await?.is(200)?;
            ensure!(reply.body().starts_with(begins), "{} {path}: another picture", grant.user.name);
        }
    }
    Ok(())
}

/// The same for who may not: there is no such file.
async fn is_hidden(stage: &Stage, grant: &SessionGrant, file: Uuid, query: &str) -> anyhow::Result<()> {
    for at in [stage.a, stage.b] {
        for part in ["thumbnail", "content"] {
            let path = format!("/api/v1/files/{file}/{part}?{query}");
            let reply = calls::at(at, grant).ask("GET", &path, Value::Null).await?;
            reply.refused(ErrorCode::NotFound).with_context(|| format!("{} {path}", grant.user.name))?;
        }
    }
    Ok(())
}

/// What a socket of one's own is told of one's own avatar.
async fn hears_of_herself(device: &mut Device, index: u64, avatar: Option<Uuid>) -> anyhow::Result<()> {
    let told = |device: &Device| {
        let me = device.me.iter().find(|me| me.index == index)?;
        if let MeKind::Profile { user, .. } = &me.kind { Some(user.avatar) } else { None }
    };
    let told = device.hears("the profile", told).await?;
    ensure!(told == avatar, "told of {told:?} instead of {avatar:?}");
    Ok(())
}

/// What a member's socket is told of the room's.
async fn hears_of_the_room(
    device: &mut Device,
    stage: &Stage,
    index: u64,
    avatar: Option<Uuid>,
) -> anyhow::Result<()> {
    let told = |device: &Device| {
        let event =
            device.events.iter().find(|event| event.conversation == stage.room && event.index == index)?;
        if let EventKind::Conversation { avatar, .. } = &event.kind { Some(*avatar) } else { None }
    };
    let told = device.hears("the group's change", told).await?;
    ensure!(told == avatar, "told of {told:?} instead of {avatar:?}");
    let summary = device.summary(stage.room).await?;
    ensure!(summary.avatar == avatar, "{summary:?}");
    Ok(())
}

/// What REST says of Ann's and of the room's, at either gateway, to who may know.
async fn rest_tells(
    stage: &Stage,
    index: u64,
    anns: Option<Uuid>,
    rooms: Option<Uuid>,
) -> anyhow::Result<()> {
    for at in [stage.a, stage.b] {
        let seen: UserProfile = calls::at(at, &stage.eve).read("/api/v1/users/ann", index).await?;
        let own: Profile = calls::at(at, &stage.ann).read(ME, index).await?;
        ensure!(seen.user.avatar == anns && own.user.avatar == anns, "{seen:?} {own:?}");
        let dan = calls::at(at, &stage.dan);
        let members: Members =
            dan.read(&format!("/api/v1/conversations/{}/members", stage.room), index).await?;
        for member in &members.members {
            let wanted = anns.filter(|_| member.user.id == stage.ann.user.id);
            ensure!(member.user.avatar == wanted, "{members:?}");
        }
        let listed: Conversations = dan.read("/api/v1/conversations", index).await?;
        let room =
            listed.conversations.iter().find(|summary| summary.id == stage.room).context("the room")?;
        ensure!(room.avatar == rooms, "{room:?}");
    }
    Ok(())
}

/// What was said on the way.
pub(super) async fn set_shown_and_removed(test: &TestCluster, stage: &Stage) -> anyhow::Result<Said> {
    let (a, b) = (stage.a, stage.b);
    let (ann, bob) = (calls::at(a, &stage.ann), calls::at(b, &stage.bob));
    let room = format!("/api/v1/conversations/{}", stage.room);
    let mut anns_other = Device::open(b, stage.ann.clone()).await?;
    let mut anns_own = Device::open(a, stage.ann.clone()).await?;
    let mut dans = [Device::open(a, stage.dan.clone()).await?, Device::open(b, stage.dan.clone()).await?];

    let face = upload(ann, "face.png", &of_colour([200, 0, 0])).await?;
    let text = upload(ann, "face.txt", b"no picture").await?;
    let harbour = upload(bob, "harbour.png", &of_colour([0, 0, 200])).await?;
    ann.ask("PATCH", ME, json!({ "avatar": text })).await?.refused(ErrorCode::Invalid)?;
    ann.ask("PATCH", ME, json!({ "avatar": harbour })).await?.refused(ErrorCode::NotFound)?;
    let dan = calls::at(a, &stage.dan);
    let dans_file = upload(dan, "mine.png", &of_colour([0, 200, 0])).await?;
    dan.ask("PATCH", &room, json!({ "avatar": dans_file })).await?.refused(ErrorCode::Forbidden)?;
    let eve = calls::at(b, &stage.eve);
    eve.ask("PATCH", &room, json!({ "avatar": harbour })).await?.refused(ErrorCode::NotFound)?;
    is_hidden(stage, &stage.eve, face, &format!("user={}", stage.ann.user.id)).await?;

    // Both are set while the leader dies.
    let (hers, its) = while_the_leader_dies(test, async {
        let hers = ann.ask("PATCH", ME, json!({ "avatar": face })).await?.written()?.index;
        Ok((hers, bob.ask("PATCH", &room, json!({ "avatar": harbour })).await?.written()?.index))
    })
    .await?;
    hears_of_herself(&mut anns_other, hers, Some(face)).await?;
    for device in &mut dans {
        hears_of_the_room(device, stage, its, Some(harbour)).await?;
    }
    rest_tells(stage, hers.max(its), Some(face), Some(harbour)).await?;
    // What she says is said with her picture.
    let said = anns_own.send(stage.room, WORDS).await?;
    let is_hers = |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.sequence == said && message.from.avatar == Some(face));
    dans[1].hears_event("Ann with her picture", stage.room, is_hers).await?;

    may_be_fetched(stage, face, harbour).await?;
    delete(ann, face).await?.refused(ErrorCode::Forbidden)?;
    delete(bob, harbour).await?.refused(ErrorCode::Forbidden)?;
    let used: FilesUse = bob.read("/api/v1/files", its).await?;
    ensure!(used.files == 1, "{used:?}");

    replaced_and_removed(stage, face, harbour, &mut anns_other, &mut dans).await?;
    for device in dans.iter().chain([&anns_own, &anns_other]) {
        device.has_dense_versions()?;
    }
    Ok(Said::from([(stage.room, [(said, WORDS.to_owned())].into())]))
}

/// A user's by everybody who is signed in; a group's by its members, and by everybody while it is public.
async fn may_be_fetched(stage: &Stage, face: Uuid, harbour: Uuid) -> anyhow::Result<()> {
    let (as_user, as_group) = (format!("user={}", stage.ann.user.id), format!("group={}", stage.room));
    for grant in [&stage.eve, &stage.dan] {
        is_shown(stage, grant, face, &as_user).await?;
        // It is so by the right name alone.
        for other in [String::new(), format!("user={}", stage.bob.user.id), as_group.clone()] {
            is_hidden(stage, grant, face, &other).await?;
        }
    }
    is_shown(stage, &stage.dan, harbour, &as_group).await?;
    for (grant, query) in [
        (&stage.eve, as_group.clone()),
        (&stage.eve, format!("group={}", stage.pier)),
        (&stage.dan, format!("group={}", stage.pier)),
        (&stage.dan, format!("user={}", stage.bob.user.id)),
    ] {
        is_hidden(stage, grant, harbour, &query).await?;
    }
    let thumbnail = |query: &str| format!("/api/v1/files/{face}/thumbnail?{query}");
    let both = thumbnail(&format!("{as_user}&{as_group}"));
    calls::at(stage.a, &stage.eve).ask("GET", &both, Value::Null).await?.refused(ErrorCode::Invalid)?;
    calls::stranger(stage.b).ask("GET", &thumbnail(&as_user), Value::Null).await?.is(401)?;

    let (path, owner) = (format!("/api/v1/conversations/{}", stage.room), calls::at(stage.a, &stage.ann));
    for public in [true, false] {
        let index = owner.ask("PATCH", &path, json!({ "public": public })).await?.written()?.index;
        for at in [stage.a, stage.b] {
            let found: Channels = calls::at(at, &stage.eve).read("/api/v1/channels", index).await?;
            let shown: Vec<Option<Uuid>> = found.channels.iter().map(|channel| channel.avatar).collect();
            ensure!(shown == if public { vec![Some(harbour)] } else { Vec::new() }, "{found:?}");
        }
        if public {
            is_shown(stage, &stage.eve, harbour, &as_group).await?;
        } else {
            is_hidden(stage, &stage.eve, harbour, &as_group).await?;
        }
    }
    Ok(())
}

/// Another in its place, and none: the one before is nobody's, and may go.
async fn replaced_and_removed(
    stage: &Stage,
    face: Uuid,
    harbour: Uuid,
    anns_other: &mut Device,
    dans: &mut [Device; 2],
) -> anyhow::Result<()> {
    // By the other gateways now.
    let (ann, bob) = (calls::at(stage.b, &stage.ann), calls::at(stage.a, &stage.bob));
    let room = format!("/api/v1/conversations/{}", stage.room);
    let as_user = format!("user={}", stage.ann.user.id);
    let newer = upload(ann, "newer.png", &of_colour([250, 250, 0])).await?;
    let index = ann.ask("PATCH", ME, json!({ "avatar": newer })).await?.written()?.index;
    hears_of_herself(anns_other, index, Some(newer)).await?;
    rest_tells(stage, index, Some(newer), Some(harbour)).await?;
    is_shown(stage, &stage.eve, newer, &as_user).await?;
    is_hidden(stage, &stage.eve, face, &as_user).await?;
    delete(ann, face).await?.is(204)?;
    delete(ann, newer).await?.refused(ErrorCode::Forbidden)?;

    let hers = ann.ask("PATCH", ME, json!({ "avatar": "" })).await?.written()?.index;
    let its = bob.ask("PATCH", &room, json!({ "avatar": "" })).await?.written()?.index;
    hears_of_herself(anns_other, hers, None).await?;
    for device in dans {
        hears_of_the_room(device, stage, its, None).await?;
    }
    rest_tells(stage, hers.max(its), None, None).await?;
    is_hidden(stage, &stage.eve, newer, &as_user).await?;
    is_hidden(stage, &stage.dan, harbour, &format!("group={}", stage.room)).await?;
    delete(ann, newer).await?.is(204)?;
    delete(bob, harbour).await?.is(204)?;
    Ok(())
}
