//! What the demo shows: ten people who turn an old lighthouse into a museum, and a day of theirs. Words alone; how they come to
//! be is in [`super::seed`].

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) display_name: &'static str,
    pub(crate) status: &'static str,
    /// Of her picture, degrees.
    pub(crate) hue: u16,
}

/// A conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// The story's name for it.
    pub(crate) name: &'static str,
    /// Who makes it.
    pub(crate) owner: &'static str,
    /// The others; of a direct conversation the one other.
    pub(crate) members: &'static [&'static str],
    /// Direct without.
    pub(crate) title: Option<&'static str>,
    pub(crate) topic: &'static str,
    pub(crate) public: bool,
    pub(crate) announcement: bool,
}

/// A message and what hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) room: &'static str,
    pub(crate) who: &'static str,
    pub(crate) text: &'static str,
    /// A name under which others answer to it.
    pub(crate) name: Option<&'static str>,
    /// The name of the message that it answers to.
    pub(crate) answers: Option<&'static str>,
    /// Who reacts, and how.
    pub(crate) reactions: &'static [(&'static str, &'static str)],
    pub(crate) pinned: bool,
}

/// Signed in by the first link, and an admin.
pub(crate) const FIRST: &str = "ada";
/// Signed in by the second link.
pub(crate) const SECOND: &str = "ben";
/// Sends for the probe.
pub(crate) const WRITER: &str = "probe-writer";
/// Reads for the probe.
pub(crate) const READER: &str = "probe-reader";
/// Where the probe sends.
pub(crate) const PROBE: &str = "probe";

const fn person(name: &'static str, display_name: &'static str, status: &'static str, hue: u16) -> Person {
    Person { name, display_name, status, hue }
}

pub(crate) const PEOPLE: [Person; 12] = [
    person(FIRST, "Ada Okafor", "On the scaffold until four", 210),
    person(SECOND, "Ben Lindqvist", "Counting screws", 24),
    person("chidi", "Chidi Mensah", "", 140),
    person("dana", "Dana Petrova", "Writing labels, slowly", 330),
    person("emeka", "Emeka Silva", "At the harbour office", 46),
    person("farah", "Farah Nasser", "Drone is charging", 270),
    person("goran", "Goran Vuković", "", 0),
    person("hana", "Hana Sato", "Back on Monday", 180),
    person("ivo", "Ivo Marek", "Keeper of the kettle", 96),
    person("june", "June Abara", "", 300),
    person(WRITER, "Probe (writer)", "Sends a number ten times a second", 200),
    person(READER, "Probe (reader)", "Counts what arrives", 160),
];

const fn group(
    name: &'static str,
    owner: &'static str,
    members: &'static [&'static str],
    title: &'static str,
    topic: &'static str,
) -> Room {
    Room { name, owner, members, title: Some(title), topic, public: false, announcement: false }
}

const fn direct(name: &'static str, owner: &'static str, other: &'static [&'static str; 1]) -> Room {
    Room { name, owner, members: other, title: None, topic: "", public: false, announcement: false }
}

const EVERYBODY: &[&str] = &["ben", "chidi", "dana", "emeka", "farah", "goran", "hana", "ivo", "june"];

pub(crate) const ROOMS: [Room; 9] = [
    group(PROBE, WRITER, &[READER], "Probe", "Numbers, ten times a second while the probe runs"),
    Room {
        public: true,
        announcement: true,
        ..group("news", FIRST, EVERYBODY, "Announcements", "What everybody should know; Ada writes")
    },
    Room {
        public: true,
        ..group(
            "harbour",
            "emeka",
            &["ada", "ben", "chidi", "farah", "ivo", "june"],
            "Harbour square",
            "Anybody may come in",
        )
    },
    group("lunch", "ivo", &["ada", "ben", "dana", "goran", "june"], "Lunch", "Soup on Thursdays"),
    group("exhibits", "dana", &["ada", "ben", "hana", "june"], "Exhibits", "Labels, lamps and the fog bell"),
    direct("ben-dana", "dana", &["ben"]),
    direct("ada-farah", "farah", &["ada"]),
    direct("ada-ben", FIRST, &["ben"]),
    group(
        "tower",
        FIRST,
        &["ben", "chidi", "farah", "goran", "ivo", "june"],
        "Lighthouse tower",
        "Scaffold, lens, stairs. Opening day is the 14th",
    ),
];

const fn say(room: &'static str, who: &'static str, text: &'static str) -> Line {
    Line { room, who, text, name: None, answers: None, reactions: &[], pinned: false }
}

