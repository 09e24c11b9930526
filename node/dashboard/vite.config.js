// Builds the page into node/src/dashboard/bundle, from where the binary takes it in. The same sources give the same bytes:
// no hashes in names, no time, no paths.

import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

/** The functions of each contract that the page calls. Errors come along, so that a refusal can be told in words. */
const CALLED = {
  BondingManager: ["bond", "unbond", "rebond", "rebondFromUnbonded", "withdrawStake", "withdrawFees", "claimEarnings"],
  FramemillToken: ["approve", "allowance"],
};

/** `virtual:contracts`: what the page needs of the committed interfaces, without their bytecode. */
function contracts() {
  const id = "virtual:contracts";
  const pick = (name) => {
    const { abi } = JSON.parse(readFileSync(new URL(`../../contracts/abi/${name}.json`, import.meta.url), "utf8"));
    const found = abi.filter((entry) => entry.type === "error" || (entry.type === "function" && CALLED[name].includes(entry.name)));
    const missing = CALLED[name].filter((called) => !found.some((entry) => entry.name === called));
    if (missing.length > 0) throw new Error(`${name} has no ${missing.join(", ")}: the contracts have changed, change the page too`);
    return found;
  };
  return {
    name: "contracts",
    resolveId: (asked) => (asked === id ? `\0${id}` : undefined),
    load: (asked) =>
      asked === `\0${id}`
        ? Object.keys(CALLED).map((name) => `export const ${name} = ${JSON.stringify(pick(name))};`).join("\n")
        : undefined,
  };
}

export default defineConfig({
  base: "./",
  plugins: [contracts()],
  build: {
    outDir: "../src/dashboard/bundle",
    emptyOutDir: true,
    sourcemap: false,
    modulePreload: false,
    license: { fileName: "licenses.md" },
    target: "es2022",
    chunkSizeWarningLimit: 600,
    rolldownOptions: {
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
});
