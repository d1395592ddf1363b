//! What a short message asks for: a naive Bayes classifier (Manning, Raghavan, Schütze: Introduction to Information Retrieval,
//! chapter 13) over words, pairs of words and how the message begins and ends. Learns from `corpus.txt` when it is made, which
//! takes a few milliseconds; English and German. Pure.

use std::collections::{BTreeMap, HashMap};

/// What others wrote, an intent and a text a line.
const CORPUS: &str = include_str!("corpus.txt");
/// Words of a message that are looked at: what is longer asks for nothing that a short answer gives.
const WORDS_MAX: usize = 40;

/// A classifier that has learnt.
#[derive(Debug)]
pub(super) struct Classifier {
    intents: Vec<&'static str>,
    /// Feature → how often it was seen with each intent.
    counts: HashMap<String, Vec<u32>>,
    /// Features seen with each intent.
    totals: Vec<u32>,
    /// Examples of each intent.
    examples: Vec<u32>,
}

/// What a message seems to ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Guess {
    /// A word of the corpus.
    pub(super) intent: &'static str,
    /// How sure this is among the intents that are known, 0 to 1.
    pub(super) confidence: f64,
}

/// Lines of a corpus: intent and text.
pub(super) fn lines(corpus: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    corpus.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

/// The words of a text, lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .take(WORDS_MAX)
}

fn features(text: &str) -> Vec<String> {
    let words: Vec<String> = words(text).collect();
    let mut features: Vec<String> = Vec::with_capacity(words.len() * 2 + 4);
    features.extend(words.windows(2).map(|pair| format!("{} {}", pair[0], pair[1])));
    if let (Some(first), Some(last)) = (words.first(), words.last()) {
        features.push(format!("^{first}"));
        features.push(format!("{last}$"));
    }
    features.extend(words);
    match text.trim_end().chars().last() {
        Some('?') => features.extend(["?".to_owned(), "?!".to_owned()]),
        Some('!') => features.push("!".to_owned()),
        _ => features.push(".".to_owned()),
    }
    features
}

impl Classifier {
    /// Learns from the corpus.
    pub(super) fn learn() -> Self {
        let mut numbers: BTreeMap<&'static str, usize> =
            lines(CORPUS).map(|(intent, _)| (intent, 0)).collect();
        for (number, place) in numbers.values_mut().enumerate() {
            *place = number;
        }
        let kinds = numbers.len();
        let mut learnt = Self {
            intents: numbers.keys().copied().collect(),
            counts: HashMap::new(),
            totals: vec![0; kinds],
            examples: vec![0; kinds],
        };
        for (intent, text) in lines(CORPUS) {
            let at = numbers[intent];
            learnt.examples[at] += 1;
            for feature in features(text) {
                learnt.counts.entry(feature).or_insert_with(|| vec![0; kinds])[at] += 1;
                learnt.totals[at] += 1;
            }
        }
        learnt
    }

    /// The likeliest intent; `None` for a text of which nothing is known.
    pub(super) fn guess(&self, text: &str) -> Option<Guess> {
        let known: Vec<&Vec<u32>> = features(text)
            .iter()
            .filter(|feature| feature.chars().any(char::is_alphanumeric))
            .filter_map(|feature| self.counts.get(feature))
            .collect();
        if known.is_empty() {
            return None;
        }
        let ending: Vec<&Vec<u32>> = features(text)
            .iter()
            .filter(|feature| !feature.chars().any(char::is_alphanumeric))
            .filter_map(|feature| self.counts.get(feature))
            .collect();
        let vocabulary = self.counts.len() as f64;
        let all: u32 = self.examples.iter().sum();
        let scores: Vec<f64> = (0..self.intents.len())
            .map(|at| {
                let prior = (f64::from(self.examples[at]) / f64::from(all)).ln();
                // Half of Laplace's smoothing: the corpus is small, and rare words say much.
                let likelihood = |seen: &&Vec<u32>| {
                    ((f64::from(seen[at]) + 0.5) / (f64::from(self.totals[at]) + 0.5 * vocabulary)).ln()
                };
                prior + known.iter().chain(&ending).map(likelihood).sum::<f64>()
            })
            .collect();
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at = scores.iter().position(|score| *score == best)?;
        let sum: f64 = scores.iter().map(|score| (score - best).exp()).sum();
        Some(Guess { intent: self.intents[at], confidence: 1.0 / sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of it in the documents: see docs/suggestions.md.
    #[test]
    fn three_of_four_messages_that_it_never_saw_are_understood() {
        let classifier = Classifier::learn();
        let held_out: Vec<_> = lines(include_str!("held_out.txt")).collect();
        let wrong: Vec<_> = held_out
            .iter()
            .filter_map(|(intent, text)| {
                let guess = classifier.guess(text);
                (guess.map(|guess| guess.intent) != Some(*intent)).then_some((text, intent, guess))
            })
            .collect();
        let right = held_out.len() - wrong.len();
        println!("{right} of {} held-out messages understood; not: {wrong:?}", held_out.len());
        assert!(right * 4 >= held_out.len() * 3, "{right} of {}: {wrong:?}", held_out.len());
    }

    #[test]
    fn what_is_held_out_was_not_learnt() {
        for (_, text) in lines(include_str!("held_out.txt")) {
            assert!(lines(CORPUS).all(|(_, learnt)| learnt != text), "{text}");
        }
    }

    #[test]
    fn of_what_it_never_met_it_says_nothing() {
        assert_eq!(Classifier::learn().guess("zqxj wvut"), None);
        assert_eq!(Classifier::learn().guess(""), None);
        assert_eq!(Classifier::learn().guess("???"), None);
    }
}
