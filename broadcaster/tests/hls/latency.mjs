// Plays live streams side by side in headless Chromium with hls.js, and prints as JSON how far behind their source each player is.
//
//   node latency.mjs STAGE
//
// STAGE is JSON: { modules, chromium, players: [{ name, url, unit, lowLatency, begun }] }. A file's number times `unit` is its start in
// seconds since `begun`, in milliseconds of the Unix epoch.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import path from "node:path";

import { launch } from "../../../tests/browser/chromium.mjs";

const stage = JSON.parse(process.argv[2]);

/** Longest wait for a player to begin, time it has to settle, and time it is watched, in milliseconds. */
const PATIENCE = 40_000;
const SETTLE = 3_000;
const WATCH = 8_000;

const PAGE = `<!doctype html><link rel="icon" href="data:,"><video muted playsinline></video><script src="/hls.js"></script>`;
const script = await readFile(path.join(stage.modules, "hls.js/dist/hls.min.js"));
const server = createServer((request, response) => {
  const isScript = request.url === "/hls.js";
  response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" }).end(isScript ? script : PAGE);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

/** Runs in the page: plays, and measures once it has settled. */
async function watch({ player, patience, settle, duration }) {
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
  const video = document.querySelector("video");
  const hls = new Hls({ lowLatencyMode: player.lowLatency });
  const errors = [];
  let stalls = 0;
  let parts = false;
  hls.on(Hls.Events.ERROR, (_, data) => {
    // A busy machine may be late; what it costs shows in the latency.
    if (data.details === Hls.ErrorDetails.BUFFER_STALLED_ERROR) stalls += 1;
    else errors.push(`${data.fatal ? "fatal" : "minor"} ${data.details}: ${data.error}`);
  });
  hls.on(Hls.Events.FRAG_LOADED, (_, data) => (parts ||= Boolean(data.part)));
  hls.loadSource(player.url);
  hls.attachMedia(video);
  const playing = new Promise((resolve) => video.addEventListener("playing", resolve, { once: true }));
  hls.once(Hls.Events.MANIFEST_PARSED, () => video.play());
  await Promise.race([playing, pause(patience).then(() => errors.push("it does not begin"))]);
  await pause(settle);
  /** Seconds that the picture is behind the source; any whole segment tells where on the source's timeline the player is. */
  const behind = () => {
    const known = hls.latestLevelDetails.fragments.find((fragment) => fragment?.relurl);
    const position = parseInt(known.relurl, 10) * player.unit + video.currentTime - known.start;
    return (Date.now() - player.begun) / 1000 - position;
  };
  const [begun, from] = [performance.now(), video.currentTime];
  const measured = [];
  while (performance.now() < begun + duration && errors.length === 0) {
    measured.push(behind());
    await pause(200);
  }
  const [took, played] = [(performance.now() - begun) / 1000, video.currentTime - from];
  hls.destroy();
  return { name: player.name, behind: measured, played, took, stalls, parts, errors };
}

const browser = await launch(stage.modules, stage.chromium, [
  "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
]);

async function visit(player) {
  const page = await browser.newPage();
  const messages = [];
  page.on("console", (message) => message.type() === "error" && messages.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => messages.push(`page: ${error}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const watched = await page.evaluate(watch, { player, patience: PATIENCE, settle: SETTLE, duration: WATCH });
  watched.errors.push(...messages);
  await page.close();
  return watched;
}

try {
  console.log(JSON.stringify(await Promise.all(stage.players.map(visit))));
} finally {
  await browser.close();
  server.close();
}
