import { clock, ether, millis, plural } from "../format";
import { useLive } from "../live";
import { isSlow, medianLatency } from "../stages";
import { Sparkline } from "../timeline";
import type { Attempt, Segment, Stream } from "../types";
import { Badge, Figure, Figures, Hex, Section, Table } from "../ui";

/** Segments that a stream's state is told from: about a minute. */
const RECENT = 30;
const TROUBLES = 50;

function recentOf(name: string, all: Segment[]): Segment[] {
  return all.filter((segment) => segment.stream === name).slice(-RECENT);
}

export function State({ stream, recent }: { stream: Stream; recent: Segment[] }) {
  if (stream.ended) return <Badge tone="calm">ended</Badge>;
  if (recent.slice(-3).some((segment) => segment.state === "lost")) return <Badge tone="bad">losing segments</Badge>;
  if (recent.slice(-3).filter(isSlow).length >= 2) return <Badge tone="warn">slow</Badge>;
  return <Badge tone="good">live</Badge>;
}

function Card({ stream, recent }: { stream: Stream; recent: Segment[] }) {
  const middle = medianLatency(recent);
  const troubles = [
    stream.lost > 0 && `${stream.lost} lost`,
    stream.rejected > 0 && `${stream.rejected} refused by verification`,
    stream.failed > 0 && `${plural(stream.failed, "failed attempt")}`,
  ].filter(Boolean);
  return (
    <li class="card">
      <h3>
        <a href={`#/streams/${encodeURIComponent(stream.name)}`}>{stream.name}</a> <State stream={stream} recent={recent} />
      </h3>
      <Sparkline segments={recent} />
      <p>
        {middle === null ? "nothing published yet" : `${millis(middle)} from arrival to playlist`}, {plural(stream.published, "segment")}
      </p>
      <p class={troubles.length > 0 ? "trouble" : "note"}>{troubles.length > 0 ? troubles.join(", ") : "nothing lost, nothing refused"}</p>
      <p class="note">
        {ether(stream.value_wei)} in {plural(stream.tickets, "ticket")}
      </p>
    </li>
  );
}

interface Trouble {
  segment: Segment;
  attempt: Attempt | null;
  number: number;
}

function troubles(segments: Segment[]): Trouble[] {
  const found: Trouble[] = [];
  for (const segment of segments.toReversed()) {
    if (segment.state === "lost") found.push({ segment, attempt: null, number: 0 });
    segment.attempts.forEach((attempt, number) => {
      if (attempt.outcome !== "delivered") found.push({ segment, attempt, number: number + 1 });
    });
    if (found.length >= TROUBLES) break;
  }
  return found;
}

const TONES = { rejected: "bad", failed: "bad", late: "warn", refused: "warn", outpaced: "calm", delivered: "good" } as const;

export function Troubles({ segments, empty }: { segments: Segment[]; empty: string }) {
  return (
    <Table
      caption="Lost segments and attempts that brought nothing, newest first"
      rows={troubles(segments)}
      name={(row) => `${row.segment.stream}/${row.segment.sequence}/${row.number}`}
      empty={empty}
      columns={[
        { name: "arrived", show: (row) => (row.segment.arrived_ms > 0 ? clock(row.segment.arrived_ms) : "") },
        { name: "stream", head: true, show: (row) => row.segment.stream },
        { name: "segment", number: true, show: (row) => row.segment.sequence },
        {
          name: "what",
          show: (row) =>
            row.attempt ? <Badge tone={TONES[row.attempt.outcome]}>{row.attempt.outcome}</Badge> : <Badge tone="bad">lost</Badge>,
        },
        { name: "orchestrator", show: (row) => (row.attempt ? <Hex value={row.attempt.orchestrator} /> : "") },
        { name: "why", show: (row) => <span class="reason">{row.attempt ? row.attempt.reason : row.segment.lost}</span> },
      ]}
    />
  );
}

export function Streams() {
  const { board } = useLive();
  const segments = [...board.segments.values()];
  const streams = [...board.streams.values()].toSorted((a, b) => Number(a.ended) - Number(b.ended) || b.started_ms - a.started_ms);
  const sum = (of: (stream: Stream) => number) => streams.reduce((total, stream) => total + of(stream), 0);
  const live = streams.filter((stream) => !stream.ended);
  const slow = live.filter((stream) => recentOf(stream.name, segments).slice(-3).filter(isSlow).length >= 2).length;
  const published = sum((stream) => stream.published);
  const lost = sum((stream) => stream.lost);
  const rejected = sum((stream) => stream.rejected);
  const spent = streams.reduce((total, stream) => total + BigInt(stream.value_wei), 0n);
  return (
    <>
      <Figures label="All streams">
        <Figure name="live streams" tone={slow > 0 ? "warn" : "good"} note={slow > 0 ? `${slow} slow` : "none slow"}>
          {live.length}
        </Figure>
        <Figure name="published" note={`${millis(medianLatency(segments.slice(-100)))} typical`}>
          {published}
        </Figure>
        <Figure name="lost" tone={lost > 0 ? "bad" : "good"}>
          {lost}
        </Figure>
        <Figure name="refused by verification" tone={rejected > 0 ? "warn" : "good"}>
          {rejected}
        </Figure>
        <Figure name="spent in tickets" note="expected value">
          {ether(spent)}
        </Figure>
        {Object.entries(board.totals).map(([name, value]) => (
          <Figure key={name} name={name}>
            {value}
          </Figure>
        ))}
      </Figures>
      <Section title="Streams">
        {streams.length === 0 ? (
          <p class="empty">No stream has been pushed yet. Push segments to the address that the broadcaster logs as its ingest.</p>
        ) : (
          <ul class="cards">
            {streams.map((stream) => (
              <Card key={stream.name} stream={stream} recent={recentOf(stream.name, segments)} />
            ))}
          </ul>
        )}
      </Section>
      <Section title="Refused and failed lately">
        <Troubles segments={segments} empty="Every attempt lately brought what was asked for." />
      </Section>
    </>
  );
}
