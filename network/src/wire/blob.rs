//! The messages of the blob protocol from and to their protobuf form.

use super::convert::{bytes_of, chunk_bytes, error_from_proto, error_to_proto};
use super::field;
use super::message::{BlobFrame, WireMessage};
use crate::blob::BlobRequest;
use crate::error::ProtocolError;
use crate::proto;

impl WireMessage for BlobRequest {
    const NAME: &'static str = "blob request";
    type Proto = proto::BlobRequest;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        Ok(Self { sha256: field::hash("hash of a blob", &proto.sha256)?, max_bytes: proto.max_bytes })
    }

    fn to_proto(&self) -> Self::Proto {
        proto::BlobRequest { sha256: bytes_of(&self.sha256), max_bytes: self.max_bytes }
    }
}

impl WireMessage for BlobFrame {
    const NAME: &'static str = "blob frame";
    type Proto = proto::BlobFrame;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::blob_frame::Frame;
        Ok(match field::present("blob frame", proto.frame)? {
            Frame::Bytes(bytes) => Self::Bytes(bytes),
            Frame::Data(data) => Self::Data(chunk_bytes(data)?),
            Frame::Error(error) => Self::Error(error_from_proto(error)?),
        })
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::blob_frame::Frame;
        let frame = match self {
            Self::Bytes(bytes) => Frame::Bytes(*bytes),
            Self::Data(data) => Frame::Data(data.clone()),
            Self::Error(error) => Frame::Error(error_to_proto(error)),
        };
        proto::BlobFrame { frame: Some(frame) }
    }
}
