import { ether, median, millis, percent, price, span, units } from "../format";
import { useLive } from "../live";
import { latency } from "../stages";
import type { Orchestrator, Segment } from "../types";
import { Badge, Hex, Place, Section, Share, Table, type Tone } from "../ui";

const STANDINGS: Record<Orchestrator["standing"], Tone> = { good: "good", "last resort": "warn", barred: "bad", unknown: "calm" };

interface Row {
  of: Orchestrator;
  /** Part of the published segments that the node still shows. */
  share: number;
  middle: number | null;
}

function compared(orchestrators: Orchestrator[], segments: Segment[]): Row[] {
  const published = segments.filter((segment) => segment.state === "published");
  const row = (of: Orchestrator): Row => {
    const own = published.filter((segment) => segment.orchestrator === of.address);
    return {
      of,
      share: published.length > 0 ? own.length / published.length : 0,
      middle: median(own.flatMap((segment) => latency(segment) ?? [])),
    };
  };
  return orchestrators.map(row).toSorted((a, b) => b.share - a.share || b.of.segments - a.of.segments);
}

function looked(of: Orchestrator): string {
  return of.rates ? `${percent(of.rates.first_frame_ppm)} first frame, ${percent(of.rates.whole_ppm)} whole` : "–";
}

export function Orchestrators() {
  const { board } = useLive();
  const rows = compared([...board.orchestrators.values()], [...board.segments.values()]);
  return (
    <Section
      title="Orchestrators compared"
      note="Price per billion pixels, as last quoted. Slowness is the time a segment takes over the time it plays: below 1 keeps up. Share and latency are of the segments this page still knows."
    >
      <Table
        caption="Everybody who sells to this broadcaster"
        rows={rows}
        name={(row) => row.of.address}
        empty="No orchestrator is known yet."
        mark={(row) => (row.of.standing === "barred" ? "bad" : undefined)}
        columns={[
          { name: "orchestrator", head: true, show: (row) => <Hex value={row.of.address} /> },
          {
            name: "standing",
            show: (row) => (
              <>
                <Badge tone={STANDINGS[row.of.standing]}>{row.of.standing}</Badge>
                {row.of.suspended_ms > 0 && <small> for {span(row.of.suspended_ms)}</small>}
                {row.of.note && <span class="beside">{row.of.note}</span>}
              </>
            ),
          },
          {
            name: "share",
            number: true,
            show: (row) => (
              <>
                {percent(row.share * 1e6, 0)} <Share of={row.share} />
              </>
            ),
          },
          { name: "price", number: true, show: (row) => (row.of.price ? price(row.of.price) : "–") },
          { name: "paid", number: true, show: (row) => ether(row.of.value_wei) },
          { name: "latency", number: true, show: (row) => millis(row.middle) },
          {
            name: "slowness",
            number: true,
            show: (row) => (row.of.delivered > 0 ? `${(row.of.slowness_ppm / 1e6).toFixed(2)} (95 %: ${(row.of.tail_ppm / 1e6).toFixed(2)})` : "–"),
          },
          { name: "delivered", number: true, show: (row) => row.of.segments },
          { name: "failed", number: true, show: (row) => row.of.failed },
          {
            name: "refused",
            number: true,
            show: (row) => (row.of.rejected > 0 ? <Badge tone="bad">{row.of.rejected}</Badge> : 0),
          },
          { name: "in time and right", number: true, show: (row) => percent(row.of.success_ppm) },
          { name: "trust", number: true, show: (row) => percent(row.of.trust_ppm, 0) },
          { name: "worth beside a second encode", number: true, show: (row) => percent(row.of.worth_ppm, 0) },
          { name: "pictures looked at", number: true, show: (row) => looked(row.of) },
          { name: "stake", number: true, show: (row) => units(row.of.stake_wei, 2) },
          { name: "fees on chain", number: true, show: (row) => (row.of.fees_wei === null ? "–" : ether(row.of.fees_wei)) },
          { name: "reached at", show: (row) => <Place text={row.of.addresses.join(" ")} /> },
        ]}
      />
    </Section>
  );
}
