//! The first bytes of both sides: the plain handshake (section 5.2), and the one with digests that Flash's own clients speak, after the
//! descriptions that are published of it; Adobe's leaves it out.
//!
//! In it each side hides an HMAC-SHA256 of its 1536 bytes among them, and signs the other's. Anybody knows the keys: it keeps nobody out,
//! but a client that speaks it may hang up on a server that does not.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of the random parts.
pub(super) const HANDSHAKE: usize = 1536;
/// The protocol's version.
pub(super) const VERSION: u8 = 3;
/// What a server that knows digests calls its version; that of one which does not is zero.
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Where the block begins in which the digest lies: clients choose one of two.
const BLOCKS: [usize; 2] = [8, 772];
/// Places in a block where a digest may begin.
const PLACES: usize = 728;
const CLIENT_NAME: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_NAME: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// Follows the name in the key by which the other's bytes are signed.
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

/// What a server says to a client's bytes: version, bytes of its own, and the answer to the client's.
pub(super) fn answer(theirs: &[u8; HANDSHAKE]) -> Vec<u8> {
    let mut ours = random();
    let second = match digest_of(theirs, CLIENT_NAME) {
        Some((block, digest)) => {
            ours[4..8].copy_from_slice(&SERVER_VERSION);
            put_digest(&mut ours, block, SERVER_NAME);
            signature(&digest, SERVER_NAME)
        }
        None => {
            ours[..8].fill(0);
            *theirs
        }
    };
    [&[VERSION][..], &ours, &second].concat()
}

fn random() -> [u8; HANDSHAKE] {
    let mut bytes = [0; HANDSHAKE];
    rand::fill(&mut bytes);
    bytes
}

/// The digest that `hello` holds, and the block in which it lies.
fn digest_of(hello: &[u8; HANDSHAKE], name: &[u8]) -> Option<(usize, [u8; DIGEST])> {
    BLOCKS.into_iter().find_map(|block| {
        let at = place(hello, block);
        let digest = digest_around(hello, at, name);
        (hello[at..at + DIGEST] == digest).then_some((block, digest))
    })
}

fn put_digest(hello: &mut [u8; HANDSHAKE], block: usize, name: &[u8]) {
    let at = place(hello, block);
    let digest = digest_around(hello, at, name);
    hello[at..at + DIGEST].copy_from_slice(&digest);
}

/// Where the digest begins, by the four bytes at the front of its block.
fn place(hello: &[u8; HANDSHAKE], block: usize) -> usize {
    let sum: usize = hello[block..block + 4].iter().map(|&byte| usize::from(byte)).sum();
    block + 4 + sum % PLACES
}

/// The digest of all bytes but its own.
fn digest_around(hello: &[u8; HANDSHAKE], at: usize, name: &[u8]) -> [u8; DIGEST] {
    hmac(name, &[&hello[..at], &hello[at + DIGEST..]])
}

/// Random bytes, signed for the side whose digest it was.
fn signature(digest: &[u8; DIGEST], name: &[u8]) -> [u8; HANDSHAKE] {
    let mut bytes = random();
    let key = hmac(&[name, &KEY_TAIL].concat(), &[digest]);
    let (signed, end) = bytes.split_at_mut(HANDSHAKE - DIGEST);
    end.copy_from_slice(&hmac(&key, &[signed]));
    bytes
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("hmac takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's bytes with their digest in a block.
    fn hello(block: usize) -> [u8; HANDSHAKE] {
        let mut hello = random();
        hello[..4].fill(0);
        hello[4..8].copy_from_slice(&[10, 0, 45, 2]);
        put_digest(&mut hello, block, CLIENT_NAME);
        hello
    }

    fn parts(answer: &[u8]) -> (&[u8; HANDSHAKE], &[u8; HANDSHAKE]) {
        assert_eq!((answer.len(), answer[0]), (1 + 2 * HANDSHAKE, VERSION));
        let (ours, second) = answer[1..].split_at(HANDSHAKE);
        (ours.try_into().unwrap(), second.try_into().unwrap())
    }

    #[test]
    fn a_digest_is_answered_in_its_own_block_and_signed() {
        for block in BLOCKS {
            let hello = hello(block);
            let answer = answer(&hello);
            let (ours, second) = parts(&answer);
            assert_eq!(digest_of(ours, SERVER_NAME).map(|(found, _)| found), Some(block));
            assert_eq!(ours[4..8], SERVER_VERSION);
            let (_, digest) = digest_of(&hello, CLIENT_NAME).unwrap();
            let key = hmac(&[SERVER_NAME, &KEY_TAIL].concat(), &[&digest]);
            let (signed, end) = second.split_at(HANDSHAKE - DIGEST);
            assert_eq!(end, hmac(&key, &[signed]));
        }
    }

    #[test]
    fn bytes_without_a_digest_or_with_a_wrong_one_are_echoed_behind_a_version_of_zero() {
        let mut wrong = hello(BLOCKS[1]);
        wrong[HANDSHAKE - 1] ^= 1;
        for theirs in [[5; HANDSHAKE], wrong] {
            let answer = answer(&theirs);
            let (ours, second) = parts(&answer);
            assert_eq!(ours[..8], [0; 8]);
            assert_eq!(second, &theirs);
        }
    }

    #[test]
    fn the_digest_lies_within_its_block_wherever_its_bytes_point() {
        for (block, end) in [(BLOCKS[0], BLOCKS[1]), (BLOCKS[1], HANDSHAKE)] {
            let mut hello = [0; HANDSHAKE];
            for (sum, first) in [(0, [0; 4]), (727, [255, 255, 217, 0]), (728, [255, 255, 218, 0])] {
                hello[block..block + 4].copy_from_slice(&first);
                let at = place(&hello, block);
                assert_eq!(at, block + 4 + sum % PLACES);
                assert!(at + DIGEST <= end);
            }
        }
    }
}
