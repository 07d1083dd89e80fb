//! Clients that do random things to the messages of a queue, and a model of what must come of each message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::child::Server;
use super::common::{Answer, Client};
use super::dice::Dice;
use super::objects::md5_of;

pub const QUEUE: &str = "crash-messages";
/// Longer than any load takes.
const VISIBILITY_S: i64 = 600;
/// SQS refuses a body with this character.
const REFUSED: &str = "\u{1}";
/// Longer than any visibility timeout.
pub const CLOCK_STEP_S: i64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Asked,
    Answered,
    Refused,
}

/// What was last done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing, or it was released again.
    Waiting,
    /// Received, for longer than the load takes.
    InFlight,
    ReleaseAsked,
    DeleteAsked,
    Deleted,
}

#[derive(Debug)]
struct Letter {
    sending: Sending,
    /// The request that sent it, with others perhaps.
    request: usize,
    state: State,
}

/// All messages ever sent, by their bodies.
#[derive(Default)]
pub struct Mailbox {
    letters: BTreeMap<String, Letter>,
    requests: usize,
    /// Whoever asked may have taken any message.
    unanswered_receives: usize,
}

pub type SharedMailbox = Arc<Mutex<Mailbox>>;

fn hold(mailbox: &SharedMailbox) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    fn letter(&mut self, body: &str) -> &mut Letter {
        self.letters.get_mut(body).expect("sent by someone")
    }

    /// Checks a message that was received, and returns its body and receipt handle.
    fn open(&mut self, message: &Value) -> (String, String) {
        let text = |name: &str| message[name].as_str().expect("text").to_owned();
        let body = text("Body");
        assert_eq!(text("MD5OfBody"), md5_of(body.as_bytes()), "{message}");
        let letter = self.letters.get_mut(&body).unwrap_or_else(|| panic!("nobody sent {message}"));
        assert!(letter.sending != Sending::Refused && !body.contains(REFUSED), "{message}");
        assert_ne!(letter.state, State::Deleted, "{message}");
        (body, text("ReceiptHandle"))
    }
}

/// One client at work.
pub struct Session {
    pub client: Client,
    pub queue: String,
    pub mailbox: SharedMailbox,
    pub dice: Dice,
    /// Makes its bodies unlike all others.
    pub tag: String,
    /// Bodies and receipt handles of what it has received.
    pub held: Vec<(String, String)>,
}

impl Session {
    /// Works until the connection breaks.
    pub async fn work(mut self) {
        while self.step().await.is_some() {}
    }

    async fn step(&mut self) -> Option<()> {
        match self.dice.below(100) {
            0..30 => self.send().await,
            30..45 => self.send_batch().await,
            45..65 => self.receive().await,
            65..80 => self.delete().await,
            80..90 => self.delete_batch().await,
            _ => self.change_visibility().await,
        }
    }

