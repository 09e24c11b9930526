//! One publisher's connection, without sockets and clocks: bytes in, events and bytes out.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use super::RtmpError;
use super::amf::{self, Value};
use super::chunk::{self, ChunkReader, Message, kind};
use super::handshake::{self, HANDSHAKE, VERSION};

/// Bytes after which we want to hear, and tell, how many have arrived.
const WINDOW: u32 = 2_500_000;
/// The one message stream that a connection may publish on.
const STREAM: u32 = 1;
/// Chunk streams that our messages go on.
const CONTROL: u8 = 2;
const COMMANDS: u8 = 3;
const STATUS: u8 = 5;

/// What a publisher did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It asks to publish. Answer with [`Session::accept`] or [`Session::refuse`]; what it has sent behind that waits for the answer.
    Publish { app: String, key: String },
    /// Audio or video.
    Media { kind: u8, timestamp: u32, data: Bytes },
    /// It has ended its stream.
    Finished,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for version and random bytes.
    Hello,
    /// Waits for the echo of ours.
    Echo,
    Commands,
    /// Has asked to publish.
    Asking,
    Publishing,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    buffer: BytesMut,
    chunks: ChunkReader,
    connected: bool,
    app: String,
    /// Bytes received, modulo 2^32, and of these acknowledged.
    received: u32,
    acknowledged: u32,
    window: u32,
    out: Vec<u8>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Hello,
            buffer: BytesMut::new(),
            chunks: ChunkReader::new(),
            connected: false,
            app: String::new(),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
            out: Vec::new(),
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_bounded(&self) -> bool {
        self.chunks.is_bounded()
    }

    /// What is to be sent.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes in what was received.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Event>, RtmpError> {
        self.buffer.extend_from_slice(bytes);
        self.received = self.received.wrapping_add(bytes.len() as u32);
        let mut events = Vec::new();
        while self.step(&mut events)? {}
        self.acknowledge();
        Ok(events)
    }

    /// One step; false when bytes are missing for it.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, RtmpError> {
        match self.stage {
            Stage::Hello => self.hello(),
            Stage::Echo => {
                // What is echoed is nothing that anybody relies on.
                let there = self.buffer.len() >= HANDSHAKE;
                if there {
                    self.buffer.advance(HANDSHAKE);
                    self.stage = Stage::Commands;
                }
                Ok(there)
            }
            // Some do not wait for the answer. Nothing of it is looked at before.
            Stage::Asking => Ok(false),
            _ => match self.chunks.next(&mut self.buffer)? {
                None => Ok(false),
                Some(None) => Ok(true),
                Some(Some(message)) => self.message(message, events).map(|()| true),
            },
        }
    }

    fn hello(&mut self) -> Result<bool, RtmpError> {
        match self.buffer.first() {
            Some(&VERSION) => {}
            Some(_) => return Err(RtmpError::Malformed("no RTMP, or a version of it that nobody uses")),
            None => return Ok(false),
        }
        let Some(theirs) = self.buffer[1..].first_chunk() else { return Ok(false) };
        self.out.extend(handshake::answer(theirs));
        self.buffer.advance(1 + HANDSHAKE);
        self.stage = Stage::Echo;
        Ok(true)
    }

    fn message(&mut self, message: Message, events: &mut Vec<Event>) -> Result<(), RtmpError> {
        match message.kind {
            kind::SET_CHUNK_SIZE => self.chunks.set_chunk_size(number(&message.data)?)?,
            kind::ABORT => self.chunks.abort(number(&message.data)?),
            kind::WINDOW_SIZE => self.window = number(&message.data)?.max(1),
            // Nothing in a message is nothing to tell of.
            kind::AUDIO | kind::VIDEO if message.data.is_empty() => {}
            kind::AUDIO | kind::VIDEO => {
                if self.stage != Stage::Publishing {
                    return Err(RtmpError::Malformed("media before its stream was accepted"));
                }
                let Message { kind, timestamp, data, .. } = message;
                events.push(Event::Media { kind, timestamp, data });
            }
            kind::AMF0_COMMAND => self.command(&message.data, events)?,
            // The same behind a byte that says so.
            kind::AMF3_COMMAND => self.command(message.data.get(1..).unwrap_or_default(), events)?,
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), RtmpError> {
        let values = amf::decode(bytes)?;
        let name =
            values.first().and_then(Value::text).ok_or(RtmpError::Malformed("a command without a name"))?;
        let transaction = values.get(1).and_then(Value::number).unwrap_or(0.0);
        match name {
            "connect" if self.connected => return Err(RtmpError::Malformed("a second connect")),
            "connect" => self.connect(transaction, values.get(2)),
            "createStream" => {
                self.result(transaction, Value::Nothing, Value::Number(f64::from(STREAM)));
            }
            "publish" => {
                let key = values.get(3).and_then(Value::text).unwrap_or_default().to_owned();
                if self.stage != Stage::Commands {
                    return Err(RtmpError::Malformed("a second stream on one connection"));
                }
                self.stage = Stage::Asking;
                events.push(Event::Publish { app: self.app.clone(), key });
            }
            "play" | "play2" => return Err(RtmpError::PlaysNothing),
            "FCUnpublish" | "deleteStream" | "closeStream" if self.stage == Stage::Publishing => {
                self.stage = Stage::Commands;
                events.push(Event::Finished);
            }
            // releaseStream, FCPublish, _checkbw: nobody waits for an answer.
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, transaction: f64, target: Option<&Value>) {
        let app = target.and_then(|target| target.field("app")).and_then(Value::text).unwrap_or_default();
        self.app = app.trim_matches('/').to_owned();
        self.connected = true;
        self.control(kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
        // Dynamic limit.
        self.control(kind::PEER_BANDWIDTH, &[&WINDOW.to_be_bytes()[..], &[2]].concat());
        let server = [("fmsVer", text("FMS/3,0,1,123")), ("capabilities", Value::Number(31.0))];
        let mut told = status("status", "NetConnection.Connect.Success", "connected");
        told.insert("objectEncoding".to_owned(), Value::Number(0.0));
        self.result(transaction, object(server), Value::Object(told));
    }

    /// Lets the publisher begin. What it has sent already comes with what is received next, which may be nothing.
    pub(super) fn accept(&mut self) {
        self.stage = Stage::Publishing;
        // "Stream begin".
        self.control(kind::USER_CONTROL, &[&[0, 0][..], &STREAM.to_be_bytes()].concat());
        self.on_status(status("status", "NetStream.Publish.Start", "publishing"));
    }

    /// Tells the publisher why it may not begin.
    pub(super) fn refuse(&mut self, reason: &str) {
        self.on_status(status("error", "NetStream.Publish.BadName", reason));
    }

    fn on_status(&mut self, told: BTreeMap<String, Value>) {
        let values = [text("onStatus"), Value::Number(0.0), Value::Nothing, Value::Object(told)];
        self.send(STATUS, kind::AMF0_COMMAND, STREAM, amf::encode(&values));
    }

    fn result(&mut self, transaction: f64, properties: Value, told: Value) {
        let values = [text("_result"), Value::Number(transaction), properties, told];
        self.send(COMMANDS, kind::AMF0_COMMAND, 0, amf::encode(&values));
    }

    fn control(&mut self, kind: u8, data: &[u8]) {
        self.send(CONTROL, kind, 0, data.to_vec());
    }

    fn send(&mut self, channel: u8, kind: u8, stream: u32, data: Vec<u8>) {
        let message = Message { kind, timestamp: 0, stream, data: data.into() };
        chunk::write(&mut self.out, channel, &message);
    }

    fn acknowledge(&mut self) {
        let greeted = !matches!(self.stage, Stage::Hello | Stage::Echo);
        if greeted && self.received.wrapping_sub(self.acknowledged) >= self.window {
            self.acknowledged = self.received;
            self.control(kind::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
    }
}

fn number(data: &[u8]) -> Result<u32, RtmpError> {
    let bytes = data.first_chunk().ok_or(RtmpError::Malformed("a control message that is too short"))?;
    Ok(u32::from_be_bytes(*bytes))
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

fn status(level: &str, code: &str, description: &str) -> BTreeMap<String, Value> {
    let fields = [("level", level), ("code", code), ("description", description)];
    fields.map(|(name, value)| (name.to_owned(), text(value))).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::trial::obs;
    use super::*;

    fn media(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![4, 0, 0, 9];
        bytes.extend(&(data.len() as u32).to_be_bytes()[1..]);
        bytes.extend([kind, 1, 0, 0, 0]);
        bytes.extend(data);
        bytes
    }

    fn receive_in(session: &mut Session, bytes: &[u8], step: usize) -> Result<Vec<Event>, RtmpError> {
        let mut events = Vec::new();
        for piece in bytes.chunks(step) {
            events.extend(session.receive(piece)?);
        }
        Ok(events)
    }

    fn asks(app: &str, key: &str) -> Event {
        Event::Publish { app: app.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn a_publisher_is_greeted_asked_about_and_heard() {
        for step in [1, 7, 1_000_000] {
            let mut session = Session::new();
            let events = receive_in(&mut session, &obs("live", "cam?token=1"), step).unwrap();
            assert_eq!(events, [asks("live", "cam?token=1")]);
            let told = session.take_output();
            assert_eq!(told[..9], [VERSION, 0, 0, 0, 0, 0, 0, 0, 0]);
            // The echo of what it sent.
            assert_eq!(told[1 + HANDSHAKE + 8..][..HANDSHAKE - 8], [5; HANDSHAKE - 8]);
            session.accept();
            let events = receive_in(&mut session, &media(kind::VIDEO, &[0x17, 1, 2]), step).unwrap();
            let data = Bytes::from_static(&[0x17, 1, 2]);
            assert_eq!(events, [Event::Media { kind: kind::VIDEO, timestamp: 9, data }]);
        }
    }

    #[test]
    fn its_commands_are_answered_by_their_numbers() {
        let mut session = Session::new();
        session.receive(&obs("live", "cam")).unwrap();
        let mut buffer = BytesMut::from(&session.take_output()[1 + 2 * HANDSHAKE..]);
        let mut reader = ChunkReader::new();
        let mut answers = Vec::new();
        while let Some(message) = reader.next(&mut buffer).unwrap() {
            let commands = message.filter(|message| message.kind == kind::AMF0_COMMAND);
            answers.extend(commands.map(|message| amf::decode(&message.data).unwrap()));
        }
        let numbers: Vec<_> = answers.iter().map(|values| (values[0].clone(), values[1].clone())).collect();
        assert_eq!(numbers, [1.0, 4.0].map(|number| (text("_result"), Value::Number(number))));
        assert_eq!(answers[0][3].field("code"), Some(&text("NetConnection.Connect.Success")));
        assert_eq!(answers[1][3], Value::Number(1.0));
    }

    #[test]
    fn media_before_the_answer_waits_for_it() {
        let mut session = Session::new();
        let bytes = [obs("live", "cam"), media(kind::AUDIO, &[1])].concat();
        assert_eq!(session.receive(&bytes).unwrap(), [asks("live", "cam")]);
        assert_eq!(session.receive(&media(kind::AUDIO, &[2])).unwrap(), []);
        session.accept();
        let events = session.receive(&[]).unwrap();
        let data = |event: &Event| match event {
            Event::Media { data, .. } => data.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(events.iter().map(data).collect::<Vec<_>>(), [[1], [2]]);
    }

    #[test]
    fn media_of_no_stream_and_a_second_stream_are_refused() {
        let mut session = Session::new();
        let greeting = obs("live", "cam");
        session.receive(&greeting[..1 + 2 * HANDSHAKE]).unwrap();
        assert!(session.receive(&media(kind::AUDIO, &[1])).is_err());

        let mut session = Session::new();
        session.receive(&obs("live", "cam")).unwrap();
        session.accept();
        let again = obs("live", "other")[1 + 2 * HANDSHAKE..].to_vec();
        assert!(session.receive(&again).is_err());
    }

    #[test]
    fn empty_messages_are_no_events_and_nobody_connects_twice() {
        let mut session = Session::new();
        session.receive(&obs("live", "cam")).unwrap();
        session.accept();
        assert_eq!(session.receive(&media(kind::VIDEO, &[])).unwrap(), []);
        let mut bytes = Vec::new();
        let connect = amf::encode(&[text("connect"), Value::Number(9.0), object([("app", text("live"))])]);
        bytes.extend([3, 0, 0, 0]);
        bytes.extend(&(connect.len() as u32).to_be_bytes()[1..]);
        bytes.extend([kind::AMF0_COMMAND, 0, 0, 0, 0]);
        bytes.extend(&connect);
        assert!(session.receive(&bytes).is_err());
    }

    #[test]
    fn what_is_no_rtmp_is_refused_from_its_first_byte() {
        assert!(Session::new().receive(b"GET / HTTP/1.1\r\n").is_err());
    }

    #[test]
    fn a_window_of_nothing_is_no_division_by_it() {
        let mut session = Session::new();
        session.receive(&obs("live", "cam")).unwrap();
        session.accept();
        let mut bytes = Vec::new();
        let window = Message { kind: kind::WINDOW_SIZE, timestamp: 0, stream: 0, data: vec![0; 4].into() };
        chunk::write(&mut bytes, 2, &window);
        session.receive(&bytes).unwrap();
        session.take_output();
        session.receive(&media(kind::AUDIO, &[1])).unwrap();
        assert!(!session.take_output().is_empty(), "every byte is acknowledged");
    }

    proptest! {
        #[test]
        fn damaged_connects_end_in_events_or_an_error(
            at in 0..5_000_usize, flip in 1..=255_u8, step in 1..2_000_usize,
        ) {
            let mut bytes = obs("live", "cam");
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let _ = receive_in(&mut Session::new(), &bytes, step);
        }
    }
}
