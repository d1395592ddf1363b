//! A list of common emoji with words to find them by. What is not here can still be typed or pasted.

/// Offered without opening the picker.
pub const QUICK_EMOJI: [&str; 6] = ["👍", "❤️", "😂", "🎉", "😮", "🙏"];

/// Emoji and the words that find it.
pub const EMOJI: [(&str, &str); 176] = [
    ("👍", "thumbs up yes good like agree"),
    ("👎", "thumbs down no bad dislike"),
    ("❤️", "red heart love"),
    ("😂", "tears of joy laugh funny"),
    ("🎉", "party celebrate tada congratulations"),
    ("😮", "surprised open mouth wow"),
    ("🙏", "thanks please pray hands"),
    ("✅", "check done yes"),
    ("❌", "cross no wrong"),
    ("👀", "eyes look watching"),
    ("🔥", "fire hot great"),
    ("🚀", "rocket launch ship fast"),
    ("💯", "hundred perfect"),
    ("👏", "clap applause bravo"),
    ("🙌", "raised hands hooray"),
    ("🤝", "handshake deal agree"),
    ("💪", "strong muscle"),
    ("👋", "wave hello bye"),
    ("🤔", "thinking hmm"),
    ("😀", "grin smile happy"),
    ("😄", "smile happy laugh"),
    ("😁", "beaming grin"),
    ("😅", "sweat smile relief"),
    ("🤣", "rolling laughing"),
    ("🙂", "slight smile"),
    ("🙃", "upside down"),
    ("😉", "wink"),
    ("😊", "blush smile"),
    ("😇", "angel halo"),
    ("🥰", "love hearts face"),
    ("😍", "heart eyes love"),
    ("😘", "kiss"),
    ("😋", "yum tasty"),
    ("😛", "tongue"),
    ("😜", "wink tongue crazy"),
    ("🤪", "zany crazy"),
    ("🤗", "hug"),
    ("🤭", "giggle oops"),
    ("🤫", "quiet secret shh"),
    ("🤐", "zipper mouth"),
    ("😐", "neutral"),
    ("😑", "expressionless"),
    ("😏", "smirk"),
    ("😒", "unamused"),
    ("🙄", "eye roll"),
    ("😬", "grimace awkward"),
    ("😌", "relieved"),
    ("😔", "pensive sad"),
    ("😴", "sleep tired"),
    ("😷", "mask ill"),
    ("🤒", "ill fever"),
    ("🤕", "hurt bandage"),
    ("🤢", "sick nausea"),
    ("🤯", "mind blown"),
    ("🥳", "party face birthday"),
    ("😎", "cool sunglasses"),
    ("🤓", "nerd"),
    ("🧐", "monocle inspect"),
    ("😕", "confused"),
    ("😟", "worried"),
    ("🙁", "frown sad"),
    ("😲", "astonished"),
    ("😳", "flushed embarrassed"),
    ("🥺", "pleading"),
    ("😢", "cry sad tear"),
    ("😭", "sob cry"),
    ("😱", "scream fear"),
    ("😤", "triumph huff"),
    ("😡", "angry mad"),
    ("🤬", "swear angry"),
    ("😈", "devil"),
    ("💀", "skull dead"),
    ("💩", "poo"),
    ("🤡", "clown"),
    ("👻", "ghost"),
    ("👽", "alien"),
    ("🤖", "robot bot"),
    ("🎃", "pumpkin halloween"),
    ("😺", "cat smile"),
    ("🙈", "monkey see no evil"),
    ("🙉", "monkey hear no evil"),
    ("🙊", "monkey speak no evil"),
    ("💋", "kiss mark"),
    ("💔", "broken heart"),
    ("🧡", "orange heart"),
    ("💛", "yellow heart"),
    ("💚", "green heart"),
    ("💙", "blue heart"),
    ("💜", "purple heart"),
    ("🖤", "black heart"),
    ("🤍", "white heart"),
    ("💥", "boom collision"),
    ("💫", "dizzy star"),
    ("💦", "sweat drops"),
    ("💤", "sleep zzz"),
    ("💬", "speech message"),
    ("👌", "ok fine"),
    ("✌️", "victory peace"),
    ("🤞", "fingers crossed luck"),
    ("🤘", "rock horns"),
    ("👈", "point left"),
    ("👉", "point right"),
    ("👆", "point up"),
    ("👇", "point down"),
    ("☝️", "index up one"),
    ("✊", "fist"),
    ("👊", "fist bump punch"),
    ("🫡", "salute"),
    ("🤷", "shrug dunno"),
    ("🤦", "facepalm"),
    ("🙋", "hand raise me question"),
    ("💁", "information"),
    ("🙅", "no gesture"),
    ("🙆", "ok gesture"),
    ("🏃", "run"),
    ("💃", "dance"),
    ("🐶", "dog"),
    ("🐱", "cat"),
    ("🐭", "mouse"),
    ("🐻", "bear"),
    ("🐼", "panda"),
    ("🦊", "fox"),
    ("🦄", "unicorn"),
    ("🐝", "bee"),
    ("🐛", "bug"),
    ("🐢", "turtle slow"),
    ("🐙", "octopus"),
    ("🐧", "penguin"),
    ("🦀", "crab rust"),
    ("🌱", "seedling plant"),
    ("🌹", "rose flower"),
    ("🌈", "rainbow"),
    ("☀️", "sun sunny"),
    ("🌙", "moon night"),
    ("⭐", "star"),
    ("⚡", "lightning fast"),
    ("❄️", "snow cold"),
    ("🍎", "apple"),
    ("🍌", "banana"),
    ("🍕", "pizza"),
    ("🍔", "burger"),
    ("🍟", "fries"),
    ("🎂", "cake birthday"),
    ("🍪", "cookie"),
    ("🍫", "chocolate"),
    ("☕", "coffee tea"),
    ("🍺", "beer"),
    ("🍷", "wine"),
    ("🥂", "cheers glasses"),
    ("⚽", "football soccer"),
    ("🏆", "trophy win"),
    ("🥇", "medal first gold"),
    ("🎯", "target goal"),
    ("🎮", "game"),
    ("🎵", "music note"),
    ("🎁", "gift present"),
    ("🎈", "balloon"),
    ("🚗", "car"),
    ("✈️", "plane travel"),
    ("🚲", "bicycle"),
    ("🏠", "home house"),
    ("⏰", "alarm clock time"),
    ("⌛", "hourglass waiting"),
    ("📅", "calendar date"),
    ("📌", "pin"),
    ("📎", "paperclip attach"),
    ("📝", "memo note write"),
    ("📈", "chart up"),
    ("📉", "chart down"),
    ("💡", "idea bulb light"),
    ("🔒", "lock secure"),
    ("🔑", "key"),
    ("🔧", "wrench fix tool"),
    ("⚠️", "warning"),
    ("❓", "question"),
    ("❗", "exclamation important"),
];

