//! The story becomes accounts, conversations and messages, step by step, through the public interface.
//!
//! Each step is written down when it is done, and its commands have ids that stay: what was interrupted goes on where it
//! stopped, and a second start adds nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::NewAvatar;
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_proto::rest::{
    ClaimAdmin, NewConversation, NewMessage, ProfileChange, ReadMark, SessionGrant, SignUp, Written,
};
use uuid::Uuid;

use super::book::Book;
use super::rest::{Account, Rest, body};
use super::story::{self, Line, Person, Room};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::http::Call;

/// A cluster that has just started answers everything within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing to be done, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// An account.
    SignUp(Person),
    /// A picture and a status.
    Profile(Person),
    /// Rights, from the operator's hand.
    Admin(&'static str),
    /// A conversation.
    Open(Room),
    /// A message and what hangs on it.
    Say(Line),
    /// How far somebody has read.
    Read(&'static str, &'static str),
}

/// The whole story in its order; a book says how many of these are done.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = story::PEOPLE.into_iter().map(Step::SignUp).collect();
    steps.push(Step::Admin(story::FIRST));
    steps.extend(story::PEOPLE.into_iter().map(Step::Profile));
    steps.extend(story::ROOMS.into_iter().map(Step::Open));
    steps.extend(story::LINES.iter().copied().map(Step::Say));
    for room in story::ROOMS.into_iter().filter(|room| room.name != story::PROBE) {
        steps.extend(room.members.iter().map(|name| Step::Read(name, room.name)));
        steps.push(Step::Read(room.owner, room.name));
    }
    steps
}

/// Carries out what is still to be done; each step is written down before the next begins. Returns how many were.
///
/// # Errors
/// The first that fails; the next call begins with it.
pub(crate) async fn go_on<F>(book: &mut Book, steps: &[Step], mut carry_out: F) -> Result<u32>
where
    F: AsyncFnMut(&mut Book, u32, &Step) -> Result<()>,
{
    let before = book.done;
    for (number, step) in (0..).zip(steps).skip(usize::try_from(before).unwrap_or(usize::MAX)) {
        carry_out(book, number, step).await?;
        book.done = number + 1;
        book.save()?;
    }
    Ok(book.done - before)
}

/// Does the steps at a cluster.
pub(crate) struct Seeder<'a> {
    cluster: &'a Cluster,
    rest: &'a Rest,
    accounts: BTreeMap<String, Account>,
}

impl std::fmt::Debug for Seeder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeder").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

impl<'a> Seeder<'a> {
    pub(crate) fn new(cluster: &'a Cluster, rest: &'a Rest) -> Self {
        Self { cluster, rest, accounts: BTreeMap::new() }
    }

    /// Does one step.
    ///
    /// # Errors
    /// When it is refused, or nobody decides it in time.
    pub(crate) async fn carry_out(&mut self, book: &mut Book, number: u32, step: &Step) -> Result<()> {
        let key = |part| book.key(number, part);
        match step {
            Step::SignUp(person) => self.sign_up(book, person, key(0)).await,
            Step::Profile(person) => self.profile(book, person, [key(0), key(1), key(2)]).await,
            Step::Admin(name) => {
                // A secret of the operator's, who runs this; it does not matter whether there is an admin already.
                let secret = self.cluster.operate(&["admin", "offer"]).await?.trim().to_owned();
                let call = Call::new("POST", "/api/v1/admin/claim").json(&ClaimAdmin { secret });
                // Each try has another secret, so it is another call.
                self.done(book, name, call, Uuid::new_v4()).await.map(|_| ())
            }
            Step::Open(room) => self.open(book, room, key(0)).await,
            Step::Say(line) => self.say(book, number, line).await,
            Step::Read(who, room) => self.read(book, who, room, key(0)).await,
        }
    }

    /// Ends the sessions that the seeding began.
    pub(crate) async fn sign_out(self) {
        for mut account in self.accounts.into_values() {
            account.sign_out(self.rest).await;
        }
    }

