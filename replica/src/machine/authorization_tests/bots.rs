//! Rows of the table that are of bots, tokens and webhooks.

use super::*;

/// Of the bot's owner; for others there is no such bot.
const OWNERS_BOT: Row = [U, U, U, N, N, N, N, N, N, D];
/// Ids of tokens: the bot's, and one of one's own.
const BOTS_TOKEN: u128 = 910;
const OWN_TOKEN: u128 = 911;
/// The gateway that holds the lease.
const HOLDER: u128 = 920;

fn make(user_id: u64, session_id: Bytes) -> Action {
    let (secret_hash, label) = (hash("token"), "ci".to_owned());
    Action::MakeToken(rpc::MakeToken {
        user_id,
        session_id,
        secret_hash,
        label,
        scopes: 3,
        ..Default::default()
    })
}

fn set_hook(bot_id: u64, url: &str) -> Action {
    Action::SetHook(rpc::SetHook { bot_id, url: url.into(), ..Default::default() })
}

fn lease(holder: u128) -> Action {
    Action::LeaseHooks(rpc::LeaseHooks { holder: id(holder), lasts_ms: 15_000 })
}

/// The owner's bot with a token and a webhook, and the lease of who tells it.
pub(super) fn furnish(world: &mut World, owner: u64) -> u64 {
    let create = rpc::CreateBot { name: "bot".into(), display_name: "Bot".into() };
    let outcome = world.act(owner, Action::CreateBot(create));
    let Some(outcome::Result::User(created)) = outcome.result else { panic!("no bot: {outcome:?}") };
    let bot = created.user_id;
    accepted(&world.act(owner, make(bot, id(BOTS_TOKEN))));
    accepted(&world.act(owner, set_hook(bot, "https://example.com/hook")));
    accepted(&world.act(0, lease(HOLDER)));
    bot
}

pub(super) fn wishes(scene: &Scene, by: u64, kind: &Action) -> Vec<Wish> {
    let bot = scene.bot;
    match kind {
        Action::CreateBot(_) => {
            let create = rpc::CreateBot { name: "another".into(), display_name: "Another".into() };
            anywhere("make a bot", Action::CreateBot(create), OWN)
        }
        Action::MakeToken(_) => vec![
            wish("make a token of one's own", make(by, id(OWN_TOKEN)), OWN, OWN),
            wish("make a token of the owner's bot", make(bot, id(912)), OWNERS_BOT, OWNERS_BOT),
            wish("make a token of somebody", make(scene.other, id(912)), NOBODYS, NOBODYS),
        ],
        Action::EndToken(_) => {
            let end = |user_id, session_id| Action::EndToken(rpc::EndToken { user_id, session_id });
            vec![
                wish("end a token of the owner's bot", end(bot, id(BOTS_TOKEN)), OWNERS_BOT, OWNERS_BOT),
                wish("end a sign-in as a token", end(by, session_of(by)), NOBODYS, NOBODYS),
            ]
        }
        Action::SetHook(_) => vec![
            wish("set the bot's webhook", set_hook(bot, "https://example.org"), OWNERS_BOT, OWNERS_BOT),
            wish("drop the bot's webhook", set_hook(bot, ""), OWNERS_BOT, OWNERS_BOT),
            wish("set a person's webhook", set_hook(scene.other, "https://example.org"), NOBODYS, NOBODYS),
        ],
        // Gateways say these for themselves.
        Action::LeaseHooks(_) => vec![
            wish("go on telling webhooks", lease(HOLDER), OPEN, OPEN),
            wish("tell webhooks beside who does", lease(HOLDER + 1), [C; 10], [C; 10]),
        ],
        Action::SettleHook(_) => {
            let settle = |holder, through| {
                let error = String::new();
                Action::SettleHook(rpc::SettleHook { holder: id(holder), bot_id: bot, through, error })
            };
            vec![
                wish("settle what was settled", settle(HOLDER, 0), OPEN, OPEN),
                wish("settle what does not wait", settle(HOLDER, 1), [I; 10], [I; 10]),
                wish("settle without the lease", settle(HOLDER + 1, 0), [C; 10], [C; 10]),
            ]
        }
        _ => unreachable!("the table asks for these only"),
    }
}

/// What manages a group, of whichever a site's admin is no member: by her sign-in she may, by her token she may not.
#[test]
fn an_admins_token_administers_nothing() {
    for room in [Room::Group, Room::Public] {
        let mut scene = Scene::new(room);
        let (admin, conversation_id, user_id) = (scene.admin, scene.room, scene.mate);
        let make = rpc::MakeToken {
            user_id: admin,
            session_id: id(OWN_TOKEN),
            secret_hash: hash("token"),
            label: "ci".into(),
            scopes: scopes::ALL,
            ..Default::default()
        };
        accepted(&scene.world.act(admin, Action::MakeToken(make)));
        let wishes = [
            Action::AddMember(rpc::AddMember { conversation_id, user_id: scene.other }),
            Action::RemoveMember(rpc::RemoveMember { conversation_id, user_id }),
        ];
        for action in wishes {
            let by_token =
                Command { session_id: id(OWN_TOKEN), ..scene.world.command(admin, action.clone()) };
            let before = scene.kept();
            let outcome = scene.world.apply(&by_token).0;
            assert_eq!(tests::code(&outcome), N, "{action:?}");
            assert!(scene.kept() == before, "a refusal changes nothing: {action:?}");
            assert_eq!(scene.ask(Who::Admin, action), D);
        }
    }
}
