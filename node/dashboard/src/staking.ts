// What stakers sign: calls and their consequences. The words follow `framemill stake`.

import type { Hex } from "viem";
import { decodeFunctionResult, encodeFunctionData } from "viem/utils";
import { BondingManager, FramemillToken } from "virtual:contracts";
import { ether, span, units } from "./format";
import type { Account, Chain, Stake } from "./types";
import { type Call, read, type Wallet } from "./wallet";

export interface Plan {
  title: string;
  consequences: string[];
  calls: Call[];
}

export type Wish =
  | { kind: "bond"; amount: bigint; to: Hex }
  | { kind: "unbond"; amount: bigint }
  | { kind: "rebond"; lock: number; amount: bigint; to: Hex | null }
  | { kind: "withdrawStake"; lock: number; amount: bigint }
  | { kind: "withdrawFees"; amount: bigint }
  | { kind: "claim" };

export interface Desk {
  wallet: Wallet;
  chain: Chain;
  stake: Stake;
  account: Account;
}

const SLASHABLE = "It can be slashed for proven faults of that orchestrator, while it is bonded and while it unbonds.";

/** "round 12, in about 3 h" */
export function when(stake: Stake, round: number): string {
  const ahead = round - stake.round;
  if (ahead <= 0) return `round ${round}, which has begun`;
  const blocks = stake.round_blocks_left + (ahead - 1) * stake.round_length;
  return stake.block_ms === null ? `round ${round}, in ${blocks} blocks` : `round ${round}, in about ${span(blocks * stake.block_ms)}`;
}

function bonding(chain: Chain, says: string, functionName: string, args: unknown[]): Call {
  return { says, to: chain.bonding_manager as Hex, data: encodeFunctionData({ abi: BondingManager, functionName, args }) };
}

/** The approval that a bond needs, for exactly its amount; none where it is there already. */
async function approval({ wallet, chain, account }: Desk, amount: bigint, shown: string): Promise<Call[]> {
  if (amount === 0n) return [];
  const to = chain.token as Hex;
  const encode = (functionName: string, args: unknown[]) => encodeFunctionData({ abi: FramemillToken, functionName, args });
  const answer = await read(wallet, { to, data: encode("allowance", [account.account, chain.bonding_manager]) });
  const allowed = decodeFunctionResult({ abi: FramemillToken, functionName: "allowance", data: answer }) as bigint;
  if (allowed >= amount) return [];
  return [{ says: `allow the staking contract to take ${shown}`, to, data: encode("approve", [chain.bonding_manager, amount]) }];
}

/** What a wish comes to, before anything is signed. */
export async function plan(desk: Desk, wish: Wish): Promise<Plan> {
  const { chain, stake, account } = desk;
  const tokens = (amount: bigint) => `${units(amount, 18)} ${stake.symbol}`;
  const unbonding = `It earns nothing on its way out and can be withdrawn from ${when(stake, stake.round + stake.unbonding_rounds)}.`;
  switch (wish.kind) {
    case "bond": {
      if (wish.amount > BigInt(account.held)) throw new Error(`${tokens(wish.amount)} were to be bonded and ${tokens(BigInt(account.held))} are there`);
      const moves = account.delegate !== null && account.delegate.toLowerCase() !== wish.to.toLowerCase();
      if (moves && account.redelegation) {
        throw new Error(`your stake was moved before and can move again from ${when(stake, account.redelegation.until_round)}`);
      }
      const title = `bond ${tokens(wish.amount)} to ${wish.to}`;
      return {
        title,
        consequences: [
          ...(moves ? [`What you have bonded to ${account.delegate}, ${tokens(BigInt(account.stake))}, moves there too, and answers for both meanwhile.`] : []),
          `It counts and earns from ${when(stake, stake.round + 1)}.`,
          `To take it out again takes ${stake.unbonding_rounds} rounds.`,
          SLASHABLE,
        ],
        calls: [...(await approval(desk, wish.amount, tokens(wish.amount))), bonding(chain, title, "bond", [wish.amount, wish.to])],
      };
    }
    case "unbond": {
      if (wish.amount === 0n || wish.amount > BigInt(account.stake)) {
        throw new Error(`${tokens(wish.amount)} were to be unbonded and ${tokens(BigInt(account.stake))} are bonded`);
      }
      const title = `unbond ${tokens(wish.amount)}`;
      return { title, consequences: [unbonding, "Until then it can still be slashed for faults up to now."], calls: [bonding(chain, title, "unbond", [wish.amount])] };
    }
    case "rebond": {
      if (account.delegate === null && !wish.to) throw new Error("nothing of yours is bonded any more: choose an orchestrator to put it back to");
      const title = `put ${tokens(wish.amount)} of lock ${wish.lock} back to ${account.delegate ?? wish.to}`;
      const call =
        account.delegate === null
          ? bonding(chain, title, "rebondFromUnbonded", [wish.to, BigInt(wish.lock)])
          : bonding(chain, title, "rebond", [BigInt(wish.lock)]);
      return { title, consequences: [`It counts and earns from ${when(stake, stake.round + 1)}.`, SLASHABLE], calls: [call] };
    }
    case "withdrawStake": {
      const title = `withdraw ${tokens(wish.amount)} of lock ${wish.lock}`;
      return { title, consequences: [`The tokens go to ${account.account}.`], calls: [bonding(chain, title, "withdrawStake", [BigInt(wish.lock)])] };
    }
    case "withdrawFees": {
      if (wish.amount === 0n) throw new Error("there are no fees to withdraw");
      const title = `withdraw ${ether(wish.amount)} of fees`;
      return { title, consequences: [`The ether goes to ${account.account}.`], calls: [bonding(chain, title, "withdrawFees", [account.account, wish.amount])] };
    }
    case "claim":
      return {
        title: "book what was earned up to now",
        consequences: ["Nothing is paid out: earnings are counted whether booked or not, and every other action books them too."],
        calls: [bonding(chain, "book what was earned up to now", "claimEarnings", [])],
      };
  }
}