    async fn sign_up(&mut self, book: &Book, person: &Person, key: Uuid) -> Result<()> {
        let mut account = Account::new(person.name, book.password(person.name)?);
        let asked = SignUp {
            name: account.name.clone(),
            password: account.password.clone(),
            display_name: Some(person.display_name.to_owned()),
            device: account.sign_in().device,
        };
        let call =
            Call::new("POST", "/api/v1/accounts").json(&asked).header("idempotency-key", key.to_string());
        match self.rest.send(call, PATIENCE).await? {
            Ok(answer) => {
                let grant: SessionGrant = body(&answer)?;
                account.granted(&grant);
            }
            // It was made, and the answer was lost: then the password is right. Or the name is somebody else's.
            Err(error) if matches!(error.code, ErrorCode::NameTaken | ErrorCode::IdConflict) => {
                let own = account.call(self.rest, Call::get("/api/v1/me"), PATIENCE).await?;
                own.map_err(|_| {
                    Error::Usage(format!(
                        "somebody else in this data directory is called {}: use another --data-dir for the demo",
                        person.name
                    ))
                })?;
            }
            Err(error) => return Err(refused(person.name, &error)),
        }
        self.accounts.insert(person.name.to_owned(), account);
        Ok(())
    }

    async fn profile(&mut self, book: &Book, person: &Person, keys: [Uuid; 3]) -> Result<()> {
        let [file, put, change] = keys;
        let picture = super::portrait::png(person.name, person.hue)?;
        let path = format!("/api/v1/files/{file}/content?name={}.png", person.name);
        self.done(book, person.name, Call::new("PUT", path).bytes(picture), put).await?;
        let asked = ProfileChange {
            display_name: None,
            status: Some(person.status.to_owned()),
            avatar: Some(NewAvatar(Some(file))),
        };
        self.done(book, person.name, Call::new("PATCH", "/api/v1/me").json(&asked), change).await.map(|_| ())
    }

    async fn open(&mut self, book: &mut Book, room: &Room, key: Uuid) -> Result<()> {
        let asked = match room.title {
            None => NewConversation::Direct { user: room.members.concat() },
            Some(title) => NewConversation::Group {
                title: title.to_owned(),
                members: room.members.iter().map(|name| (*name).to_owned()).collect(),
                topic: room.topic.to_owned(),
                public: room.public,
                announcement: room.announcement,
            },
        };
        let call = Call::new("POST", "/api/v1/conversations").json(&asked);
        let Written::Ack(ack) = body(&self.done(book, room.owner, call, key).await?)?;
        let id =
            ack.conversation.ok_or_else(|| Error::Failed("a conversation without a number".to_owned()))?;
        book.rooms.insert(room.name.to_owned(), id);
        Ok(())
    }

    async fn say(&mut self, book: &mut Book, number: u32, line: &Line) -> Result<()> {
        let room = room_of(book, line.room)?;
        let place = |name: &str| format!("{}/{name}", line.room);
        let asked = NewMessage {
            text: line.text.to_owned(),
            reply_to: line.answers.and_then(|name| book.messages.get(&place(name)).copied()),
            forward: None,
            first_sent: 0,
            attachments: Vec::new(),
        };
        let call = Call::new("POST", format!("/api/v1/conversations/{room}/messages")).json(&asked);
        let Written::Ack(ack) = body(&self.done(book, line.who, call, book.key(number, 0)).await?)?;
        let sequence: Sequence =
            ack.sequence.ok_or_else(|| Error::Failed("a message without a place".to_owned()))?;
        let message = format!("/api/v1/conversations/{room}/messages/{sequence}");
        if line.pinned {
            let call = Call::new("PUT", format!("{message}/pin"));
            self.done(book, line.who, call, book.key(number, 1)).await?;
        }
        for (part, (who, emoji)) in (2..).zip(line.reactions) {
            let call = Call::new("PUT", format!("{message}/reactions/{}", escaped(emoji)));
            self.done(book, who, call, book.key(number, part)).await?;
        }
        if let Some(name) = line.name {
            book.messages.insert(place(name), sequence);
        }
        book.newest.insert(line.room.to_owned(), sequence);
        Ok(())
    }

