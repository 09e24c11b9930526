import type { Hex as Address } from "viem";
import { useEffect, useRef, useState } from "preact/hooks";
import { usePolled } from "../api";
import { ether, parseUnits, percent, plural, span, units } from "../format";
import { type Desk, type Plan, plan, when, type Wish } from "../staking";
import type { Account, Chain, Stake, StakeRow } from "../types";
import { Badge, Figure, Figures, Hex, Place, Section, Table, Waiting } from "../ui";
import { discover, explain, open, send, type Wallet } from "../wallet";

const POLL_MS = 5_000;
const REFERENCE = "1000";
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;

function terms(row: StakeRow): string {
  const next = row.next_terms;
  return next
    ? `from round ${next.round} on it keeps ${percent(next.reward_cut_ppm, 2)} and gives ${percent(next.fee_share_ppm, 2)} of fees`
    : "";
}

function State({ row, round }: { row: StakeRow; round: number }) {
  if (row.jailed_until > round) return <Badge tone="bad">jailed</Badge>;
  return row.active ? <Badge tone="good">active</Badge> : <Badge tone="calm">waits</Badge>;
}

function Orchestrators({ stake, chosen, choose }: { stake: Stake; chosen: string; choose: (address: string) => void }) {
  const rows = stake.orchestrators.toSorted((a, b) => (b.yearly_tokens_ppm ?? 0) - (a.yearly_tokens_ppm ?? 0));
  const rounds = plural(stake.history_rounds, "round");
  return (
    <Table
      caption={`What ${units(stake.amount)} ${stake.symbol} more would have earned over the last ${rounds}, best first`}
      rows={rows}
      name={(row) => row.address}
      empty="No orchestrator has registered on this chain."
      columns={[
        { name: "orchestrator", head: true, show: (row) => <Hex value={row.address} /> },
        { name: "state", show: (row) => <State row={row} round={stake.round} /> },
        {
          name: "delegate",
          show: (row) => (
            <button type="button" aria-pressed={chosen === row.address} onClick={() => choose(row.address)}>
              {chosen === row.address ? "chosen" : "choose"}
              <span class="unseen"> {row.address}</span>
            </button>
          ),
        },
        { name: "a year, new tokens", number: true, show: (row) => (row.yearly_tokens_ppm === null ? "–" : percent(row.yearly_tokens_ppm, 2)) },
        { name: `${stake.symbol} earned`, number: true, show: (row) => units(row.yield_tokens, 4) },
        { name: "ETH earned", number: true, show: (row) => ether(row.yield_wei) },
        { name: "keeps of new tokens", number: true, show: (row) => percent(row.reward_cut_ppm, 2) },
        { name: "gives of fees", number: true, show: (row) => percent(row.fee_share_ppm, 2) },
        { name: "stake", number: true, show: (row) => `${units(row.stake, 2)} ${stake.symbol}` },
        { name: "rewards missed", number: true, show: (row) => (row.calls_missed > 0 ? <Badge tone="warn">{row.calls_missed}</Badge> : 0) },
        { name: "lost in court", number: true, show: (row) => (row.disputes_lost > 0 ? <Badge tone="bad">{row.disputes_lost}</Badge> : 0) },
        { name: "terms to come", show: terms },
        { name: "reached at", show: (row) => <Place text={row.service_uri} /> },
      ]}
    />
  );
}

function Standing({ account, stake }: { account: Account; stake: Stake }) {
  return (
    <>
      <Figures label="This account">
        <Figure name="to bond" note="in the account">
          {units(account.held, 4)} {stake.symbol}
        </Figure>
        <Figure name="bonded">
          {units(account.stake, 4)} {stake.symbol}
        </Figure>
        <Figure name="fees to withdraw">{ether(account.fees_wei)}</Figure>
        <Figure name="for gas">{ether(account.balance_wei)}</Figure>
      </Figures>
      <p class="note">
        {account.delegate ? <>Bonded to {account.delegate}.</> : "Bonded to nobody."}
        {account.redelegation &&
          ` ${units(account.redelegation.amount)} ${stake.symbol} of it answer for ${account.redelegation.from} too until ${when(stake, account.redelegation.until_round)}.`}
      </p>
    </>
  );
}

