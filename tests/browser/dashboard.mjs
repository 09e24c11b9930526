// Drives the dashboards of a running market in headless Chromium, in light and dark, and prints what it saw as JSON.
//
//   node dashboard.mjs STAGE
//
// STAGE is JSON: { modules, chromium, out, broadcaster, orchestrator, transcoder, stream, rpc, account, stranger, delegate, round_length }.
// Screenshots go to `out`. The wallet is a test's own: it hands calls to the chain, whose accounts are unlocked.

import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";

import { launch } from "./chromium.mjs";

const stage = JSON.parse(process.argv[2]);
const axe = await readFile(path.join(stage.modules, "axe-core/axe.min.js"), "utf8");

/** Longest wait for anything on a page, in milliseconds. */
const PATIENCE = 60_000;
/** Tab stops after which a walk that has not come round is given up. */
const MOST_STOPS = 200;
/** Turns after which what should come by then will not, and the pause between two of them. */
const TRIES = 60;
const PAUSE = 1_000;
const HOSTILE = `<img src=x onerror="window.hurt=1">`;

/** Pages by role, with what has to be there before they are looked at. */
const PAGES = [
  { node: "broadcaster", page: "streams", wait: ".card .badge" },
  { node: "broadcaster", page: `streams/${stage.stream}`, wait: ".timeline .stage.publish" },
  { node: "broadcaster", page: "orchestrators", wait: "tbody tr:nth-child(2)" },
  { node: "broadcaster", page: "stake", wait: "section:nth-of-type(2) tbody tr:nth-child(3)" },
  { node: "broadcaster", page: "disputes", wait: "tbody tr" },
  { node: "orchestrator", page: "work", wait: "section:nth-of-type(2) tbody tr" },
  { node: "orchestrator", page: "earnings", wait: "section:nth-of-type(2) tbody tr" },
  { node: "transcoder", page: "work", wait: "tbody tr" },
];

await mkdir(stage.out, { recursive: true });
const browser = await launch(stage.modules, stage.chromium);

const url = (node, page = "") => `http://${stage[node]}/#/${page}`;
const shot = (page, name) => page.screenshot({ path: path.join(stage.out, `${name}.png`), fullPage: true });

/** Runs in the page before anything of it: collects what the policy refused. */
function watchPolicy() {
  window.refused = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.refused.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile ?? ""}:${event.lineNumber}`);
  });
}

/** A page that remembers what went wrong on it. */
async function open(context, faults) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.addInitScript(watchPolicy);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`page: ${error}`));
  page.on("dialog", (dialog) => (faults.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  return page;
}

async function refused(page) {
  return page.evaluate(() => window.refused);
}

/** What axe finds, each rule with the elements that break it. */
async function accessibility(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map((found) => `${found.id}: ${found.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
}

/** Walks the page by Tab until the focus leaves it; tells where it stopped, and where no outline showed. */
async function walk(page) {
  await page.evaluate(() => document.body.focus());
  const stops = [];
  const hidden = [];
  for (let stop = 0; stop < MOST_STOPS; stop++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element);
      const name = element.getAttribute("aria-label") ?? element.textContent ?? "";
      return { name: `${element.localName} ${name.trim().slice(0, 40)}`, seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 };
    });
    if (at === null) return { stops, hidden, left: true };
    stops.push(at.name);
    // Native players draw the focus inside.
    if (!at.seen && !at.name.startsWith("video")) hidden.push(at.name);
  }
  return { stops, hidden, left: false };
}

async function look(theme, entry) {
  const faults = [];
  const context = await browser.newContext({ colorScheme: theme, viewport: { width: 1280, height: 900 } });
  const page = await open(context, faults);
  await page.goto(url(entry.node, entry.page));
  await page.waitForSelector(entry.wait);
  await page.waitForSelector("text=connected");
  const name = `${entry.node}-${entry.page.split("/").length > 1 ? "stream" : entry.page}-${theme}`;
  if (entry.page.includes("/")) {
    await page.waitForFunction(() => document.querySelector("video")?.readyState >= 2, undefined, { timeout: PATIENCE });
  }
  await shot(page, name);
  const found = {
    name,
    heading: await page.locator("h1").innerText(),
    title: await page.title(),
    text: await page.locator("main").innerText(),
    background: await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor),
    accessibility: await accessibility(page),
    walk: theme === "light" ? await walk(page) : null,
    refused: await refused(page),
    faults,
  };
  await context.close();
  return found;
}

