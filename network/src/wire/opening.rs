//! The messages of the opening protocol from and to their protobuf form.

use alloy_primitives::B256;
use bytes::Bytes;

use super::convert::{bytes_of, error_from_proto, error_to_proto};
use super::field;
use super::message::{OpeningReply, WireMessage};
use crate::error::ProtocolError;
use crate::opening::{MAX_OPENED_BYTES, OpeningAnswer, OpeningQuestion, OpeningRequest};
use crate::proto;

impl WireMessage for OpeningRequest {
    const NAME: &'static str = "question";
    type Proto = proto::OpeningRequest;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::opening_request::Question;
        let question = match field::present("question", proto.question)? {
            Question::Root(proto::AskRoot {}) => OpeningQuestion::Root,
            Question::FramesNode(proto::AskFramesNode { level, index }) => {
                OpeningQuestion::FramesNode { level, index }
            }
            Question::Frame(proto::AskFrame { index }) => OpeningQuestion::Frame { index },
            Question::BlocksNode(proto::AskBlocksNode { frame, level, index }) => {
                OpeningQuestion::BlocksNode { frame, level, index }
            }
            Question::Block(proto::AskBlock { frame, index }) => OpeningQuestion::Block { frame, index },
        };
        Ok(Self {
            session: field::hash("session", &proto.session)?,
            sequence: proto.sequence,
            rendition: proto.rendition,
            question,
        })
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::opening_request::Question;
        let question = match self.question {
            OpeningQuestion::Root => Question::Root(proto::AskRoot {}),
            OpeningQuestion::FramesNode { level, index } => {
                Question::FramesNode(proto::AskFramesNode { level, index })
            }
            OpeningQuestion::Frame { index } => Question::Frame(proto::AskFrame { index }),
            OpeningQuestion::BlocksNode { frame, level, index } => {
                Question::BlocksNode(proto::AskBlocksNode { frame, level, index })
            }
            OpeningQuestion::Block { frame, index } => Question::Block(proto::AskBlock { frame, index }),
        };
        proto::OpeningRequest {
            session: bytes_of(&self.session),
            sequence: self.sequence,
            rendition: self.rendition,
            question: Some(question),
        }
    }
}

impl WireMessage for OpeningReply {
    const NAME: &'static str = "opening";
    type Proto = proto::OpeningReply;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::opening_reply::Reply;
        let hash = |name, bytes: &Bytes| -> Result<B256, ProtocolError> { field::hash(name, bytes) };
        Ok(Self::Answer(match field::present("opening", proto.reply)? {
            Reply::Root(root) => OpeningAnswer::Root {
                width: root.width,
                height: root.height,
                frames: root.frames,
                frames_root: hash("root over frames", &root.frames_root)?,
            },
            Reply::Children(children) => OpeningAnswer::Children {
                left: hash("left child", &children.left)?,
                right: hash("right child", &children.right)?,
            },
            Reply::Frame(frame) => OpeningAnswer::Frame {
                bytes: frame.bytes,
                blocks_root: hash("root over blocks", &frame.blocks_root)?,
            },
            Reply::Block(block) => {
                OpeningAnswer::Block { data: field::at_most("block", block.data, MAX_OPENED_BYTES)? }
            }
            Reply::Error(error) => return Ok(Self::Error(error_from_proto(error)?)),
        }))
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::opening_reply::Reply;
        let reply = match self {
            Self::Answer(OpeningAnswer::Root { width, height, frames, frames_root }) => {
                Reply::Root(proto::OpenedRoot {
                    width: *width,
                    height: *height,
                    frames: *frames,
                    frames_root: bytes_of(frames_root),
                })
            }
            Self::Answer(OpeningAnswer::Children { left, right }) => {
                Reply::Children(proto::OpenedChildren { left: bytes_of(left), right: bytes_of(right) })
            }
            Self::Answer(OpeningAnswer::Frame { bytes, blocks_root }) => {
                Reply::Frame(proto::OpenedFrame { bytes: *bytes, blocks_root: bytes_of(blocks_root) })
            }
            Self::Answer(OpeningAnswer::Block { data }) => {
                Reply::Block(proto::OpenedBlock { data: data.clone() })
            }
            Self::Error(error) => Reply::Error(error_to_proto(error)),
        };
        proto::OpeningReply { reply: Some(reply) }
    }
}