    /// New bodies, on record as asked for. Some will be refused.
    fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut mailbox = hold(&self.mailbox);
        mailbox.requests += 1;
        let request = mailbox.requests;
        let mut bodies = Vec::new();
        for n in 0..count {
            let refused = if self.dice.percent(10) { REFUSED } else { "" };
            let longest = if self.dice.percent(5) { 60 << 10 } else { 200 };
            let filling = "x".repeat(self.dice.below(longest));
            let body = format!("{} {request}.{n}{refused} {filling}", self.tag);
            let letter = Letter { sending: Sending::Asked, request, state: State::Waiting };
            mailbox.letters.insert(body.clone(), letter);
            bodies.push(body);
        }
        bodies
    }

    fn was_sent(&self, body: &str, taken: bool) {
        assert_eq!(taken, !body.contains(REFUSED), "{body}");
        let sending = if taken { Sending::Answered } else { Sending::Refused };
        hold(&self.mailbox).letter(body).sending = sending;
    }

    async fn send(&mut self) -> Option<()> {
        let body = self.bodies(1).remove(0);
        let answer = self.ask("SendMessage", json!({"MessageBody": body})).await?;
        self.was_sent(&body, answer.status == 200);
        Some(())
    }

    async fn send_batch(&mut self) -> Option<()> {
        let count = self.dice.below(10) + 1;
        let bodies = self.bodies(count);
        let entries = bodies.iter().enumerate().map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body}));
        let answer =
            self.ask("SendMessageBatch", json!({"Entries": entries.collect::<Vec<_>>()})).await?.expect(200).json();
        for (list, taken) in [("Successful", true), ("Failed", false)] {
            for id in ids(&answer[list]) {
                self.was_sent(&bodies[id], taken);
            }
        }
        Some(())
    }

    async fn receive(&mut self) -> Option<()> {
        hold(&self.mailbox).unanswered_receives += 1;
        let wanted = self.dice.below(10) + 1;
        let input = json!({"MaxNumberOfMessages": wanted, "VisibilityTimeout": VISIBILITY_S});
        let answer = self.ask("ReceiveMessage", input).await?.expect(200).json();
        let mut mailbox = hold(&self.mailbox);
        mailbox.unanswered_receives -= 1;
        for message in answer["Messages"].as_array().into_iter().flatten() {
            let (body, handle) = mailbox.open(message);
            let letter = mailbox.letter(&body);
            assert!(
                matches!(letter.state, State::Waiting | State::ReleaseAsked),
                "{letter:?} was given twice: {message}"
            );
            letter.state = State::InFlight;
            self.held.push((body, handle));
        }
        Some(())
    }

    fn put_down(&mut self) -> Option<(String, String)> {
        if self.held.is_empty() { None } else { Some(self.held.swap_remove(self.dice.below(self.held.len()))) }
    }

    async fn delete(&mut self) -> Option<()> {
        let Some((body, handle)) = self.put_down() else { return Some(()) };
        hold(&self.mailbox).letter(&body).state = State::DeleteAsked;
        self.ask("DeleteMessage", json!({"ReceiptHandle": handle})).await?.expect(200);
        hold(&self.mailbox).letter(&body).state = State::Deleted;
        Some(())
    }

    async fn delete_batch(&mut self) -> Option<()> {
        let held: Vec<_> = (0..10).map_while(|_| self.put_down()).collect();
        if held.is_empty() {
            return Some(());
        }
        for (body, _) in &held {
            hold(&self.mailbox).letter(body).state = State::DeleteAsked;
        }
        let entries =
            held.iter().enumerate().map(|(n, (_, handle))| json!({"Id": n.to_string(), "ReceiptHandle": handle}));
        let answer = self.ask("DeleteMessageBatch", json!({"Entries": entries.collect::<Vec<_>>()})).await?.expect(200);
        let deleted = ids(&answer.json()["Successful"]);
        assert_eq!(deleted.len(), held.len(), "{}", answer.text());
        for (body, _) in &held {
            hold(&self.mailbox).letter(body).state = State::Deleted;
        }
        Some(())
    }

    /// Releases a message, or keeps it for longer.
    async fn change_visibility(&mut self) -> Option<()> {
        let Some((body, handle)) = self.put_down() else { return Some(()) };
        if self.dice.percent(50) {
            let input = json!({"ReceiptHandle": handle, "VisibilityTimeout": VISIBILITY_S + 100});
            self.held.push((body, handle));
            self.ask("ChangeMessageVisibility", input).await?.expect(200);
            return Some(());
        }
        hold(&self.mailbox).letter(&body).state = State::ReleaseAsked;
        self.ask("ChangeMessageVisibility", json!({"ReceiptHandle": handle, "VisibilityTimeout": 0}))
            .await?
            .expect(200);
        let mut mailbox = hold(&self.mailbox);
        let letter = mailbox.letter(&body);
        // Someone may have received it before this answer came.
        if letter.state == State::ReleaseAsked {
            letter.state = State::Waiting;
        }
        Some(())
    }

    async fn ask(&self, action: &str, mut input: Value) -> Option<Answer> {
        input["QueueUrl"] = self.queue.as_str().into();
        let answer = self.client.try_sqs(action, input).await.ok()?;
        assert!(!answer.status.is_server_error(), "{}: {}", answer.status, answer.text());
        Some(answer)
    }
}