/** The stream plays, by itself, at the chosen rendition. */
async function player() {
  const faults = [];
  const context = await browser.newContext();
  const page = await open(context, faults);
  await page.goto(url("broadcaster", `streams/${stage.stream}`));
  await page.waitForFunction(() => document.querySelectorAll(".player option").length > 1);
  const renditions = await page.locator(".player option").allInnerTexts();
  await page.selectOption(".player select", "0");
  await page.waitForFunction(() => {
    const video = document.querySelector("video");
    // What the change of rendition interrupts is asked for again.
    if (video.paused && !video.ended) video.play().catch(() => {});
    return video.currentTime > 0.5;
  });
  const video = await page.evaluate(() => {
    const { videoWidth: width, currentTime: position } = document.querySelector("video");
    return { width, position };
  });
  await page.locator("summary").click();
  const rows = await page.locator("details tbody tr").count();
  const words = await page.locator("#timeline-words").innerText();
  const bars = await page.locator(".timeline .stage.verify").count();
  const result = { renditions, ...video, rows, bars, words, refused: await refused(page), faults };
  await context.close();
  return result;
}

/** The choice of a theme holds, over a reload too. */
async function theme() {
  const context = await browser.newContext({ colorScheme: "light" });
  const page = await open(context, []);
  await page.goto(url("broadcaster", "streams"));
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.waitForSelector(".theme select");
  const light = await ground();
  const isDark = () => page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  await page.selectOption(".theme select", "dark");
  await isDark();
  const dark = await ground();
  await page.reload();
  await isDark();
  const kept = await ground();
  await context.close();
  return { light, dark, kept };
}

/** Moving on by keyboard lands at the new page's beginning. */
async function navigation() {
  const context = await browser.newContext();
  const page = await open(context, []);
  await page.goto(url("broadcaster", "streams"));
  await page.locator("nav a", { hasText: "Orchestrators" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Orchestrators");
  await page.waitForFunction(() => document.activeElement?.localName === "h1");
  const current = await page.locator("nav a[aria-current=page]").innerText();
  const title = await page.title();
  await context.close();
  return { current, title };
}

/** Names that others choose come as text, whatever they are; the page comes back by itself when the node does. */
async function hostile() {
  const faults = [];
  const context = await browser.newContext();
  const page = await open(context, faults);
  const zero = { quote_ms: 1, accepted_ms: 2, uploaded_ms: 3, first_byte_ms: 4, downloaded_ms: 5, verified_ms: 6, published_ms: null };
  const attempt = {
    orchestrator: HOSTILE, outcome: "rejected", reason: HOSTILE, timeline: zero,
    verdicts: [{ name: HOSTILE, width: 1, height: 1, tier: 2, psnr_centi_db: null, fault: HOSTILE }],
  };
  const change = {
    epoch: HOSTILE, revision: 1, whole: true, title: HOSTILE, not_ready: [HOSTILE], totals: { [HOSTILE]: HOSTILE },
    streams: [{ name: HOSTILE, started_ms: 1, ended: false, playlist: "", published: 0, lost: 1, rejected: 1, failed: 0, hedges: 0, tickets: 0, value_wei: "0" }],
    segments: [{
      stream: HOSTILE, sequence: 1, arrived_ms: 1, duration_ms: 1000, source_bytes: 1, orchestrator: HOSTILE, state: "lost", lost: HOSTILE,
      renditions: 0, tickets: 0, value_wei: "0", hedge: null, timeline: zero, attempts: [attempt],
    }],
    orchestrators: [{
      address: HOSTILE, addresses: [HOSTILE], stake_wei: "0", standing: "barred", suspended_ms: 1, segments: 0, rejected: 1, failed: 0, delivered: 0,
      success_ppm: 0, slowness_ppm: 0, tail_ppm: 0, worth_ppm: 0, trust_ppm: 0, price: null, rates: null, value_wei: "0", fees_wei: null, note: HOSTILE,
    }],
    transcoders: [], jobs: [],
  };
  let asked = 0;
  const body = `event: board\ndata: ${JSON.stringify(change)}\n\n`;
  await page.route("**/events*", (route) => (asked++, route.fulfill({ contentType: "text/event-stream", body })));
  const texts = {};
  for (const where of ["streams", `streams/${encodeURIComponent(HOSTILE)}`, "orchestrators"]) {
    await page.goto(url("broadcaster", where));
    await page.waitForFunction((text) => document.querySelector("main")?.textContent.includes(text), HOSTILE);
    texts[where.split("/").length > 1 ? "stream" : where] = await page.evaluate((text) => document.body.textContent.split(text).length - 1, HOSTILE);
  }
  const images = await page.locator("img").count();
  const hurt = await page.evaluate(() => window.hurt === 1);
  // The made-up stream ends at once: the page asks again, slower and slower, and goes on with the real one. The newest
  // route counts.
  await page.route("**/events*", (route) => (asked++, route.abort()));
  await page.waitForSelector("text=no connection to the node");
  while (asked < 2) await page.waitForTimeout(50);
  await page.unroute("**/events*");
  await page.waitForSelector("text=connected");
  await page.waitForFunction((text) => !document.body.textContent.includes(text), HOSTILE);
  const policy = await refused(page);
  await context.close();
  return { texts, images, hurt, asked, refused: policy, faults: faults.filter((fault) => !fault.includes("ERR_FAILED")) };
}

async function rpc(method, params = []) {
  const answer = await fetch(stage.rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  return answer.json();
}

/** Runs in the page: a wallet that announces itself and hands everything on, errors with their data. */
function putWallet() {
  const provider = {
    async request({ method, params }) {
      const { result, error } = await window.testWallet(method, params ?? []);
      if (error) throw Object.assign(new Error(error.message), { code: error.code, data: error.data });
      return result;
    },
  };
  const announce = () =>
    window.dispatchEvent(
      new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info: { uuid: "test", name: "Test <b>wallet</b>" }, provider }) }),
    );
  window.addEventListener("eip6963:requestProvider", announce);
}

