import { bytes, clock, ether, millis, plural } from "../format";
import { useLive } from "../live";
import { Player } from "../player";
import { latency, medianLatency, STAGES } from "../stages";
import { Timeline } from "../timeline";
import type { Attempt, Segment, Verdict } from "../types";
import { Badge, Figure, Figures, Hex, Section, Table } from "../ui";
import { State, Troubles } from "./streams";

/** Segments in the picture and in the tables. */
const SHOWN = 40;
const DEPTHS = ["structure", "first frame", "every frame"];

interface Judged {
  segment: Segment;
  attempt: Attempt;
  verdict: Verdict;
}

function judged(segments: Segment[]): Judged[] {
  const of = (segment: Segment) =>
    segment.attempts.flatMap((attempt) => attempt.verdicts.map((verdict) => ({ segment, attempt, verdict })));
  return segments.toReversed().flatMap(of);
}

function Verdicts({ segments }: { segments: Segment[] }) {
  return (
    <Table
      caption="Each rendition that was judged, newest segment first"
      rows={judged(segments)}
      name={(row) => `${row.segment.sequence}/${row.segment.attempts.indexOf(row.attempt)}/${row.verdict.name}`}
      empty="Nothing has been judged yet."
      mark={(row) => (row.verdict.fault ? "bad" : undefined)}
      columns={[
        { name: "segment", number: true, head: true, show: (row) => row.segment.sequence },
        { name: "rendition", show: (row) => row.verdict.name },
        { name: "size", show: (row) => `${row.verdict.width} × ${row.verdict.height}` },
        {
          name: "verdict",
          show: (row) => (row.verdict.fault ? <Badge tone="bad">refused</Badge> : <Badge tone="good">pass</Badge>),
        },
        { name: "looked at", show: (row) => DEPTHS[row.verdict.tier] ?? "" },
        {
          name: "PSNR",
          number: true,
          show: (row) => (row.verdict.psnr_centi_db === null ? "–" : `${(row.verdict.psnr_centi_db / 100).toFixed(2)} dB`),
        },
        { name: "by", show: (row) => <Hex value={row.attempt.orchestrator} /> },
        { name: "fault", show: (row) => <span class="reason">{row.verdict.fault}</span> },
      ]}
    />
  );
}

function Stages({ segments }: { segments: Segment[] }) {
  return (
    <Table
      caption="When each stage ended, since the segment came in"
      rows={segments.toReversed()}
      name={(segment) => String(segment.sequence)}
      empty="No segment yet."
      mark={(segment) => (segment.state === "lost" ? "bad" : undefined)}
      columns={[
        { name: "segment", number: true, head: true, show: (segment) => segment.sequence },
        { name: "came in", show: (segment) => (segment.arrived_ms > 0 ? clock(segment.arrived_ms) : "") },
        { name: "source", number: true, show: (segment) => bytes(segment.source_bytes) },
        ...STAGES.map((stage) => ({ name: stage.name, number: true, show: (segment: Segment) => millis(segment.timeline[stage.end]) })),
        { name: "orchestrator", show: (segment: Segment) => (segment.orchestrator ? <Hex value={segment.orchestrator} /> : "") },
        { name: "tickets", number: true, show: (segment: Segment) => segment.tickets },
      ]}
    />
  );
}

export function OneStream({ name, hasPlayer }: { name: string; hasPlayer: boolean }) {
  const { board } = useLive();
  const stream = board.streams.get(name);
  if (!stream) {
    return (
      <p class="empty">
        No stream is called <q>{name}</q> here. <a href="#/streams">All streams</a>
      </p>
    );
  }
  const segments = [...board.segments.values()].filter((segment) => segment.stream === name).slice(-SHOWN);
  const last = segments.at(-1);
  const lasts = segments.map((segment) => segment.duration_ms);
  const plays = lasts.length > 0 ? lasts.reduce((a, b) => a + b) / lasts.length : 0;
  return (
    <>
      <p>
        <a href="#/streams">All streams</a> <State stream={stream} recent={segments} />
      </p>
      <div class="columns">
        {hasPlayer && stream.playlist !== "" && <Player key={stream.playlist} source={`hls/${stream.playlist}`} name={name} />}
        <Figures label="This stream">
          <Figure name="from arrival to playlist" note={plays > 0 ? `of segments of ${millis(plays)}` : undefined}>
            {millis(medianLatency(segments))}
          </Figure>
          <Figure name="published" note={last && latency(last) !== null ? `last one in ${millis(latency(last))}` : undefined}>
            {stream.published}
          </Figure>
          <Figure name="lost" tone={stream.lost > 0 ? "bad" : "good"}>
            {stream.lost}
          </Figure>
          <Figure name="refused by verification" tone={stream.rejected > 0 ? "warn" : "good"}>
            {stream.rejected}
          </Figure>
          <Figure name="sent to a spare as well">{stream.hedges}</Figure>
          <Figure name="spent" note={plural(stream.tickets, "ticket")}>
            {ether(stream.value_wei)}
          </Figure>
        </Figures>
      </div>
      <Section title="Timeline">
        <Timeline segments={segments} />
        <details>
          <summary>The same as a table</summary>
          <Stages segments={segments} />
        </details>
      </Section>
      <Section title="Verdicts">
        <Verdicts segments={segments} />
      </Section>
      <Section title="Refused and failed">
        <Troubles segments={segments} empty="Every attempt lately brought what was asked for." />
      </Section>
    </>
  );
}
