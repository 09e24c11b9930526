// Debian's Chromium, as every script of the tests drives it.

import { createRequire } from "node:module";
import path from "node:path";

/** Without a sandbox, which root has none of; silent on the network; free to play without a click. */
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

/** Starts the browser at `executablePath` by the playwright-core of the folder `modules`, with `more` flags than it always has. */
export function launch(modules, executablePath, more = []) {
  const { chromium } = createRequire(path.join(modules, "package.json"))("playwright-core");
  return chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...more] });
}
