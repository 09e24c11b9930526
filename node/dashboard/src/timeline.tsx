import { millis, plural, short } from "./format";
import { isSlow, latency, longest, medianLatency, STAGES, spans } from "./stages";
import type { Attempt, Segment } from "./types";

const ROW = 18;
const BAR = 12;
const LEFT = 64;
const WIDTH = 1000;
const AXIS = 22;
const RIGHT = 8;

/** Round steps for the axis, at most eight of them. */
function steps(most: number): number[] {
  const step = [50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000].find((s) => most / s <= 8) ?? 120_000;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, number) => number * step);
}

function end(segment: Segment): number {
  const of = (timeline: Segment["timeline"]) => spans(timeline).at(-1)?.to ?? 0;
  return Math.max(of(segment.timeline), ...segment.attempts.map((attempt) => of(attempt.timeline)));
}

function said(segment: Segment): string {
  const took = latency(segment);
  const how =
    segment.state === "lost" ? `lost: ${segment.lost}` : took === null ? "not published yet" : `published after ${millis(took)}`;
  const stages = spans(segment.timeline).map((span) => `${span.stage} ${millis(span.to - span.from)}`);
  return [`Segment ${segment.sequence}, ${how}`, short(segment.orchestrator), ...stages].filter(Boolean).join("\n");
}

/** What the picture shows, in words. */
export function inWords(segments: Segment[]): string {
  const middle = medianLatency(segments);
  if (middle === null) return "No segment has been published yet.";
  const slow = segments.filter(isSlow).length;
  const lost = segments.filter((segment) => segment.state === "lost").length;
  const worst = segments.reduce((most, segment) => ((latency(segment) ?? 0) > (latency(most) ?? 0) ? segment : most));
  const stage = longest(worst);
  return [
    `The last ${plural(segments.length, "segment")}: half were published within ${millis(middle)}.`,
    `The slowest was segment ${worst.sequence} with ${millis(latency(worst))}${stage ? `, of which ${stage.stage} took ${millis(stage.to - stage.from)}` : ""}.`,
    slow > 0 ? `${plural(slow, "segment")} took longer than they play.` : "None took longer than it plays.",
    lost > 0 ? `${plural(lost, "segment")} lost.` : "None was lost.",
  ].join(" ");
}

function Failed({ attempt, x, y }: { attempt: Attempt; x: (ms: number) => number; y: number }) {
  const from = attempt.timeline.quote_ms ?? 0;
  const to = Math.max(from, spans(attempt.timeline).at(-1)?.to ?? from);
  return (
    <rect class="failed" x={x(from)} y={y + 1} width={Math.max(3, x(to) - x(from))} height={BAR - 2}>
      <title>{`${short(attempt.orchestrator)} ${attempt.outcome}: ${attempt.reason}`}</title>
    </rect>
  );
}

/** One bar per segment, newest above, from its arrival to its publication, a colour for each stage. */
export function Timeline({ segments }: { segments: Segment[] }) {
  const rows = segments.toReversed();
  const plays = Math.max(0, ...rows.map((segment) => segment.duration_ms));
  const most = Math.max(200, plays * 1.05, ...rows.map(end)) * 1.02;
  const x = (ms: number) => LEFT + (ms / most) * (WIDTH - LEFT - RIGHT);
  const height = AXIS + rows.length * ROW + 4;
  return (
    <figure class="timeline">
      <div class="scroll" tabIndex={0} role="region" aria-label="Timeline picture">
        <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-labelledby="timeline-title timeline-words">
          <title id="timeline-title">Stages of each segment</title>
          {steps(most).map((step) => (
            <g class="axis" key={step}>
              <line x1={x(step)} x2={x(step)} y1={AXIS - 4} y2={height} />
              <text x={x(step)} y={AXIS - 9} text-anchor="middle">
                {step < 1_000 ? `${step} ms` : `${step / 1_000} s`}
              </text>
            </g>
          ))}
          {rows.map((segment, number) => {
            const y = AXIS + number * ROW;
            return (
              <g key={segment.sequence}>
                <title>{said(segment)}</title>
                <rect class="row" x="0" y={y - 3} width={WIDTH} height={ROW} />
                <text class={`sequence ${segment.state}`} x={LEFT - 10} y={y + 10} text-anchor="end">
                  {segment.sequence}
                </text>
                {segment.attempts
                  .filter((attempt) => attempt.outcome !== "delivered")
                  .map((attempt, index) => (
                    <Failed key={index} attempt={attempt} x={x} y={y} />
                  ))}
                {segment.state !== "lost" &&
                  spans(segment.timeline).map((span) => (
                    <rect
                      key={span.stage}
                      class={`stage ${span.stage}`}
                      x={x(span.from)}
                      y={y}
                      width={Math.max(0.5, x(span.to) - x(span.from))}
                      height={BAR}
                    />
                  ))}
                {segment.state === "lost" && (
                  <text class="lost" x={x(end(segment)) + 8} y={y + 10}>
                    lost
                  </text>
                )}
              </g>
            );
          })}
          {plays > 0 && <line class="plays" x1={x(plays)} x2={x(plays)} y1={AXIS - 4} y2={height} />}
        </svg>
      </div>
      <figcaption>
        <p id="timeline-words">{inWords(segments)}</p>
        <ul class="legend">
          <li>
            <span class="swatch plays" aria-hidden="true" /> 0 is the ingest; the dashed line is how long a segment plays
          </li>
          {STAGES.map((stage) => (
            <li key={stage.name} title={stage.says}>
              <span class={`swatch stage ${stage.name}`} aria-hidden="true" /> {stage.name}
            </li>
          ))}
          <li>
            <span class="swatch failed" aria-hidden="true" /> attempt that brought nothing
          </li>
        </ul>
      </figcaption>
    </figure>
  );
}

/** The latencies of the last segments of a stream, as a line of bars. */
export function Sparkline({ segments }: { segments: Segment[] }) {
  const last = segments.slice(-30);
  const most = Math.max(1, ...last.map((segment) => Math.max(segment.duration_ms, latency(segment) ?? 0)));
  const plays = last.at(-1)?.duration_ms ?? 0;
  return (
    <svg class="spark" viewBox="0 0 180 36" preserveAspectRatio="none" aria-hidden="true">
      {last.map((segment, number) => {
        const tall = segment.state === "lost" ? 36 : ((latency(segment) ?? 0) / most) * 34;
        const kind = segment.state === "lost" ? "lost" : isSlow(segment) ? "slow" : "fine";
        return <rect key={segment.sequence} class={kind} x={number * 6} y={36 - tall} width="4.5" height={tall} />;
      })}
      {plays > 0 && <line class="plays" x1="0" x2="180" y1={36 - (plays / most) * 34} y2={36 - (plays / most) * 34} />}
    </svg>
  );
}
