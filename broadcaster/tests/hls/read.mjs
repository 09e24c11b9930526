// Reads a master playlist and all that it leads to with hls-parser in its strict mode, and prints what that understood as JSON.
//
//   node read.mjs MASTER_URL NODE_MODULES

import { createRequire } from "node:module";
import path from "node:path";

const [master, modules] = process.argv.slice(2);
const hls = createRequire(path.join(modules, "package.json"))("hls-parser");
hls.setOptions({ strictMode: true });

async function read(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return hls.parse(await answer.text());
}

const { variants, independentSegments } = await read(master);
const seen = await Promise.all(variants.map(async (variant) => {
  const media = await read(new URL(variant.uri, master));
  const { uri, bandwidth, averageBandwidth, codecs, resolution, frameRate } = variant;
  const segments = media.segments.map((segment) => ({
    uri: segment.uri, duration: segment.duration ?? 0, number: segment.mediaSequenceNumber,
    discontinuities: segment.discontinuitySequence, gap: Boolean(segment.gap),
    parts: segment.parts.map((part) => `${part.uri}${part.gap ? " gap" : ""}${part.hint ? " hint" : ""}${part.independent ? "" : " dependent"}`),
  }));
  return {
    uri, bandwidth, average: averageBandwidth, codecs, width: resolution.width, height: resolution.height,
    rate: frameRate, target: media.targetDuration, first: media.mediaSequenceBase, kind: media.playlistType ?? null,
    ended: media.endlist, independent: independentSegments && media.independentSegments, segments,
    part_target: media.partTargetDuration ?? null, part_hold_back: media.lowLatencyCompatibility?.partHoldBack ?? null,
    can_block: media.lowLatencyCompatibility?.canBlockReload ?? false,
  };
}));
console.log(JSON.stringify(seen));