/** Says what will be signed and what follows from it; nothing is sent before the button here. */
function Confirm({ plan, agree, leave }: { plan: Plan; agree: () => void; leave: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="plan-title" onClose={leave}>
      <h2 id="plan-title">{plan.title}</h2>
      <ul>
        {plan.consequences.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
      <p>{plan.calls.length === 1 ? "The wallet asks for one signature." : "The wallet asks for these signatures, one after the other:"}</p>
      <ol>
        {plan.calls.map((call) => (
          <li key={call.data}>
            {call.says} <small>(to {call.to})</small>
          </li>
        ))}
      </ol>
      <div class="buttons">
        <button type="button" class="primary" onClick={agree}>
          Sign in the wallet
        </button>
        <button type="button" onClick={() => dialog.current?.close()}>
          Leave it
        </button>
      </div>
    </dialog>
  );
}

interface ActionsProps {
  stake: Stake;
  account: Account;
  chosen: string;
  busy: boolean;
  wish: (wish: Wish) => void;
}

function AmountForm({ label, verb, busy, submit }: { label: string; verb: string; busy: boolean; submit: (amount: bigint) => void }) {
  const [text, set] = useState("");
  const amount = parseUnits(text);
  const id = `amount-${verb.replace(/[^a-z]+/gi, "-").toLowerCase()}`;
  const send = (event: Event) => {
    event.preventDefault();
    if (amount !== null) submit(amount);
  };
  return (
    <form onSubmit={send}>
      <label for={id}>{label}</label>
      <span class="field">
        <input
          id={id}
          inputMode="decimal"
          autocomplete="off"
          value={text}
          aria-invalid={text !== "" && amount === null}
          onInput={(event) => set(event.currentTarget.value)}
        />
        <button type="submit" disabled={busy || amount === null}>
          {verb}
        </button>
      </span>
    </form>
  );
}

function Actions({ stake, account, chosen, busy, wish }: ActionsProps) {
  const to = chosen || account.delegate || "";
  const fees = BigInt(account.fees_wei);
  return (
    <>
      <div class="forms">
        <div>
          <p class="note">{to ? <>Bonds go to {to}.</> : "Choose an orchestrator in the table above to bond to."}</p>
          <AmountForm
            label={`${stake.symbol} to bond`}
            verb="Bond"
            busy={busy || !ADDRESS.test(to)}
            submit={(amount) => wish({ kind: "bond", amount, to: to as Address })}
          />
        </div>
        <div>
          <p class="note">Taking stake out takes {plural(stake.unbonding_rounds, "round")}.</p>
          <AmountForm label={`${stake.symbol} to unbond`} verb="Unbond" busy={busy} submit={(amount) => wish({ kind: "unbond", amount })} />
        </div>
        <div class="buttons">
          <button type="button" disabled={busy || fees === 0n} onClick={() => wish({ kind: "withdrawFees", amount: fees })}>
            Withdraw {ether(fees)} of fees
          </button>
          <button type="button" disabled={busy || account.delegate === null} onClick={() => wish({ kind: "claim" })}>
            Claim earnings
          </button>
        </div>
      </div>
      <Table
        caption="Stake on its way out"
        rows={account.locks}
        name={(lock) => String(lock.lock)}
        empty="Nothing is on its way out."
        columns={[
          { name: "lock", head: true, number: true, show: (lock) => lock.lock },
          { name: "amount", number: true, show: (lock) => `${units(lock.amount, 4)} ${stake.symbol}` },
          { name: "can be withdrawn from", show: (lock) => when(stake, lock.withdraw_round) },
          {
            name: "what to do",
            show: (lock) => (
              <span class="buttons">
                <button
                  type="button"
                  disabled={busy || lock.withdraw_round > stake.round}
                  onClick={() => wish({ kind: "withdrawStake", lock: lock.lock, amount: BigInt(lock.amount) })}
                >
                  Withdraw<span class="unseen"> lock {lock.lock}</span>
                </button>
                <button
                  type="button"
                  disabled={busy}
                  onClick={() =>
                    wish({ kind: "rebond", lock: lock.lock, amount: BigInt(lock.amount), to: ADDRESS.test(chosen) ? (chosen as Address) : null })
                  }
                >
                  Put back<span class="unseen"> lock {lock.lock}</span>
                </button>
              </span>
            ),
          },
        ]}
      />
    </>
  );
}

function Delegation({ chain, stake, chosen }: { chain: Chain; stake: Stake; chosen: string }) {
  const [wallets, setWallets] = useState<Wallet[]>([]);
  const [opened, setOpened] = useState<{ wallet: Wallet; account: Address } | null>(null);
  const [looked, setLooked] = useState(chain.account ?? "");
  const [asked, setAsked] = useState<Plan | null>(null);
  const [busy, setBusy] = useState(false);
  const [told, tell] = useState<{ text: string; bad: boolean }>({ text: "", bad: false });
  const [turn, setTurn] = useState(0);
  useEffect(() => discover(setWallets), []);

  const address = opened?.account ?? (ADDRESS.test(looked) ? looked : null);
  const { value: account, error } = usePolled<Account>(address && `api/account/${address}`, POLL_MS, turn);
  const shown = account && address && account.account.toLowerCase() === address.toLowerCase() ? account : null;

  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    tell({ text: "", bad: false });
    try {
      await work();
    } catch (failure) {
      tell({ text: explain(failure), bad: true });
    }
    setBusy(false);
  };
  const connect = (wallet: Wallet) =>
    attempt(async () => {
      setOpened({ wallet, account: await open(wallet, chain.chain_id) });
      tell({ text: "the wallet is connected", bad: false });
    });
  const wish = (wanted: Wish) =>
    attempt(async () => {
      if (!opened || !shown) return;
      const desk: Desk = { wallet: opened.wallet, chain, stake, account: shown };
      setAsked(await plan(desk, wanted));
    });
  const carryOut = (agreed: Plan) =>
    attempt(async () => {
      if (!opened) return;
      setAsked(null);
      for (const [number, call] of agreed.calls.entries()) {
        tell({ text: `${number + 1} of ${agreed.calls.length}: ${call.says}; waiting for the wallet and the chain`, bad: false });
        await send(opened.wallet, opened.account, chain.chain_id, call);
      }
      tell({ text: `done: ${agreed.title}`, bad: false });
      setTurn((turns) => turns + 1);
    });

  return (
    <Section title="Your stake" note="The page hands calls to the wallet in this browser. The node signs nothing and never sees a key.">
      {opened ? (
        <p>
          {opened.wallet.name}: account {opened.account}
        </p>
      ) : (
        <div class="forms">
          <div class="buttons">
            {wallets.map((wallet) => (
              <button type="button" class="primary" key={wallet.name} disabled={busy} onClick={() => connect(wallet)}>
                Connect {wallet.name}
              </button>
            ))}
            {wallets.length === 0 && <p class="note">No wallet is in this browser. Accounts can be looked at all the same.</p>}
          </div>
          <div>
            <label for="account">Account to look at</label>
            <span class="field">
              <input
                id="account"
                value={looked}
                autocomplete="off"
                spellcheck={false}
                size={44}
                aria-invalid={looked !== "" && !ADDRESS.test(looked)}
                onInput={(event) => setLooked(event.currentTarget.value.trim())}
              />
            </span>
          </div>
        </div>
      )}
      <p class={told.bad ? "notice bad" : "notice"} role="status" aria-live="polite" hidden={told.text === ""}>
        {told.text}
      </p>
      {address && !shown && <Waiting error={error} />}
      {shown && <Standing account={shown} stake={stake} />}
      {opened && shown && <Actions stake={stake} account={shown} chosen={chosen} busy={busy} wish={wish} />}
      {asked && <Confirm plan={asked} agree={() => carryOut(asked)} leave={() => setAsked(null)} />}
    </Section>
  );
}

