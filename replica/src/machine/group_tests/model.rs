//! Groups against a model that knows nothing of records.

use super::*;

/// One user's view in the model: of which sequences she may read, while and after she is in.
#[derive(Debug, Clone, Default)]
struct Seat {
    present: bool,
    role: u32,
    /// Up to here nothing is hers.
    base: u64,
    /// The last that is, when she has left.
    left: u64,
}

/// What a group ought to be, told in the plainest way.
#[derive(Debug, Clone, Default)]
struct Model {
    seats: BTreeMap<u64, Seat>,
    banned: Vec<u64>,
    admins: Vec<u64>,
    /// Who is in, in order of coming.
    order: Vec<u64>,
    public: bool,
    open: u64,
    /// Messages so far.
    said: u64,
}

impl Model {
    fn role(&self, user: u64) -> u32 {
        self.seats.get(&user).filter(|seat| seat.present).map_or(0, |seat| seat.role)
    }

    fn manages(&self, user: u64) -> bool {
        matches!(self.role(user), ROLE_OWNER | ROLE_GROUP_ADMIN)
    }

    fn above(&self, by: u64, user: u64) -> bool {
        !matches!((self.role(by), self.role(user)), (_, ROLE_OWNER) | (ROLE_GROUP_ADMIN, ROLE_GROUP_ADMIN))
    }

    fn enter(&mut self, user: u64) {
        let base = if self.public { self.open } else { self.said };
        self.seats.insert(user, Seat { present: true, role: ROLE_MEMBER, base, left: 0 });
        self.order.push(user);
        if self.order.len() == 1 {
            self.seats.get_mut(&user).expect("just in").role = ROLE_OWNER;
        }
    }

    fn leave(&mut self, user: u64) {
        let was_owner = self.role(user) == ROLE_OWNER;
        let said = self.said;
        let seat = self.seats.get_mut(&user).expect("is in");
        (seat.present, seat.left) = (false, said);
        self.order.retain(|other| *other != user);
        self.admins.retain(|other| *other != user);
        if was_owner && let Some(next) = self.admins.first().or(self.order.first()).copied() {
            self.admins.retain(|other| *other != next);
            self.seats.get_mut(&next).expect("is in").role = ROLE_OWNER;
        }
    }

    /// Does it if it may be done, and tells whether.
    fn act(&mut self, by: u64, action: &Action) -> bool {
        match action {
            Action::Send(_) if self.role(by) != 0 => self.said += 1,
            Action::AddMember(add) if self.manages(by) && !self.banned.contains(&add.user_id) => {
                if self.role(add.user_id) == 0 {
                    self.enter(add.user_id);
                }
            }
            // Whoever is in may be "added" though she is on no list.
            Action::RemoveMember(remove) if self.role(remove.user_id) != 0 => {
                let user = remove.user_id;
                if user != by && !(self.manages(by) && self.above(by, user)) {
                    return false;
                }
                self.leave(user);
            }
            Action::Join(_) if self.role(by) != 0 && self.public => {}
            Action::Join(_) if self.public && !self.banned.contains(&by) => self.enter(by),
            Action::Ban(ban) if self.manages(by) && !ban.on => self.banned.retain(|it| *it != ban.user_id),
            Action::Ban(ban) if self.manages(by) && ban.user_id != by => {
                let user = ban.user_id;
                if self.banned.contains(&user) {
                    return true;
                }
                if self.role(user) != 0 {
                    if !self.above(by, user) {
                        return false;
                    }
                    self.leave(user);
                }
                self.banned.push(user);
            }
            Action::SetMemberRole(set) if self.role(by) == ROLE_OWNER && self.role(set.user_id) != 0 => {
                let user = set.user_id;
                if self.role(user) == set.role {
                    return true;
                }
                if user == by {
                    return false;
                }
                self.admins.retain(|other| *other != user);
                self.seats.get_mut(&user).expect("is in").role = set.role;
                match set.role {
                    ROLE_GROUP_ADMIN => self.admins.push(user),
                    ROLE_OWNER => {
                        self.seats.get_mut(&by).expect("is in").role = ROLE_GROUP_ADMIN;
                        self.admins.push(by);
                    }
                    _ => {}
                }
            }
            Action::ChangeConversation(change) if self.manages(by) => {
                let public = change.public.unwrap_or(self.public);
                if public && !self.public {
                    self.open = self.said;
                }
                self.public = public;
            }
            _ => return false,
        }
        true
    }
}

