//! The HTTP addresses that servers answer at, as data: routers are made from it, and so is their description for others.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};

/// One address with all that may be asked of it.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The path as axum has it: `/live/{manifest}/{file}`, with `{*path}` for a part that may hold slashes.
    pub path: &'static str,
    /// What may be asked.
    pub operations: &'static [Operation],
}

/// One thing that may be asked of an address.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// How it is asked.
    pub method: Method,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What the request may say beside its body. Those in the path come first, in its order.
    pub parameters: &'static [Parameter],
    /// Media types that the body may have; none where there is no body.
    pub body: &'static [&'static str],
    /// Everything that may be answered.
    pub answers: &'static [Answer],
}

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; a `HEAD` asks for the same without the body.
    Get,
    /// Gives something.
    Post,
    /// Gives something.
    Put,
}

impl Method {
    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
        }
    }
}

/// Something that a request may say.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub about: &'static str,
    /// One that can be sent as it is.
    pub example: &'static str,
}

/// Where a parameter stands. One in the path has to be there, any other may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A part of the path.
    Path,
    /// Behind the question mark.
    Query,
    /// A header.
    Header,
}

impl Place {
    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// One way in which a request is answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When it is given.
    pub about: &'static str,
    /// Media types of the body; none where it is empty or a text for people.
    pub body: &'static [&'static str],
}

/// An answer with a text for people, or without a body.
pub const fn answer(status: u16, about: &'static str) -> Answer {
    Answer { status, about, body: &[] }
}

impl Endpoint {
    /// Answers every operation by `handler`.
    pub fn served_by<H, T, S>(&self, handler: H) -> MethodRouter<S>
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let add = |router: MethodRouter<S>, operation: &Operation| {
            router.on(operation.method.filter(), handler.clone())
        };
        self.operations.iter().fold(MethodRouter::new(), add)
    }
}

const PUSHED: &[Answer] = &[
    Answer {
        status: 200,
        about: "The segment is published. With `Accept: multipart/mixed` one part for each rendition in ladder order, with `Rendition-Name`: MPEG-TS, or fragmented MP4 of AV1; an empty body otherwise. `Server-Timing` says how long each stage took, in milliseconds.",
        body: &["multipart/mixed"],
    },
    answer(400, "A malformed request, an empty body, no media, or a number that was taken already"),
    answer(403, "Refused by the auth hook, or pushed by a web page where there is none"),
    answer(405, "Neither POST nor PUT"),
    answer(413, "The body is larger than allowed"),
    answer(422, "Media that cannot be transcoded"),
    answer(
        503,
        "No orchestrator delivered, the store refused, or too many streams or uploads; `Retry-After` says when to come again",
    ),
];

const fn push(method: Method) -> Operation {
    Operation {
        method,
        summary: "Have one segment transcoded, verified and published",
        parameters: &[
            Parameter {
                name: "manifest",
                place: Place::Path,
                about: "Name of the stream: 1 to 128 of `a-z A-Z 0-9 _ - .`, not starting with a dot. Its first segment opens the stream, and 30 s without one end it.",
                example: "cam",
            },
            Parameter {
                name: "file",
                place: Place::Path,
                about: "Number of the segment with `.ts` or `.mp4`; each number once, in rising order.",
                example: "0.ts",
            },
            Parameter {
                name: "Content-Resolution",
                place: Place::Header,
                about: "Picture size as `WIDTHxHEIGHT`. Not needed: the media says it.",
                example: "1280x720",
            },
            Parameter {
                name: "Content-Duration",
                place: Place::Header,
                about: "Duration in milliseconds. Not needed: the media says it.",
                example: "2000",
            },
            Parameter {
                name: "Livepeer-Transcode-Configuration",
                place: Place::Header,
                about: "JSON with `manifestID` and `profiles`: another name and another ladder for the stream that the segment opens. Where there is an auth hook, it has to answer with such a name.",
                example: "{\"profiles\":[{\"name\":\"small\",\"width\":320,\"height\":180,\"bitrate\":200000,\"fps\":0}]}",
            },
        ],
        body: &["video/mp2t", "video/mp4"],
        answers: PUSHED,
    }
}

/// Where segments are pushed to: [`PushIngest::router`](crate::PushIngest::router).
pub const PUSH: Endpoint =
    Endpoint { path: "/live/{manifest}/{file}", operations: &[push(Method::Post), push(Method::Put)] };

/// Where published files are read: [`hls_router`](crate::hls_router).
pub const PUBLISHED: Endpoint = Endpoint {
    path: "/{*path}",
    operations: &[Operation {
        method: Method::Get,
        summary: "Read a published playlist or segment",
        parameters: &[
            Parameter {
                name: "path",
                place: Place::Path,
                about: "Path in the store: `<stream>/master.m3u8`, `<stream>/<rendition>/index.m3u8`, `<stream>/<rendition>/<number>.ts`, of AV1 renditions `<number>.m4s` and the `init-<hash>.mp4` that their playlists name, and `vod.m3u8` in the place of both playlists once a recorded stream has ended. `<first>-<last>.ts` (or `.m4s`) are the parts of these numbers, one after the other.",
                example: "cam/master.m3u8",
            },
            Parameter {
                name: "_HLS_msn",
                place: Place::Query,
                about: "Of an `index.m3u8` in parts: wait until the segment of this media sequence number is listed. Ignored of other files, as `_HLS_part` is.",
                example: "4",
            },
            Parameter {
                name: "_HLS_part",
                place: Place::Query,
                about: "Wait until this part of the segment is listed, counted from zero. Not without `_HLS_msn`.",
                example: "0",
            },
        ],
        body: &[],
        answers: &[
            Answer {
                status: 200,
                about: "The file",
                body: &["application/vnd.apple.mpegurl", "video/mp2t", "video/mp4"],
            },
            answer(400, "What is waited for is no number, too far ahead, or a part of no segment"),
            answer(404, "There is no such file"),
            answer(
                503,
                "What is waited for was not there within three target durations, or too many requests wait",
            ),
        ],
    }],
};
