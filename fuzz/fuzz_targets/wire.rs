//! Every message of the protocols between roles, alone and as it comes on a stream.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    framemill_network::decode_every_message(&Bytes::copy_from_slice(data));
});