/// Some hundred commands by five people, allowed and not, against a model that knows nothing of records: the same are refused, the
/// same people are in with the same roles, and the same messages are everybody's to see.
#[test]
fn who_is_in_and_sees_what_is_as_in_a_plain_model() {
    let (mut done, mut refused, mut heirs) = (0, 0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let people: Vec<u64> = (0..5).map(|n| world.user(&format!("u{n}"))).collect();
        let group = world.team(people[0], &[]);
        let mut model = Model::default();
        model.enter(people[0]);
        for step in 0..150 {
            // Each joins at a time of her own, so that the order of coming is one.
            world.now += 1;
            let owner = model.order.iter().copied().find(|user| model.role(*user) == ROLE_OWNER);
            if owner.is_none() && !model.public {
                // Nobody is in, and there is no way in any more.
                break;
            }
            // The owner more often than others: most of the rest is refused.
            let by = owner.filter(|_| dice.below(2) == 0).unwrap_or(people[dice.below(5) as usize]);
            let user = people[dice.below(5) as usize];
            let action = match dice.below(14) {
                0 | 1 | 12 | 13 => add(group, user),
                2 => remove(group, user),
                3 => remove(group, by),
                4 => join(group),
                5 => ban(group, user, true),
                6 => ban(group, user, false),
                7 | 8 => role(group, user, 1 + dice.below(3) as u32),
                9 => change(group, make_public(dice.below(3) != 0)),
                _ => send(group, "hello"),
            };
            let expected = model.act(by, &action);
            let shown = format!("seed {seed}, step {step}: {by} asks for {action:?}, {model:?}");
            let outcome = world.act(by, action);
            let is_done = !matches!(outcome.result, Some(outcome::Result::Rejected(_)));
            assert_eq!(is_done, expected, "{shown}: {outcome:?}");
            *(if is_done { &mut done } else { &mut refused }) += 1;
            heirs +=
                usize::from(owner.is_some_and(|owner| model.role(owner) == 0) && !model.order.is_empty());
            let in_model: Vec<(u64, u32)> = model
                .seats
                .iter()
                .filter(|(_, seat)| seat.present)
                .map(|(user, seat)| (*user, seat.role))
                .collect();
            assert_eq!(world.team_roles(group), in_model, "{shown}");
            for (user, seat) in &model.seats {
                let member = world.seat(group, *user);
                assert_eq!(member.base_sequence, seat.base, "{shown}: {user}");
                assert!(seat.present || member.left_sequence == seat.left, "{shown}: {user}");
                let joins =
                    world.state.events(crate::store::Space::ConversationEvents, group, 1, u64::MAX, 9_999);
                let begin = member.events_after() as usize;
                let first = joins.expect("a map").get(begin).cloned().and_then(|(_, event)| event.kind);
                // The event that she is told first is her own coming.
                let own = match first {
                    Some(records::EventKind::Member(it)) => it.joined && it.user_id == *user,
                    Some(records::EventKind::Conversation(_)) => begin == 0,
                    _ => false,
                };
                assert!(own, "{shown}: {user}");
            }
            if step % 10 == 0 {
                world.must_verify();
            }
        }
        world.must_verify();
    }
    assert!(done > 1_500 && refused > 1_500 && heirs > 50, "{done} done, {refused} refused, {heirs} heirs");
}
