import { usePolled } from "../api";
import { count, units } from "../format";
import type { Disputes as Answer } from "../types";
import { Badge, Figure, Figures, Hex, Section, Table, type Tone, Waiting } from "../ui";

const POLL_MS = 5_000;

function tone(verdict: string | null): Tone {
  return verdict === null ? "warn" : verdict === "guilty" ? "bad" : "calm";
}

export function Disputes() {
  const { value, error } = usePolled<Answer>("api/disputes", POLL_MS);
  if (!value) return <Waiting error={error} />;
  const open = value.disputes.filter((dispute) => dispute.status !== "closed");
  const guilty = value.disputes.filter((dispute) => dispute.verdict === "guilty");
  return (
    <>
      <Figures label="The court">
        <Figure name="open" tone={open.length > 0 ? "warn" : "good"}>
          {open.length}
        </Figure>
        <Figure name="guilty" note="of those shown">
          {guilty.length}
        </Figure>
        <Figure name="ever opened">{count(value.disputes.length + value.omitted)}</Figure>
      </Figures>
      <Section
        title="Disputes"
        note={
          <>
            A provably wrong, signed result costs its orchestrator stake. <code>framemill dispute</code> opens, appeals and carries out.
          </>
        }
      >
        <Table
          caption="Newest first"
          rows={value.disputes}
          name={(row) => String(row.id)}
          empty="Nobody has been accused before this court."
          columns={[
            { name: "dispute", number: true, head: true, show: (row) => row.id },
            { name: "stands", show: (row) => <Badge tone={row.status === "closed" ? "calm" : "warn"}>{row.status}</Badge> },
            { name: "accused", show: (row) => <Hex value={row.accused} /> },
            { name: "of", show: (row) => row.fault },
            { name: "by", show: (row) => <Hex value={row.challenger} /> },
            { name: "bond", number: true, show: (row) => `${units(row.bond, 2)} ${value.symbol}` },
            { name: "verdict", show: (row) => <Badge tone={tone(row.verdict)}>{row.verdict ?? "none yet"}</Badge> },
            {
              name: "jury",
              show: (row) =>
                row.jury
                  ? `${row.jury.seats} of ${row.jury.size} seats; ${row.jury.votes[0]} guilty, ${row.jury.votes[1]} not, ${row.jury.votes[2]} no evidence`
                  : "–",
            },
            { name: "next", show: (row) => row.next },
          ]}
        />
        {value.omitted > 0 && <p class="note">{count(value.omitted)} older ones are not shown.</p>}
      </Section>
    </>
  );
}
