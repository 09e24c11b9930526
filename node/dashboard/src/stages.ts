import { median } from "./format";
import type { Segment, Timeline } from "./types";

/** The stages of a segment in order, each ending where the node noted it. */
export const STAGES = [
  { name: "quote", end: "quote_ms", says: "a session with a signed price is at hand" },
  { name: "pay", end: "accepted_ms", says: "the orchestrator takes header and tickets" },
  { name: "upload", end: "uploaded_ms", says: "the source goes out" },
  { name: "encode", end: "first_byte_ms", says: "until the first byte of a rendition comes back" },
  { name: "download", end: "downloaded_ms", says: "renditions and receipt come in" },
  { name: "verify", end: "verified_ms", says: "receipt and renditions are checked" },
  { name: "publish", end: "published_ms", says: "store and playlists have it" },
] as const satisfies { name: string; end: keyof Timeline; says: string }[];

export type StageName = (typeof STAGES)[number]["name"];

export interface Span {
  stage: StageName;
  from: number;
  to: number;
}

/** The stages that were reached. The node notes when one ended; the next begins there. */
export function spans(timeline: Timeline, from = 0): Span[] {
  const found: Span[] = [];
  let last = from;
  for (const { name, end } of STAGES) {
    const at = timeline[end];
    if (at === null) continue;
    const to = Math.max(at, last);
    found.push({ stage: name, from: last, to });
    last = to;
  }
  return found;
}

/** Milliseconds from arrival to publication. */
export function latency(segment: Segment): number | null {
  return segment.state === "published" ? segment.timeline.published_ms : null;
}

/** Whether a segment took longer than it plays: a stream of such falls behind. */
export function isSlow(segment: Segment): boolean {
  const took = latency(segment);
  return took !== null && segment.duration_ms > 0 && took > segment.duration_ms;
}

export function medianLatency(segments: Segment[]): number | null {
  return median(segments.flatMap((segment) => latency(segment) ?? []));
}

/** The stage that took longest. */
export function longest(segment: Segment): Span | null {
  return spans(segment.timeline).reduce<Span | null>(
    (most, span) => (most === null || span.to - span.from > most.to - most.from ? span : most),
    null,
  );
}
