import type { Hex as Address } from "viem";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, usePolled } from "../api";
import { ether, parseUnits, percent, plural, span, units } from "../format";
import { type Desk, type Plan, plan, when, type Wish } from "../staking";
import type { Account, Chain, Stake, StakeRow } from "../types";
import { Badge, Figure, Figures, Hex, Place, Section, Table, Waiting } from "../ui";
import { discover, explain, open, send, type Wallet } from "../wallet";

const POLL_MS = 5_000;
/** What a bond begins as; less where the account holds less. */
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

/** To whom a stranger's bond goes unless another is chosen: at work, fewest losses in court, then most earned, then most stake. */
function best(stake: Stake): StakeRow | undefined {
  const atWork = stake.orchestrators.filter((row) => row.active && row.jailed_until <= stake.round);
  return atWork.toSorted((a, b) => a.disputes_lost - b.disputes_lost || (b.yearly_tokens_ppm ?? 0) - (a.yearly_tokens_ppm ?? 0))[0];
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function Orchestrators({ stake, chosen, choose }: { stake: Stake; chosen: string; choose: (address: string) => void }) {
  const rows = stake.orchestrators.toSorted((a, b) => (b.yearly_tokens_ppm ?? 0) - (a.yearly_tokens_ppm ?? 0));
  const rounds = plural(stake.history_rounds, "round");
  return (
    <Table
      caption={`What ${units(stake.amount)} ${stake.symbol} more would have earned over the last ${rounds}, most first`}
      rows={rows}
      name={(row) => row.address}
      empty="No orchestrator has registered on this chain."
      columns={[
        { name: "orchestrator", head: true, show: (row) => <Hex value={row.address} /> },
        { name: "state", show: (row) => <State row={row} round={stake.round} /> },
        {
          name: "delegate",
          show: (row) => (
            <button type="button" aria-pressed={same(chosen, row.address)} onClick={() => choose(row.address)}>
              {same(chosen, row.address) ? "chosen" : "choose"}
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
      <p>{plan.calls.length === 1 ? "The wallet asks for one signature, in its own window:" : "The wallet asks for these signatures, one after the other, in its own window:"}</p>
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

interface BondProps {
  symbol: string;
  to: string;
  text: string;
  set: (text: string) => void;
  wallets: Wallet[];
  opened: boolean;
  busy: boolean;
  bond: (wallet: Wallet) => void;
}

/** One button connects, reads the account and asks whether to sign: a stranger needs no other. */
function BondForm({ symbol, to, text, set, wallets, opened, busy, bond }: BondProps) {
  const amount = parseUnits(text);
  const [first] = wallets;
  const submit = (event: Event) => {
    event.preventDefault();
    if (first) bond(first);
  };
  return (
    <form onSubmit={submit}>
      <label for="amount-bond">{symbol} to bond</label>
      <span class="field">
        <input
          id="amount-bond"
          aria-describedby="bond-to"
          inputMode="decimal"
          autocomplete="off"
          value={text}
          aria-invalid={amount === null}
          onInput={(event) => set(event.currentTarget.value)}
        />
        {wallets.map((wallet, number) => (
          <button
            type={number === 0 ? "submit" : "button"}
            class="primary"
            key={wallet.name}
            disabled={busy || amount === null || !ADDRESS.test(to)}
            onClick={number === 0 ? undefined : () => bond(wallet)}
          >
            {opened ? "Bond" : `Bond with ${wallet.name}`}
          </button>
        ))}
      </span>
      <p class="note" id="bond-to">
        {to ? <>Bonds go to {to}; another can be chosen in the table below.</> : "Choose an orchestrator in the table below to bond to."} What follows is shown before
        anything is signed.
      </p>
    </form>
  );
}

interface ActionsProps {
  stake: Stake;
  account: Account;
  to: string;
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

function Actions({ stake, account, to, busy, wish }: ActionsProps) {
  const fees = BigInt(account.fees_wei);
  return (
    <>
      <div class="forms">
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
                    wish({ kind: "rebond", lock: lock.lock, amount: BigInt(lock.amount), to: ADDRESS.test(to) ? (to as Address) : null })
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

interface DelegationProps {
  chain: Chain;
  stake: Stake;
  /** Whom the visitor has chosen; empty where nobody was. */
  chosen: string;
  /** Tells to whom bonds go now. */
  aim: (address: string) => void;
  /** The amount to bond, as typed; null where nothing was. */
  typed: string | null;
  type: (text: string) => void;
}

function Delegation({ chain, stake, chosen, aim, typed, type }: DelegationProps) {
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
  const shown = account && address && same(account.account, address) ? account : null;
  const goal = (of: Account | null) => chosen || of?.delegate || best(stake)?.address || "";
  const to = goal(opened && shown);
  useEffect(() => aim(to), [to]);

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
  const enter = async (wallet: Wallet) => {
    const account = opened?.account ?? (await open(wallet, chain.chain_id));
    setOpened({ wallet, account });
    return account;
  };
  const connect = (wallet: Wallet) =>
    attempt(async () => {
      await enter(wallet);
      tell({ text: "the wallet is connected", bad: false });
    });
  const bond = (wallet: Wallet) =>
    attempt(async () => {
      const account = await ask<Account>(`api/account/${await enter(wallet)}`);
      const held = BigInt(account.held);
      const most = parseUnits(typed ?? REFERENCE);
      if (most === null) return;
      const amount = typed === null && held < most ? held : most;
      if (amount === 0n) throw new Error(`there is nothing to bond: the account holds ${units(held, 18)} ${stake.symbol}`);
      setAsked(await plan({ wallet, chain, stake, account }, { kind: "bond", amount, to: goal(account) as Address }));
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
      <BondForm
        symbol={stake.symbol}
        to={to}
        text={typed ?? REFERENCE}
        set={type}
        wallets={opened ? [opened.wallet] : wallets}
        opened={opened !== null}
        busy={busy}
        bond={bond}
      />
      {opened ? (
        <p>
          {opened.wallet.name}: account {opened.account}
        </p>
      ) : (
        <div class="forms">
          <div class="buttons">
            {wallets.map((wallet) => (
              <button type="button" key={wallet.name} disabled={busy} onClick={() => connect(wallet)}>
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
      {opened && shown && <Actions stake={stake} account={shown} to={to} busy={busy} wish={wish} />}
      {asked && <Confirm plan={asked} agree={() => carryOut(asked)} leave={() => setAsked(null)} />}
    </Section>
  );
}

export function Staking({ chain }: { chain: Chain }) {
  const [typed, type] = useState<string | null>(null);
  const [chosen, choose] = useState("");
  const [to, aim] = useState("");
  const amount = parseUnits(typed ?? REFERENCE) || parseUnits(REFERENCE)!;
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
      <Delegation chain={chain} stake={stake} chosen={chosen} aim={aim} typed={typed} type={type} />
      <Section
        title="What a delegation yields"
        note="At present terms, less the orchestrator's cut, as if the amount had been there. The past promises nothing."
      >
        <Orchestrators stake={stake} chosen={to} choose={choose} />
        {stake.omitted > 0 && <p class="note">{plural(stake.omitted, "orchestrator")} with less stake not shown.</p>}
      </Section>
    </>
  );
}
