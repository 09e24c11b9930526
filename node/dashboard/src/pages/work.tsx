import { usePolled } from "../api";
import { clock, count, ether, megapixels, plural, span } from "../format";
import { useLive } from "../live";
import type { Figure as Metric, Job, Transcoder } from "../types";
import { Badge, Figure, Figures, Hex, Section, Share, Table } from "../ui";

const POLL_MS = 2_000;

/** What a metric says, over all its labels or for some. */
function value(metrics: Metric[], name: string, labels: Record<string, string> = {}): number {
  const wanted = metrics.filter(
    (metric) => metric.name === name && Object.entries(labels).every(([label, text]) => metric.labels[label] === text),
  );
  return wanted.reduce((sum, metric) => sum + metric.value, 0);
}

function Transcoders({ transcoders }: { transcoders: Transcoder[] }) {
  return (
    <Section title="Transcoders">
      <Table
        caption="Machines that work for this orchestrator"
        rows={transcoders.toSorted((a, b) => Number(b.connected) - Number(a.connected) || a.name.localeCompare(b.name))}
        name={(row) => row.peer}
        empty="No transcoder has connected yet. Give miners this node's address and its transcoder.token."
        columns={[
          { name: "name", head: true, show: (row) => row.name },
          {
            name: "state",
            show: (row) => (row.connected ? <Badge tone="good">connected</Badge> : <Badge tone="bad">gone</Badge>),
          },
          { name: "since", show: (row) => clock(row.since_ms) },
          { name: "measured speed", number: true, show: (row) => `${megapixels(row.pixels_per_second)}/s` },
          { name: "peer", show: (row) => <Hex value={row.peer} /> },
        ]}
      />
    </Section>
  );
}

function Jobs({ jobs }: { jobs: Job[] }) {
  return (
    <Section title="Segments">
      <Table
        caption="The last segments, newest first"
        rows={jobs.toReversed().slice(0, 100)}
        name={(row) => `${row.session}/${row.sequence}`}
        empty="No segment has come in yet."
        mark={(row) => (row.code ? "bad" : undefined)}
        columns={[
          { name: "ended", show: (row) => clock(row.at_ms) },
          { name: "session", show: (row) => <Hex value={row.session} /> },
          { name: "segment", number: true, head: true, show: (row) => row.sequence },
          { name: "outcome", show: (row) => (row.code ? <Badge tone="bad">{row.code}</Badge> : <Badge tone="good">delivered</Badge>) },
          { name: "pixels", number: true, show: (row) => (row.code ? "–" : megapixels(row.pixels)) },
          { name: "earned", number: true, show: (row) => (row.code ? "–" : ether(row.earned_wei)) },
        ]}
      />
    </Section>
  );
}

function OrchestratorWork({ metrics }: { metrics: Metric[] }) {
  const { board } = useLive();
  const jobs = [...board.jobs.values()];
  const of = (name: string, labels?: Record<string, string>) => value(metrics, `framemill_orchestrator_${name}`, labels);
  const capacity = of("capacity_pixels_per_second");
  const reserved = of("reserved_pixels_per_second");
  const earned = jobs.reduce((sum, job) => sum + BigInt(job.earned_wei), 0n);
  const failed = of("segments_total") - of("segments_total", { outcome: "done" });
  return (
    <>
      <Figures label="Work">
        <Figure name="capacity in use" note={`${megapixels(reserved)}/s of ${megapixels(capacity)}/s`}>
          {capacity > 0 ? `${Math.round((reserved / capacity) * 100)} %` : "–"}
          <Share of={capacity > 0 ? reserved / capacity : 0} />
        </Figure>
        <Figure name="sessions">{of("sessions")}</Figure>
        <Figure name="delivered" note={megapixels(of("pixels_total"))}>
          {count(of("segments_total", { outcome: "done" }))}
        </Figure>
        <Figure name="not delivered" tone={failed > 0 ? "warn" : "good"}>
          {count(failed)}
        </Figure>
        <Figure name="earned by what is below" note={plural(jobs.length, "segment")}>
          {ether(earned)}
        </Figure>
        <Figure name="tickets won" note={`of ${count(of("tickets_total", { outcome: "accepted" }))} taken, ${count(of("tickets_total", { outcome: "refused" }))} refused`}>
          {count(of("tickets_total", { outcome: "won" }))}
        </Figure>
      </Figures>
      <Transcoders transcoders={[...board.transcoders.values()]} />
      <Jobs jobs={jobs} />
    </>
  );
}

function TranscoderWork({ metrics }: { metrics: Metric[] }) {
  const of = (name: string, labels?: Record<string, string>) => value(metrics, `framemill_transcoder_${name}`, labels);
  const engines = [...new Set(metrics.flatMap((metric) => metric.labels["engine"] ?? []))];
  const done = of("segments_total", { outcome: "ok" });
  const failures = metrics.filter((metric) => metric.name === "framemill_transcoder_segments_total" && metric.labels["outcome"] !== "ok");
  const seconds = of("segment_seconds_sum");
  const times = of("segment_seconds_count");
  return (
    <>
      <Figures label="Work">
        <Figure name="orchestrator" tone={of("connected") > 0 ? "good" : "bad"} note={plural(of("connections_total"), "connection")}>
          {of("connected") > 0 ? "connected" : "away"}
        </Figure>
        <Figure name="transcoding now">{of("jobs_in_flight")}</Figure>
        <Figure name="segments done" note={megapixels(of("pixels_total"))}>
          {count(done)}
        </Figure>
        <Figure name="time of a segment" note="mean">
          {times > 0 ? `${(seconds / times).toFixed(2)} s` : "–"}
        </Figure>
      </Figures>
      <Section title="Engines">
        <Table
          caption="What this machine offers, as measured when it started"
          rows={engines}
          name={(engine) => engine}
          empty="No engine is offered."
          columns={[
            { name: "engine", head: true, show: (engine) => engine },
            { name: "speed", number: true, show: (engine) => `${megapixels(of("capacity_pixels_per_second", { engine }))}/s` },
            { name: "promised", number: true, show: (engine) => `${megapixels(of("reserved_pixels_per_second", { engine }))}/s` },
            { name: "sessions", number: true, show: (engine) => of("sessions", { engine }) },
            { name: "segments", number: true, show: (engine) => count(of("segments_total", { engine, outcome: "ok" })) },
          ]}
        />
      </Section>
      <Section title="Failed segments" note="A transcoder is paid by its orchestrator, which tells what was earned.">
        <Table
          caption="Segments that failed, by what went wrong"
          rows={failures.filter((metric) => metric.value > 0)}
          name={(metric) => `${metric.labels["engine"]}/${metric.labels["outcome"]}`}
          empty="No segment has failed."
          columns={[
            { name: "what", head: true, show: (metric) => metric.labels["outcome"] },
            { name: "engine", show: (metric) => metric.labels["engine"] },
            { name: "times", number: true, show: (metric) => count(metric.value) },
          ]}
        />
      </Section>
    </>
  );
}

export function Work() {
  const { board } = useLive();
  const { value: metrics, error } = usePolled<Metric[]>("api/figures", POLL_MS);
  const known = metrics ?? [];
  const isTranscoder = known.some((metric) => metric.name.startsWith("framemill_transcoder_"));
  const lastJob = [...board.jobs.values()].at(-1);
  return (
    <>
      {error && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      {isTranscoder ? <TranscoderWork metrics={known} /> : <OrchestratorWork metrics={known} />}
      {lastJob && <p class="note">Last segment {span(Math.max(0, Date.now() - lastJob.at_ms))} ago.</p>}
    </>
  );
}