/** Runs in the page: counts what its reader clicks, by mouse or by key. What is clicked in a wallet's own window is not the page's. */
function countClicks() {
  window.clicks = 0;
  document.addEventListener("click", (event) => event.isTrusted && window.clicks++, true);
}

const BY_MOUSE = (button) => button.click();
const BY_KEY = async (button) => {
  await button.focus();
  await button.page().keyboard.press("Enter");
};

/** From the node's bare address to stake that is bonded, by somebody whose wallet was never here. */
async function stranger(press) {
  const faults = [];
  const sent = [];
  let plan;
  for (let tries = 0; tries < TRIES; tries++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await open(context, faults);
    await page.exposeFunction("testWallet", async (method, params) => {
      if (method === "eth_requestAccounts") return { result: [stage.stranger] };
      if (method === "eth_sendTransaction") sent.push(params[0]);
      return rpc(method, params);
    });
    await page.addInitScript(putWallet);
    await page.addInitScript(countClicks);
    await page.goto(url("broadcaster").replace("#/", ""));
    await press(page.getByRole("link", { name: "Stake and delegate" }));
    await press(page.getByRole("button", { name: /^Bond with Test/ }));
    const dialog = page.getByRole("dialog", { name: /^bond / });
    await dialog.waitFor();
    // What the first try had allowed stays allowed.
    plan ??= await dialog.innerText();
    const broken = await accessibility(page);
    await press(page.getByRole("button", { name: "Sign in the wallet" }));
    const told = page.locator("p.notice[role=status]");
    await page.waitForFunction(() => /done: |the contract refuses/.test(document.querySelector("p.notice[role=status]")?.textContent ?? ""));
    const found = { clicks: await page.evaluate(() => window.clicks), told: await told.innerText(), plan, accessibility: broken, sent, faults };
    await context.close();
    // As below: a round that no node has initialized yet refuses everything.
    if (found.told.startsWith("done: ")) return found;
    await new Promise((done) => setTimeout(done, PAUSE));
  }
  throw new Error("no round took a bond");
}

