//! Suggestions without a network: what this reader answered to something alike before, and short answers that fit what the
//! message asks for. Pure.

use std::collections::HashMap;

use super::classify::{Classifier, words};
use super::{Line, SUGGESTIONS_MAX};

/// Below this the classifier is guessing, and nothing is better than something.
const CONFIDENCE_MIN: f64 = 0.5;
/// Cosine of two messages' words from which on they ask for the same.
const ALIKE_MIN: f64 = 0.6;
/// Longest own answer that is suggested again, in characters.
const ANSWER_CHARS_MAX: usize = 80;

/// Short answers by intent: English, German.
const ANSWERS: [(&str, [&str; 3], [&str; 3]); 14] = [
    ("question_yes_no", ["Yes", "No, sorry", "Let me check"], ["Ja", "Leider nein", "Ich schaue kurz nach"]),
    (
        "question_when",
        ["In about an hour", "Tomorrow morning", "I'll let you know"],
        ["In etwa einer Stunde", "Morgen früh", "Ich sage Bescheid"],
    ),
    (
        "question_where",
        ["I'll send you the place", "I'm not sure", "Let me look"],
        ["Ich schicke dir den Ort", "Weiß ich gerade nicht", "Ich schaue nach"],
    ),
    (
        "question_state",
        ["Great, and you?", "Not bad, thanks", "Busy, but fine"],
        ["Gut, und dir?", "Ganz gut, danke", "Viel zu tun, aber gut"],
    ),
    (
        "question_opinion",
        ["Looks good to me", "I have some doubts", "Let me think about it"],
        ["Finde ich gut", "Ich habe Bedenken", "Ich denke darüber nach"],
    ),
    (
        "thanks",
        ["You're welcome!", "Any time", "Glad it helped"],
        ["Gern geschehen!", "Jederzeit", "Freut mich"],
    ),
    (
        "greeting",
        ["Hi!", "Hello, how are you?", "Good to hear from you"],
        ["Hallo!", "Hi, wie geht's?", "Schön, von dir zu hören"],
    ),
    ("farewell", ["See you!", "You too!", "Take care"], ["Bis dann!", "Dir auch!", "Mach's gut"]),
    (
        "apology",
        ["No problem", "Don't worry about it", "Thanks for telling me"],
        ["Kein Problem", "Macht nichts", "Danke fürs Bescheidsagen"],
    ),
    (
        "request",
        ["Will do", "I'm on it", "I can't right now"],
        ["Mache ich", "Bin dabei", "Gerade geht es nicht"],
    ),
    (
        "good_news",
        ["Congratulations!", "That's great!", "Well done!"],
        ["Glückwunsch!", "Super!", "Gut gemacht!"],
    ),
    (
        "bad_news",
        ["I'm sorry to hear that", "Can I help?", "What happened?"],
        ["Das tut mir leid", "Kann ich helfen?", "Was ist passiert?"],
    ),
    (
        "proposal",
        ["Sounds good", "I can't make it", "Can we do it another time?"],
        ["Klingt gut", "Da kann ich nicht", "Geht es auch ein andermal?"],
    ),
    (
        "statement_done",
        ["Thanks!", "Got it", "I'll take a look"],
        ["Danke!", "Angekommen", "Ich schaue es mir an"],
    ),
];

/// Answers to a message that says somebody is coming.
const ON_MY_WAY: ([&str; 3], [&str; 3]) =
    (["See you soon", "No rush", "OK, thanks"], ["Bis gleich", "Kein Stress", "Alles klar, danke"]);

/// Words by which German is told from English in short messages.
const GERMAN: [&str; 48] = [
    "ich", "du", "er", "wir", "ihr", "ist", "bin", "bist", "sind", "das", "der", "die", "den", "dem", "ein",
    "eine", "und", "nicht", "mir", "dir", "mich", "dich", "wann", "wo", "wie", "was", "hast", "hat",
    "kannst", "bitte", "danke", "dank", "hallo", "guten", "morgen", "bis", "für", "mit", "zu", "es", "auf",
    "noch", "heute", "gleich", "tut", "leid", "erledigt", "schönen",
];

