import { usePolled } from "../api";
import { clock, count, ether, plural, units } from "../format";
import type { Earnings as Answer, Winner } from "../types";
import { Badge, Figure, Figures, Hex, Section, Table, type Tone, Waiting } from "../ui";

const POLL_MS = 3_000;
const STATES: Record<Winner["state"], Tone> = { pending: "warn", submitted: "warn", paid: "good", dead: "bad" };

function OnChain({ chain }: { chain: NonNullable<Answer["chain"]> }) {
  return (
    <Section title="On chain" note={<>Account {chain.account}. Fees are shared with delegators as the terms say.</>}>
      <Figures label="On chain">
        <Figure name="fees to withdraw">{ether(chain.fees_wei)}</Figure>
        <Figure name="own stake">
          {units(chain.stake, 2)} {chain.symbol}
        </Figure>
        <Figure name="fees received" note={`in the last ${plural(chain.rounds, "round")} that are over`}>
          {ether(chain.recent_fees_wei)}
        </Figure>
        <Figure name="new tokens" note={`in the last ${plural(chain.rounds, "round")} that are over`}>
          {units(chain.recent_rewards, 4)} {chain.symbol}
        </Figure>
      </Figures>
    </Section>
  );
}

export function Earnings() {
  const { value, error } = usePolled<Answer>("api/earnings", POLL_MS);
  if (!value) return <Waiting error={error} />;
  const { sums } = value;
  const total = (["pending", "submitted", "paid"] as const).reduce((sum, state) => sum + BigInt(sums[state].value_wei), 0n);
  return (
    <>
      {error && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      <Figures label="Winning tickets">
        <Figure name="won" note={plural(sums.pending.tickets + sums.submitted.tickets + sums.paid.tickets, "ticket")}>
          {ether(total)}
        </Figure>
        <Figure name="paid" tone="good" note={plural(sums.paid.tickets, "ticket")}>
          {ether(sums.paid.value_wei)}
        </Figure>
        <Figure name="waiting" note={`${count(sums.pending.tickets)} to be sent, ${count(sums.submitted.tickets)} on the way`}>
          {ether(BigInt(sums.pending.value_wei) + BigInt(sums.submitted.value_wei))}
        </Figure>
        <Figure name="given up" tone={sums.dead.tickets > 0 ? "bad" : "good"} note={plural(sums.dead.tickets, "ticket")}>
          {ether(sums.dead.value_wei)}
        </Figure>
      </Figures>
      {value.chain && <OnChain chain={value.chain} />}
      <Section title="Winning tickets">
        <Table
          caption="Newest first"
          rows={value.winners}
          name={(row) => `${row.sender}/${row.nonce}/${row.accepted_ms}`}
          empty="No ticket has won yet. Most tickets do not: each one that does pays for many."
          columns={[
            { name: "taken", head: true, show: (row) => clock(row.accepted_ms) },
            { name: "state", show: (row) => <Badge tone={STATES[row.state]}>{row.state === "dead" ? "given up" : row.state}</Badge> },
            { name: "face value", number: true, show: (row) => ether(row.face_value_wei) },
            { name: "from", show: (row) => <Hex value={row.sender} /> },
            { name: "nonce", number: true, show: (row) => row.nonce },
            { name: "transaction", show: (row) => (row.transaction ? <Hex value={row.transaction} /> : "") },
            { name: "why not", show: (row) => row.reason ?? "" },
          ]}
        />
        {value.omitted > 0 && <p class="note">{count(value.omitted)} older ones are not shown; <code>framemill tickets export</code> has all.</p>}
      </Section>
      <Section title="Open accounts" note="What broadcasters have paid ahead with tickets that may have lost.">
        <Table
          caption="Sessions with credit"
          rows={value.sessions}
          name={(row) => row.session}
          empty="No session is open."
          columns={[
            { name: "session", head: true, show: (row) => <Hex value={row.session} /> },
            { name: "broadcaster", show: (row) => <Hex value={row.sender} /> },
            { name: "tickets", number: true, show: (row) => count(row.tickets) },
            { name: "credit", number: true, show: (row) => ether(row.credit_wei) },
            { name: "held for work", number: true, show: (row) => ether(row.held_wei) },
          ]}
        />
        {value.sessions_omitted > 0 && <p class="note">{count(value.sessions_omitted)} more are open.</p>}
      </Section>
    </>
  );
}