fn ids(entries: &Value) -> Vec<usize> {
    let entries = entries.as_array().into_iter().flatten();
    entries.map(|entry| entry["Id"].as_str().expect("text").parse().expect("a number")).collect()
}

/// Compares the queue with the model after a crash, and deletes about half of what is left. Returns how many messages
/// there were. Moves the server's clock on by `CLOCK_STEP_S`.
pub async fn check(server: &mut Server, mailbox: &SharedMailbox, dice: &mut Dice) -> usize {
    let queue = server.queue_url(QUEUE);
    let client = server.client.clone();

    let visible = take_all(&client, &queue, mailbox).await;
    {
        let mailbox = hold(mailbox);
        for body in visible.keys() {
            let letter = &mailbox.letters[body];
            let may_be_visible = matches!(letter.state, State::Waiting | State::ReleaseAsked);
            assert!(may_be_visible, "{letter:?} is visible, but was in flight: {body:.80}");
        }
        for (body, letter) in &mailbox.letters {
            let must_be_visible = letter.sending == Sending::Answered && letter.state == State::Waiting;
            let is_visible = visible.contains_key(body) || mailbox.unanswered_receives > 0;
            assert!(!must_be_visible || is_visible, "{letter:?} is not visible: {body:.80}");
        }
    }

    server.advance_clock(CLOCK_STEP_S);
    let all = take_all(&client, &queue, mailbox).await;
    let mut delivered: BTreeMap<usize, BTreeSet<bool>> = BTreeMap::new();
    for (body, letter) in &hold(mailbox).letters {
        let is_there = all.contains_key(body);
        let must_be =
            letter.sending == Sending::Answered && !matches!(letter.state, State::DeleteAsked | State::Deleted);
        assert!(is_there || !must_be, "{letter:?} is lost: {body:.80}");
        if letter.sending == Sending::Asked && !body.contains(REFUSED) {
            let was_there = is_there || letter.state != State::Waiting;
            delivered.entry(letter.request).or_default().insert(was_there);
        }
    }
    for (request, there) in delivered {
        assert_eq!(there.len(), 1, "the messages of request {request} were not taken together");
    }

    {
        let mut model = hold(mailbox);
        model.unanswered_receives = 0;
        // What is not there now was never taken, or is deleted.
        for (body, letter) in &mut model.letters {
            (letter.sending, letter.state) = match (all.contains_key(body), letter.sending) {
                (true, _) => (Sending::Answered, State::Waiting),
                (false, Sending::Answered) => (Sending::Answered, State::Deleted),
                (false, _) => (Sending::Refused, letter.state),
            };
        }
    }
    let all: Vec<(String, String)> = all.into_iter().collect();
    for some in all.chunks(10) {
        let delete = dice.percent(50);
        let entries: Vec<Value> = some
            .iter()
            .enumerate()
            .map(|(n, (_, handle))| json!({"Id": n.to_string(), "ReceiptHandle": handle, "VisibilityTimeout": 0}))
            .collect();
        let action = if delete { "DeleteMessageBatch" } else { "ChangeMessageVisibilityBatch" };
        let answer = client.sqs(action, json!({"QueueUrl": queue, "Entries": entries})).await.expect(200);
        assert_eq!(ids(&answer.json()["Successful"]).len(), some.len(), "{}", answer.text());
        if delete {
            some.iter().for_each(|(body, _)| hold(mailbox).letter(body).state = State::Deleted);
        }
    }
    all.len()
}

/// Receives all that is visible: bodies and receipt handles.
async fn take_all(client: &Client, queue: &str, mailbox: &SharedMailbox) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    loop {
        let messages = client.receive(queue, json!({"VisibilityTimeout": VISIBILITY_S})).await;
        if messages.is_empty() {
            return taken;
        }
        for message in &messages {
            let (body, handle) = hold(mailbox).open(message);
            assert!(taken.insert(body, handle).is_none(), "twice: {message}");
        }
    }
}
