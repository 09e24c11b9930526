// The wallet that the browser's owner has put into the page: EIP-1193, found by EIP-6963 or as window.ethereum. Keys stay
// with it; this page hands it encoded calls and reads what came of them.

import type { Hex } from "viem";
import { decodeErrorResult } from "viem/utils";
import { BondingManager, FramemillToken } from "virtual:contracts";

export interface Provider {
  request(call: { method: string; params?: unknown[] }): Promise<unknown>;
  on?(event: string, listener: (value: never) => void): void;
}

export interface Wallet {
  name: string;
  provider: Provider;
}

export interface Call {
  /** What it does, for people. */
  says: string;
  to: Hex;
  data: Hex;
}

const RECEIPT_PAUSE_MS = 1_000;
const RECEIPT_LIMIT_MS = 10 * 60_000;
const USER_REFUSED = 4001;
const MAX_WALLETS = 16;
const MAX_NAME = 60;

/** Tells of every wallet that announces itself; returns how to stop. */
export function discover(found: (wallets: Wallet[]) => void): () => void {
  const known = new Map<string, Wallet>();
  const announce = (event: Event) => {
    const { info, provider } = (event as CustomEvent<{ info: { uuid: string; name: string }; provider: Provider }>).detail;
    if (known.size >= MAX_WALLETS) return;
    known.set(String(info.uuid), { name: String(info.name).slice(0, MAX_NAME), provider });
    found([...known.values()]);
  };
  window.addEventListener("eip6963:announceProvider", announce);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  const plain = (window as { ethereum?: Provider }).ethereum;
  if (known.size === 0 && plain) found([{ name: "the browser's wallet", provider: plain }]);
  return () => window.removeEventListener("eip6963:announceProvider", announce);
}

/** The account that the wallet's owner lets this page see, on the node's chain. */
export async function open(wallet: Wallet, chainId: number): Promise<Hex> {
  const accounts = (await wallet.provider.request({ method: "eth_requestAccounts" })) as Hex[];
  const account = accounts[0];
  if (!account) throw new Error("the wallet shows no account");
  await onChain(wallet, chainId);
  return account;
}

/** Refuses to go on while the wallet is on another chain than the contracts. */
async function onChain(wallet: Wallet, chainId: number) {
  const current = async () => Number((await wallet.provider.request({ method: "eth_chainId" })) as string);
  if ((await current()) === chainId) return;
  const wanted = [{ chainId: `0x${chainId.toString(16)}` }];
  await wallet.provider.request({ method: "wallet_switchEthereumChain", params: wanted }).catch(() => undefined);
  const now = await current();
  if (now !== chainId) throw new Error(`the wallet is on chain ${now} and the contracts are on chain ${chainId}; switch it there`);
}

export async function read(wallet: Wallet, call: Omit<Call, "says">): Promise<Hex> {
  return (await wallet.provider.request({ method: "eth_call", params: [{ to: call.to, data: call.data }, "latest"] })) as Hex;
}

/** Has the wallet sign one call and waits until it is mined. Asks the chain first, so that a refusal comes in words. */
export async function send(wallet: Wallet, account: Hex, chainId: number, call: Call): Promise<Hex> {
  await onChain(wallet, chainId);
  const transaction = { from: account, to: call.to, data: call.data };
  await wallet.provider.request({ method: "eth_estimateGas", params: [transaction] });
  const hash = (await wallet.provider.request({ method: "eth_sendTransaction", params: [transaction] })) as Hex;
  const end = Date.now() + RECEIPT_LIMIT_MS;
  while (Date.now() < end) {
    const receipt = (await wallet.provider.request({ method: "eth_getTransactionReceipt", params: [hash] })) as { status: string } | null;
    if (receipt) {
      if (Number(receipt.status) !== 1) throw new Error(`transaction ${hash} was mined and refused`);
      return hash;
    }
    await new Promise((done) => setTimeout(done, RECEIPT_PAUSE_MS));
  }
  throw new Error(`transaction ${hash} is not mined after ten minutes; the wallet can tell where it is`);
}

/** What an error of a wallet or a contract means. */
export function explain(error: unknown): string {
  const found = error as { code?: number; message?: string; data?: unknown };
  if (found.code === USER_REFUSED) return "the wallet's owner refused";
  const data = revertData(error);
  if (data) {
    try {
      const { errorName, args } = decodeErrorResult({ abi: [...BondingManager, ...FramemillToken], data });
      return `the contract refuses: ${errorName}(${(args ?? []).map(String).join(", ")})`;
    } catch {
      return `the contract refuses with ${data.slice(0, 10)}`;
    }
  }
  return String(found.message ?? error).slice(0, 300);
}

/** Wallets put a revert's bytes at different depths. */
function revertData(error: unknown, depth = 0): Hex | null {
  if (typeof error === "string") return /^0x[0-9a-f]{8,}$/i.test(error) ? (error as Hex) : null;
  if (typeof error !== "object" || error === null || depth > 4) return null;
  const { data, originalError, cause, error: inner } = error as Record<string, unknown>;
  for (const part of [data, originalError, cause, inner]) {
    const found = revertData(part, depth + 1);
    if (found) return found;
  }
  return null;
}