/// Emoji whose words begin like each word of the query; all without one.
pub fn find_emoji(query: &str) -> Vec<&'static str> {
    let query = query.to_lowercase();
    let found = EMOJI.iter().filter(|(emoji, words)| {
        query
            .split_whitespace()
            .all(|wanted| *emoji == wanted || words.split(' ').any(|word| word.starts_with(wanted)))
    });
    found.map(|(emoji, _)| *emoji).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::text::check_emoji;

    #[test]
    fn the_servers_take_every_one_of_them_once() {
        for (at, (emoji, words)) in EMOJI.iter().enumerate() {
            assert_eq!(check_emoji(emoji), Ok(()), "{emoji} {words}");
            assert!(EMOJI[..at].iter().all(|(other, _)| other != emoji), "{emoji} twice");
        }
        for emoji in QUICK_EMOJI {
            assert!(EMOJI.iter().any(|(other, _)| *other == emoji), "{emoji}");
        }
    }

    #[test]
    fn they_are_found_by_the_beginnings_of_words() {
        assert!(find_emoji("thu up").contains(&"👍"));
        assert_eq!(find_emoji("rocket"), ["🚀"]);
        assert_eq!(find_emoji("👍"), ["👍"]);
        assert!(find_emoji("xyzzy").is_empty());
        assert_eq!(find_emoji(" ").len(), EMOJI.len());
    }
}