impl Line {
    const fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    const fn answers(self, name: &'static str) -> Self {
        Self { answers: Some(name), ..self }
    }

    const fn with(self, reactions: &'static [(&'static str, &'static str)]) -> Self {
        Self { reactions, ..self }
    }

    const fn pinned(self) -> Self {
        Self { pinned: true, ..self }
    }
}

pub(crate) const LINES: &[Line] = &[
    say("news", "ada", "Welcome aboard. This is where decisions go, and nothing else.").with(&[
        ("ben", "👋"),
        ("june", "👋"),
        ("ivo", "🫖"),
    ]),
    say("news", "ada", "**Opening day is Saturday the 14th**, doors at ten. The stairs carry *eight people at a time*, not nine.")
        .named("opening")
        .with(&[("ben", "🎉"), ("dana", "🎉"), ("hana", "🎉"), ("june", "😱")])
        .pinned(),
    say("harbour", "emeka", "The harbour office says we may use the east quay for the queue."),
    say("harbour", "june", "Does that include the part with the gulls?").named("gulls"),
    say("harbour", "emeka", "Especially the part with the gulls.").answers("gulls").with(&[
        ("june", "😂"),
        ("ivo", "😂"),
        ("ada", "🐦"),
    ]),
    say("harbour", "chidi", "Ferry timetable for the 14th: 09:20, 10:05, 10:50, then every half hour.").pinned(),
    say("lunch", "ivo", "Leek and potato, or the tomato one again?").named("soup"),
    say("lunch", "goran", "Leek.").answers("soup"),
    say("lunch", "dana", "Leek, and bread that is not from Tuesday please").answers("soup").with(&[("ivo", "🍞")]),
    say("exhibits", "dana", "Label for the fog bell, third attempt:\n\n> Rung by hand, every thirty seconds, for as long as the fog lasted. The longest watch was nineteen hours."),
    say("exhibits", "hana", "I would end it after “lasted”. The number then comes as a second line.").with(&[("dana", "💡")]),
    say("exhibits", "june", "The lamp room needs a light that does not look like a lamp. Any ideas?").named("lamp"),
    say("exhibits", "ben", "There are two strips left over from the stairs, warm white, `24 V`.").answers("lamp").with(&[("june", "🙏")]),
    say("ben-dana", "dana", "Do you still have the brass screws for the label plates?"),
    say("ben-dana", "ben", "Forty of them. You need how many?"),
    say("ben-dana", "dana", "Forty-one"),
    say("ben-dana", "ben", "Then one label hangs by faith").with(&[("dana", "😄")]),
    say("ada-farah", "farah", "Drone pictures of the north side are done. The crack above window three is older than we thought, and dry."),
    say("ada-farah", "ada", "Dry is the best word I have read all week. Thank you!"),
    say("tower", "ivo", "Morning. Kettle is on, wind is four, the gate is open."),
    say("tower", "chidi", "Scaffold inspection at nine. I have the form, I need a second signature."),
    say("tower", "ada", "Mine. Be there in ten minutes.").with(&[("chidi", "👍")]),
    say("tower", "goran", "Who moved the blue toolbox?").named("toolbox"),
    say("tower", "ben", "It is on the second landing, under the tarpaulin, where somebody put it so that nobody would move it.").answers("toolbox").with(&[
        ("goran", "😅"),
        ("ivo", "😂"),
    ]),
    say("tower", "farah", "Flying at half past nine if the wind stays below five. Please nobody on the gallery then."),
    say("tower", "june", "Gallery is empty until eleven, I have the key."),
    say("tower", "chidi", "Inspection passed. One clamp replaced on level two, otherwise as it was on Friday.").with(&[
        ("ada", "✅"),
        ("ben", "✅"),
        ("goran", "✅"),
    ]),
    say("tower", "ada", "Plan for today:\n\n1. Lens frame down to the workshop\n2. Stairs: treads 40 to 62\n3. Primer on the north railing, *if* it stays dry").named("plan").with(&[
        ("ben", "👍"),
        ("chidi", "👍"),
        ("june", "👍"),
    ]).pinned(),
    say("tower", "ben", "For 1 I need three pairs of hands at eleven. The frame is 34 kg and has opinions.").answers("plan"),
    say("tower", "goran", "Two of them are mine."),
    say("tower", "june", "And one pair here."),
    say("tower", "ivo", "The radio says dry until six.").answers("plan"),
    say("tower", "farah", "Back on the ground. 212 pictures, one very surprised pigeon.").with(&[("june", "🐦"), ("ivo", "🐦")]),
    say("tower", "ben", "Frame is down. Nobody lost a finger, the floor lost a splinter."),
    say("tower", "ada", "Well done all three. Can somebody measure the inner ring before it is cleaned?").named("ring"),
    say("tower", "june", "1,842 mm at the top, 1,839 mm below. So it is oval, a little.").answers("ring"),
    say("tower", "ada", "The drawing of 1911 says 1,841. Close enough for a hundred years of salt.").with(&[("june", "📐")]),
    say("tower", "chidi", "Treads 40 to 51 are in. Number 47 creaks whatever I do."),
    say("tower", "goran", "Leave it. A lighthouse without one creaking step is a chimney.").with(&[
        ("ada", "😂"),
        ("ben", "😂"),
        ("chidi", "💯"),
        ("ivo", "💯"),
    ]),
    say("tower", "ivo", "Soup. Now. It is leek."),
    say("tower", "june", "North railing has its primer. Touch it before five and you will be museum grey."),
    say("tower", "chidi", "Treads 52 to 62 done as well. I stop here, my knees have filed a complaint."),
    say("tower", "ada", "That is everything on the list, at twenty past three. I do not know what to do with my face.").with(&[
        ("ben", "🎉"),
        ("farah", "🎉"),
        ("goran", "🎉"),
    ]),
    say("tower", "ben", "Tomorrow: lens cleaning. Bring cotton gloves, the old kind. @ada you have the key to the workshop?").named("key"),
    say("tower", "ada", "On the hook by the radio.").answers("key"),
    say("tower", "ivo", "Gate is closed, kettle is off. Good day, people.").with(&[("ada", "🌅"), ("farah", "🌅")]),
    say("ada-ben", "ada", "How is the lens, honestly?"),
    say("ada-ben", "ben", "Honestly: better than the frame. Two chips at the edge, nothing in the middle. It will throw light as far as it ever did.").with(&[("ada", "❤️")]),
    say("ada-ben", "ada", "Then let us light it on the 13th, at night, before anybody else sees it. Only the crew."),
    say("ada-ben", "ben", "I was hoping that you would say that."),
    say("lunch", "june", "Who takes the soup pot home? It is looking at me."),
    say("lunch", "goran", "I cooked nothing, so I wash it. That is the law."),
];