export function Staking({ chain }: { chain: Chain }) {
  const [text, set] = useState(REFERENCE);
  const [chosen, choose] = useState("");
  const amount = parseUnits(text) ?? parseUnits(REFERENCE)!;
  const { value: stake, error } = usePolled<Stake>(`api/stake?amount=${amount}`, POLL_MS);
  if (!stake) return <Waiting error={error} />;
  return (
    <>
      {error && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      <Figures label="The chain">
        <Figure name="round" note={stake.block_ms === null ? `${stake.round_blocks_left} blocks left` : `${span(stake.round_blocks_left * stake.block_ms)} left`}>
          {stake.round}
        </Figure>
        <Figure name="stake at work">
          {units(stake.total_active_stake, 0)} {stake.symbol}
        </Figure>
        <Figure name="orchestrators" note={`${stake.orchestrators.filter((row) => row.active).length} active`}>
          {stake.orchestrators.length + stake.omitted}
        </Figure>
      </Figures>
      <Section
        title="What a delegation yields"
        note="At present terms, less the orchestrator's cut, as if the amount had been there. The past promises nothing."
      >
        <label for="amount">Amount in {stake.symbol}</label>{" "}
        <input
          id="amount"
          inputMode="decimal"
          autocomplete="off"
          value={text}
          aria-invalid={parseUnits(text) === null}
          onInput={(event) => set(event.currentTarget.value)}
        />
        <Orchestrators stake={stake} chosen={chosen} choose={choose} />
        {stake.omitted > 0 && <p class="note">{plural(stake.omitted, "orchestrator")} with less stake not shown.</p>}
      </Section>
      <Delegation chain={chain} stake={stake} chosen={chosen} />
    </>
  );
}
