//! The vectors in `vectors/` are what the nodes sign. `forge test` executes the same file against the court.
//! Set `UPDATE_VECTORS=1` to write it anew.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, hex, keccak256};
use framemill_network::ladder::{Codec, FrameRate, Gop, Ladder, LadderEntry, Profile};
use framemill_network::{RenditionClaim, SigningDomain, TranscodeReceipt, renditions_root};
use probabilistic_ticket::EthKey;
use serde_json::{Value, json};

/// Numbers of renditions: one, a pair, odd levels, the most that a ladder has.
const RENDITIONS: [u32; 5] = [1, 2, 3, 5, 16];

fn word(label: &str) -> B256 {
    keccak256(label)
}

fn domain() -> SigningDomain {
    SigningDomain {
        chain_id: 31_337,
        controller: Address::from_slice(&word("framemill vector controller")[12..]),
    }
}

fn signer() -> EthKey {
    EthKey::from_bytes(&word("framemill vector orchestrator").0).expect("a valid secret")
}

fn ladder(count: u32) -> Ladder {
    let gops = [Gop::Segment, Gop::Intra, Gop::Millis(1_500)];
    let entries = (0..count).map(|index| LadderEntry {
        name: format!("rung-{index}"),
        width: 2 * (index + 8),
        height: 2 * (index + 5),
        bitrate: 100_000 * (index + 1),
        fps: if index % 2 == 0 { FrameRate::SOURCE } else { FrameRate::new(30_000, 1_001).expect("a rate") },
        gop: gops[index as usize % gops.len()],
        codec: Codec::ALL[index as usize % Codec::ALL.len()],
        profile: if index % 2 == 0 { Profile::Auto } else { Profile::Main },
    });
    Ladder::new(entries.collect()).expect("a valid ladder")
}

fn claims(ladder: &Ladder) -> Vec<RenditionClaim> {
    let claim = |(index, entry): (usize, &LadderEntry)| RenditionClaim {
        index: index as u32,
        sha256: word(&format!("framemill vector rendition {index}")),
        pixels: entry.pixels_per_frame() * (60 + index as u64),
        feature_root: if index % 2 == 0 {
            word(&format!("framemill vector features {index}"))
        } else {
            B256::ZERO
        },
        psnr_centi_db: (index % 3 != 1).then_some(3_500 + index as u32),
    };
    ladder.iter().enumerate().map(claim).collect()
}

fn claim_json(claim: &RenditionClaim) -> Value {
    json!({
        "sha256": claim.sha256,
        "pixels": claim.pixels.to_string(),
        "featureRoot": claim.feature_root,
        "psnrCentiDb": claim.psnr_centi_db.unwrap_or(u32::MAX).to_string(),
    })
}

fn rung_json(entry: &LadderEntry) -> Value {
    let (kind, millis) = match entry.gop {
        Gop::Intra => (1, 0),
        Gop::Millis(millis) => (2, millis),
        _ => (0, 0),
    };
    json!({
        "nameHash": keccak256(&entry.name),
        "width": entry.width.to_string(),
        "height": entry.height.to_string(),
        "bitrate": entry.bitrate.to_string(),
        "fpsNum": entry.fps.num().to_string(),
        "fpsDen": entry.fps.den().to_string(),
        "gopMillis": millis.to_string(),
        "gopKind": kind.to_string(),
        "codec": (entry.codec as u8).to_string(),
        "profile": (entry.profile as u8).to_string(),
    })
}

fn receipt_json(count: u32) -> Value {
    let ladder = ladder(count);
    let claims = claims(&ladder);
    let receipt = TranscodeReceipt {
        session: word(&format!("framemill vector session {count}")),
        sequence: u64::MAX - u64::from(count),
        source_hash: word("framemill vector source"),
        ladder_hash: ladder.hash(),
        renditions_root: renditions_root(&claims),
        pixels: claims.iter().map(|claim| claim.pixels).sum(),
        round: 7 + count,
    };
    let digest = receipt.signing_hash(&domain());
    json!({
        "session": receipt.session,
        "sequence": receipt.sequence.to_string(),
        "sourceHash": receipt.source_hash,
        "ladderHash": receipt.ladder_hash,
        "renditionsRoot": receipt.renditions_root,
        "pixels": receipt.pixels.to_string(),
        "round": receipt.round.to_string(),
        "digest": digest,
        "signature": format!("0x{}", hex::encode(signer().sign_digest(digest).0)),
        "count": count.to_string(),
        "claims": claims.iter().map(claim_json).collect::<Vec<_>>(),
        "rungs": ladder.iter().map(rung_json).collect::<Vec<_>>(),
    })
}

#[test]
fn committed_receipts_are_what_the_nodes_sign() {
    let receipts: Vec<_> = RENDITIONS.into_iter().map(receipt_json).collect();
    let computed = json!({
        "domain": { "chainId": domain().chain_id.to_string(), "verifyingContract": domain().controller },
        "signer": signer().address(),
        "count": receipts.len().to_string(),
        "receipts": receipts,
    });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/receipts.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&computed).expect("plain data"));
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).expect("the vectors are writable");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("the vectors are there"), text, "{}", path.display());
}