/// Up to three answers to the last line, which another wrote.
pub(super) fn suggest(classifier: &Classifier, lines: &[Line]) -> Vec<String> {
    let Some((last, before)) = lines.split_last() else { return Vec::new() };
    if last.mine {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(answered_before(&last.text, before));
    if let Some(guess) = classifier.guess(&last.text).filter(|guess| guess.confidence >= CONFIDENCE_MIN) {
        found.extend(
            answers(guess.intent, is_german(&last.text))
                .map(|answer| answer.map(str::to_owned))
                .into_iter()
                .flatten(),
        );
    }
    let mut kept: Vec<String> = Vec::new();
    for answer in found {
        if kept.len() < SUGGESTIONS_MAX && !kept.iter().any(|known| known.eq_ignore_ascii_case(&answer)) {
            kept.push(answer);
        }
    }
    kept
}

fn answers(intent: &str, german: bool) -> Option<[&'static str; 3]> {
    let (english, in_german) = match ANSWERS.iter().find(|(known, ..)| *known == intent) {
        Some((_, english, in_german)) => (english, in_german),
        None if intent == "on_my_way" => (&ON_MY_WAY.0, &ON_MY_WAY.1),
        None => return None,
    };
    Some(if german { *in_german } else { *english })
}

fn is_german(text: &str) -> bool {
    let (mut german, mut all) = (0, 0);
    for word in words(text) {
        german += usize::from(GERMAN.contains(&word.as_str()) || word.contains(['ä', 'ö', 'ü', 'ß']));
        all += 1;
    }
    german * 4 > all
}

/// What the reader answered to the most alike earlier line of somebody else, if there is one that is alike enough.
fn answered_before(asked: &str, before: &[Line]) -> Option<String> {
    let wanted = bag(asked);
    let pairs = before.windows(2).filter(|pair| !pair[0].mine && pair[1].mine);
    let short =
        pairs.filter(|pair| pair[1].text.chars().count() <= ANSWER_CHARS_MAX && !pair[1].text.contains('\n'));
    let scored = short.map(|pair| (cosine(&wanted, &bag(&pair[0].text)), pair[1].text.trim()));
    // Of two that are as much alike, the later.
    let best = scored.filter(|(score, _)| *score >= ALIKE_MIN).reduce(|a, b| if b.0 >= a.0 { b } else { a });
    best.map(|(_, answer)| answer.to_owned())
}

fn bag(text: &str) -> HashMap<String, f64> {
    let mut bag = HashMap::new();
    for word in words(text) {
        *bag.entry(word).or_insert(0.0) += 1.0;
    }
    bag
}

fn cosine(a: &HashMap<String, f64>, b: &HashMap<String, f64>) -> f64 {
    let product: f64 = a.iter().map(|(word, count)| count * b.get(word).copied().unwrap_or(0.0)).sum();
    let length = |bag: &HashMap<String, f64>| bag.values().map(|count| count * count).sum::<f64>().sqrt();
    let lengths = length(a) * length(b);
    if lengths > 0.0 { product / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(mine: bool, text: &str) -> Line {
        let from = if mine { "ann" } else { "bob" };
        Line { from: from.to_owned(), mine, text: text.to_owned() }
    }

    #[test]
    fn every_intent_has_answers_in_both_languages() {
        for (intent, _) in super::super::classify::lines(include_str!("corpus.txt")) {
            assert!(answers(intent, false).is_some() && answers(intent, true).is_some(), "{intent}");
        }
    }

    #[test]
    fn an_answer_fits_the_message_and_its_language() {
        let classifier = Classifier::learn();
        let answer = |text: &str| suggest(&classifier, &[line(false, text)]);
        assert!(answer("thank you so much!").contains(&"You're welcome!".to_owned()));
        assert!(answer("Kannst du mir bitte helfen?").contains(&"Ja".to_owned()));
        assert!(answer("how about friday?").contains(&"Sounds good".to_owned()));
    }

    #[test]
    fn nothing_is_suggested_where_nothing_is_known() {
        let classifier = Classifier::learn();
        assert!(suggest(&classifier, &[]).is_empty());
        assert!(
            suggest(&classifier, &[line(true, "are you coming?")]).is_empty(),
            "one's own line needs no answer"
        );
        assert!(suggest(&classifier, &[line(false, "zqxj wvut")]).is_empty());
    }

    #[test]
    fn what_was_answered_before_comes_first_and_once() {
        let classifier = Classifier::learn();
        let lines = [
            line(false, "are you coming to the standup?"),
            line(true, "Two minutes!"),
            line(false, "great weather"),
            line(true, "yes"),
            line(false, "are you coming to the standup?"),
        ];
        let found = suggest(&classifier, &lines);
        assert_eq!(found.first().map(String::as_str), Some("Two minutes!"));
        assert_eq!(found.len(), 3);
    }
}