/// Who has not read everything: user, conversation, and how many messages are new to her.
pub(crate) const UNREAD: [(&str, &str, u64); 3] =
    [("ada", "lunch", 2), ("ben", "exhibits", 1), ("ben", "lunch", 2)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_proto::text;

    use super::*;

    fn is_member(room: &Room, who: &str) -> bool {
        room.owner == who || room.members.contains(&who)
    }

    #[test]
    fn the_story_is_one_that_the_servers_would_take() {
        let people: BTreeSet<&str> = PEOPLE.iter().map(|person| person.name).collect();
        assert_eq!(people.len(), PEOPLE.len());
        for person in PEOPLE {
            assert_eq!(text::canonical_name(person.name).as_deref(), Ok(person.name));
            assert!(text::canonical_title(person.display_name).is_ok());
        }
        let mut rooms = BTreeSet::new();
        for room in ROOMS {
            assert!(rooms.insert(room.name), "{}", room.name);
            assert!(people.contains(room.owner) && room.members.iter().all(|name| people.contains(name)));
            assert!(!room.members.contains(&room.owner), "{}", room.name);
        }
        let mut named = BTreeSet::new();
        for line in LINES {
            let room = ROOMS.iter().find(|room| room.name == line.room).expect("a room");
            assert!(is_member(room, line.who), "{} writes in {}", line.who, line.room);
            assert!(!room.announcement || line.who == room.owner, "{}", line.text);
            assert!(text::check_message(line.text).is_ok());
            assert!(line.answers.is_none_or(|name| named.contains(&(line.room, name))), "{}", line.text);
            for (who, emoji) in line.reactions {
                assert!(is_member(room, who) && text::check_emoji(emoji).is_ok(), "{who} {emoji}");
            }
            assert!(line.reactions.len() < 40, "the ids of one step have room for so many");
            named.extend(line.name.map(|name| (line.room, name)));
        }
        for (who, room, count) in UNREAD {
            let room = ROOMS.iter().find(|each| each.name == room).expect("a room");
            let lines = LINES.iter().filter(|line| line.room == room.name).count();
            assert!(is_member(room, who) && count < lines as u64);
        }
    }
}
