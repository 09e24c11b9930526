const UNIT = 10n ** 18n;
const PRICED_PIXELS = 1_000_000_000n;

/** An amount of 18 places, cut to as many digits as a table has room for. */
export function units(amount: string | bigint, places = 6): string {
  const value = BigInt(amount);
  const whole = value / UNIT;
  const fraction = (value % UNIT).toString().padStart(18, "0").slice(0, places).replace(/0+$/, "");
  const text = whole.toLocaleString("en") + (fraction ? `.${fraction}` : "");
  return text === "0" && value > 0n ? `< ${(10 ** -places).toFixed(places)}` : text;
}

/** Wei in the unit that says it well. */
export function ether(amount: string | bigint): string {
  const value = BigInt(amount);
  if (value > 0n && value < 10n ** 12n) {
    const gwei = Number(value) / 1e9;
    return `${gwei < 0.001 ? gwei.toExponential(1) : gwei.toPrecision(3)} gwei`;
  }
  return `${units(value)} ETH`;
}

/** Reads "1.5"; null when it is no amount of 18 places. */
export function parseUnits(text: string): bigint | null {
  const found = /^\s*(\d{1,30})(?:\.(\d{1,18}))?\s*$/.exec(text);
  if (!found) return null;
  return BigInt(found[1]!) * UNIT + BigInt((found[2] ?? "").padEnd(18, "0"));
}

/** What a billion pixels cost: about ten seconds of 1080p at 50 frames. */
export function price(of: { wei: string; pixels: string }): string {
  return ether((BigInt(of.wei) * PRICED_PIXELS) / BigInt(of.pixels));
}

export function percent(ppm: number, places = 1): string {
  return `${(ppm / 10_000).toFixed(places).replace(/\.0+$/, "")} %`;
}

export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

export function span(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const DAY_MS = 86_400_000;

/** The time of day; with its date where that was not lately. */
export function clock(unixMs: number): string {
  const then = new Date(unixMs);
  const time = then.toLocaleTimeString("en-GB");
  return Math.abs(Date.now() - unixMs) < DAY_MS / 2 ? time : `${then.toLocaleDateString("en-CA")} ${time}`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function megapixels(pixels: number): string {
  return pixels < 1e9 ? `${(pixels / 1e6).toFixed(pixels < 1e7 ? 1 : 0)} Mpx` : `${(pixels / 1e9).toFixed(1)} Gpx`;
}

export function bytes(value: number): string {
  return value < 1e6 ? `${(value / 1e3).toFixed(0)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

export function short(hex: string): string {
  return hex.length > 16 ? `${hex.slice(0, 8)}…${hex.slice(-6)}` : hex;
}

export function median(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

export function plural(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}
