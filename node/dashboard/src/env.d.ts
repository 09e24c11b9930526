declare module "*.css";

declare module "virtual:contracts" {
  import type { Abi } from "viem";
  export const BondingManager: Abi;
  export const FramemillToken: Abi;
}

declare module "hls.js/light" {
  export { default } from "hls.js";
}