    async fn read(&mut self, book: &Book, who: &str, room: &str, key: Uuid) -> Result<()> {
        let new = story::UNREAD.iter().find(|(name, of, _)| (*name, *of) == (who, room));
        let newest = book.newest.get(room).copied().unwrap_or(0);
        let sequence = newest.saturating_sub(new.map_or(0, |(_, _, count)| *count));
        if sequence == 0 {
            return Ok(());
        }
        let path = format!("/api/v1/conversations/{}/read", room_of(book, room)?);
        let call = Call::new("PUT", path).json(&ReadMark { sequence });
        self.done(book, who, call, key).await.map(|_| ())
    }

    async fn done(&mut self, book: &Book, who: &str, call: Call, key: Uuid) -> Result<Response<Bytes>> {
        let account = match self.accounts.entry(who.to_owned()) {
            std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Account::new(who, book.password(who)?))
            }
        };
        let call = call.header("idempotency-key", key.to_string());
        let answer = account.call(self.rest, call, PATIENCE).await?;
        answer.map_err(|error| refused(who, &error))
    }
}

fn room_of(book: &Book, name: &str) -> Result<ConversationId> {
    let room = book.rooms.get(name).copied();
    room.ok_or_else(|| Error::Failed(format!("the demo's conversation {name} was never made")))
}

fn refused(who: &str, error: &WireError) -> Error {
    Error::Failed(format!("seeding the demo: {who} was refused: {}", error.message))
}

/// A text as a part of a path.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_interrupted_goes_on_where_it_stopped_and_a_second_start_adds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo.json");
        let names = || story::PEOPLE.iter().map(|person| person.name);
        let steps = steps();
        let mut calls: Vec<(u32, Uuid)> = Vec::new();
        // A process that dies in the middle of a step, thrice: what it had sent for that step is sent again, under the same id.
        for dies_at in [5, 17, 40] {
            let mut book = Book::open(&path, names()).unwrap();
            let died = go_on(&mut book, &steps, async |book, number, _| {
                calls.push((number, book.key(number, 0)));
                if number == dies_at { Err(Error::Failed("killed".to_owned())) } else { Ok(()) }
            });
            assert!(died.await.is_err());
        }
        let mut book = Book::open(&path, names()).unwrap();
        let rest = go_on(&mut book, &steps, async |book, number, _| {
            calls.push((number, book.key(number, 0)));
            Ok(())
        });
        assert_eq!(rest.await.unwrap() as usize, steps.len() - 40);
        let mut again = Book::open(&path, names()).unwrap();
        assert_eq!(again, book);
        let nothing = go_on(&mut again, &steps, async |_, number, _| panic!("step {number} was done before"));
        assert_eq!(nothing.await.unwrap(), 0);
        let mut numbers: Vec<u32> = calls.iter().map(|(number, _)| *number).collect();
        assert!(numbers.is_sorted());
        numbers.dedup();
        assert_eq!(numbers.len(), steps.len(), "every step was done");
        calls.dedup();
        assert_eq!(calls.len(), steps.len(), "a step that was tried twice had one id");
    }

    #[test]
    fn everything_is_there_before_somebody_needs_it() {
        let mut known = std::collections::BTreeSet::new();
        for step in steps() {
            match step {
                Step::SignUp(person) => assert!(known.insert(person.name)),
                Step::Profile(person) => assert!(known.contains(person.name)),
                Step::Admin(name) => assert!(known.contains(name)),
                Step::Open(room) => assert!(known.insert(room.name)),
                Step::Say(line) => assert!(known.contains(line.room)),
                Step::Read(name, room) => assert!(known.contains(name) && known.contains(room)),
            }
        }
    }

    #[test]
    fn an_emoji_is_escaped_byte_by_byte() {
        assert_eq!(escaped("👍"), "%F0%9F%91%8D");
    }
}