/** Bonds, unbonds, withdraws and claims by a wallet in the page, on the real chain. */
async function wallet() {
  const faults = [];
  const sent = [];
  let chain = null;
  let refuses = false;
  const context = await browser.newContext({ colorScheme: "light", viewport: { width: 1280, height: 900 } });
  const page = await open(context, faults);
  await page.exposeFunction("testWallet", async (method, params) => {
    if (method === "eth_requestAccounts") return { result: [stage.account] };
    if (method === "eth_chainId" && chain) return { result: chain };
    if (method === "wallet_switchEthereumChain") return { error: { code: 4902, message: "unknown chain" } };
    if (method === "eth_sendTransaction") {
      if (refuses) return { error: { code: 4001, message: "User rejected the request." } };
      sent.push(params[0]);
    }
    return rpc(method, params);
  });
  await page.addInitScript(putWallet);
  await page.goto(url("broadcaster", "stake"));
  const told = page.locator("p.notice[role=status]");
  const says = (text) => page.waitForFunction((wanted) => document.querySelector("p.notice[role=status]")?.textContent.includes(wanted), text);
  const connect = page.getByRole("button", { name: /^Connect/ });
  const stories = {};

  chain = "0x1";
  await connect.click();
  await says("switch it there");
  stories.otherChain = await told.innerText();
  chain = null;
  await connect.click();
  await says("the wallet is connected");

  await page.getByRole("button", { name: stage.delegate }).click();
  const bond = page.getByLabel(/to bond$/);
  await bond.fill("1e3");
  stories.unreadable = await page.getByRole("button", { name: "Bond", exact: true }).isDisabled();
  await bond.fill("999999999999");
  await page.getByRole("button", { name: "Bond", exact: true }).click();
  await says("were to be bonded");
  stories.tooMuch = await told.innerText();

  await bond.fill("25.5");
  await page.getByRole("button", { name: "Bond", exact: true }).click();
  await page.waitForSelector("dialog[open]");
  stories.plan = await page.locator("dialog").innerText();
  stories.dialog = await accessibility(page);
  await shot(page, "stake-confirm-light");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  stories.sentBeforeAgreed = sent.length;

  refuses = true;
  await page.getByRole("button", { name: "Bond", exact: true }).click();
  await page.getByRole("button", { name: "Sign in the wallet" }).click();
  await says("refused");
  stories.refused = await told.innerText();
  refuses = false;

  /** A round that has begun and that no node has initialized yet refuses everything: then it is tried again. */
  const carryOut = async (button, done) => {
    for (let tries = 0; tries < TRIES; tries++) {
      await button.click();
      await page.getByRole("button", { name: "Sign in the wallet" }).click();
      const ended = (wanted) => {
        const text = document.querySelector("p.notice[role=status]")?.textContent ?? "";
        return text.includes(wanted) || text.includes("the contract refuses");
      };
      await page.waitForFunction(ended, `done: ${done}`);
      if ((await told.innerText()).includes("done: ")) return;
      await page.waitForTimeout(PAUSE);
    }
    throw new Error(`${done}: ${await told.innerText()}`);
  };
  await carryOut(page.getByRole("button", { name: "Bond", exact: true }), "bond 25.5");
  await page.waitForFunction(() => document.querySelector("main").innerText.includes("Bonded to 0x"));
  await page.getByLabel(/to unbond$/).fill("5.5");
  await carryOut(page.getByRole("button", { name: "Unbond", exact: true }), "unbond 5.5");
  const withdraw = page.getByRole("button", { name: /^Withdraw lock/ });
  await withdraw.waitFor();
  stories.tooEarly = await withdraw.isDisabled();
  await shot(page, "stake-wallet-light");

  // Rounds pass; the orchestrators' nodes begin them.
  const enabled = async () => !(await withdraw.isDisabled());
  for (let round = 0; round < TRIES && !(await enabled()); round++) {
    await rpc("anvil_mine", [`0x${stage.round_length.toString(16)}`]);
    await page.waitForTimeout(PAUSE);
  }
  await carryOut(page.getByRole("button", { name: "Claim earnings" }), "book what was earned");
  await carryOut(withdraw, "withdraw 5.5");
  await page.waitForFunction(() => document.querySelector("main").innerText.includes("Nothing is on its way out."));
  stories.account = await (await page.request.get(`http://${stage.broadcaster}/api/account/${stage.account}`)).json();

  const result = { ...stories, sent, refusedByPolicy: await refused(page), faults };
  await context.close();
  return result;
}

try {
  const looks = [];
  for (const scheme of ["light", "dark"]) {
    for (const entry of PAGES) {
      try {
        looks.push(await look(scheme, entry));
      } catch (error) {
        throw new Error(`${entry.node} ${entry.page} ${scheme}: ${error}`);
      }
    }
  }
  const report = { looks, player: await player(), theme: await theme(), navigation: await navigation(), hostile: await hostile(), strangers: [await stranger(BY_MOUSE), await stranger(BY_KEY)], wallet: await wallet() };
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
}
