//! Announcements from and to their protobuf form.

use bytes::Bytes;
use libp2p::Multiaddr;

use super::convert::{price_from_proto, price_to_proto};
use super::field;
use super::message::WireMessage;
use crate::announcement::{Announcement, MAX_ANNOUNCED_ADDRESSES, SignedAnnouncement};
use crate::error::ProtocolError;
use crate::proto;

impl WireMessage for SignedAnnouncement {
    const NAME: &'static str = "announcement";
    type Proto = proto::SignedAnnouncement;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        let announcement = field::present("announcement", proto.announcement)?;
        Ok(Self {
            announcement: announcement_from_proto(announcement)?,
            signature: field::signature(&proto.signature)?,
        })
    }

    fn to_proto(&self) -> Self::Proto {
        proto::SignedAnnouncement {
            announcement: Some(announcement_to_proto(&self.announcement)),
            signature: Bytes::copy_from_slice(&self.signature),
        }
    }
}

fn announcement_from_proto(proto: proto::Announcement) -> Result<Announcement, ProtocolError> {
    let addresses = proto.addresses.len() as u64;
    field::in_range("number of addresses", addresses, 0..=MAX_ANNOUNCED_ADDRESSES as u64)?;
    Ok(Announcement {
        orchestrator: field::address("orchestrator", &proto.orchestrator)?,
        peer: field::peer("peer", &proto.peer)?,
        addresses: proto.addresses.iter().map(address_from_bytes).collect::<Result<_, _>>()?,
        price: price_from_proto(field::present("price", proto.price)?)?,
        committed_price: proto.committed_price.map(price_from_proto).transpose()?,
        capacity: proto.capacity,
        sequence: proto.sequence,
        expires_at_unix_ms: proto.expires_at_unix_ms,
    })
}

fn announcement_to_proto(announcement: &Announcement) -> proto::Announcement {
    proto::Announcement {
        orchestrator: Bytes::copy_from_slice(announcement.orchestrator.as_slice()),
        peer: announcement.peer.to_bytes().into(),
        addresses: announcement.addresses.iter().map(|address| address.to_vec().into()).collect(),
        price: Some(price_to_proto(&announcement.price)),
        committed_price: announcement.committed_price.as_ref().map(price_to_proto),
        capacity: announcement.capacity,
        sequence: announcement.sequence,
        expires_at_unix_ms: announcement.expires_at_unix_ms,
    }
}

fn address_from_bytes(bytes: &Bytes) -> Result<Multiaddr, ProtocolError> {
    Multiaddr::try_from(bytes.to_vec()).map_err(|_| ProtocolError::Malformed { what: "announced address" })
}
