// What the node tells, as node/src/board.rs and node/src/dashboard say it. Amounts are decimal strings: they pass 53 bits.

/** Milliseconds since the segment came in; null where a stage was not reached. */
export interface Timeline {
  quote_ms: number | null;
  accepted_ms: number | null;
  uploaded_ms: number | null;
  first_byte_ms: number | null;
  downloaded_ms: number | null;
  verified_ms: number | null;
  published_ms: number | null;
}

export interface Verdict {
  name: string;
  width: number;
  height: number;
  /** 0 receipt and structure, 1 the first frame too, 2 every frame. */
  tier: number;
  /** Hundredths of a decibel, where pictures were compared. */
  psnr_centi_db: number | null;
  /** The first check that failed; null where none did. */
  fault: string | null;
}

export interface Attempt {
  orchestrator: string;
  outcome: "delivered" | "refused" | "failed" | "late" | "outpaced" | "rejected";
  reason: string;
  timeline: Timeline;
  verdicts: Verdict[];
}

export interface Segment {
  stream: string;
  sequence: number;
  /** Unix milliseconds. */
  arrived_ms: number;
  duration_ms: number;
  source_bytes: number;
  orchestrator: string;
  state: "open" | "published" | "lost";
  lost: string | null;
  renditions: number;
  tickets: number;
  value_wei: string;
  hedge: string | null;
  timeline: Timeline;
  attempts: Attempt[];
}

export interface Stream {
  name: string;
  started_ms: number;
  ended: boolean;
  /** Path of the master playlist below hls/; empty where nothing was published yet. */
  playlist: string;
  published: number;
  lost: number;
  rejected: number;
  failed: number;
  hedges: number;
  tickets: number;
  value_wei: string;
}

export interface Rates {
  first_frame_ppm: number;
  whole_ppm: number;
  claim_ppm: number;
}

export interface Orchestrator {
  address: string;
  addresses: string[];
  stake_wei: string;
  standing: "good" | "last resort" | "barred" | "unknown";
  suspended_ms: number;
  segments: number;
  rejected: number;
  failed: number;
  delivered: number;
  success_ppm: number;
  slowness_ppm: number;
  tail_ppm: number;
  worth_ppm: number;
  trust_ppm: number;
  price: { wei: string; pixels: string } | null;
  rates: Rates | null;
  value_wei: string;
  fees_wei: string | null;
  note: string;
}

export interface Transcoder {
  peer: string;
  name: string;
  pixels_per_second: number;
  connected: boolean;
  since_ms: number;
}

export interface Job {
  session: string;
  sequence: number;
  at_ms: number;
  pixels: number;
  earned_wei: string;
  /** Wire code where it ended without a receipt; empty where it was delivered. */
  code: string;
}

export interface BoardChange {
  epoch: string;
  revision: number;
  /** Everything, not only what has changed. */
  whole: boolean;
  title: string;
  not_ready: string[];
  totals: Record<string, string>;
  streams: Stream[];
  segments: Segment[];
  orchestrators: Orchestrator[];
  transcoders: Transcoder[];
  jobs: Job[];
}

export type PageName = "streams" | "orchestrators" | "work" | "earnings" | "stake" | "disputes";

export interface Chain {
  chain_id: number;
  account: string | null;
  bonding_manager: string;
  token: string;
}

export interface NodeInfo {
  title: string;
  version: string;
  pages: PageName[];
  chain: Chain | null;
  has_player: boolean;
}

export interface Figure {
  name: string;
  help: string;
  labels: Record<string, string>;
  value: number;
}

export interface StakeRow {
  address: string;
  stake: string;
  reward_cut_ppm: number;
  fee_share_ppm: number;
  active: boolean;
  jailed_until: number;
  next_terms: { round: number; reward_cut_ppm: number; fee_share_ppm: number } | null;
  service_uri: string;
  calls_missed: number;
  disputes_lost: number;
  rewards: string;
  fees_wei: string;
  yield_tokens: string;
  yield_wei: string;
  yearly_tokens_ppm: number | null;
}

export interface Stake {
  symbol: string;
  round: number;
  round_blocks_left: number;
  round_length: number;
  block_ms: number | null;
  locked: boolean;
  unbonding_rounds: number;
  total_active_stake: string;
  history_rounds: number;
  amount: string;
  orchestrators: StakeRow[];
  omitted: number;
}

export interface Account {
  account: string;
  held: string;
  balance_wei: string;
  stake: string;
  fees_wei: string;
  delegate: string | null;
  start_round: number;
  redelegation: { from: string; amount: string; until_round: number } | null;
  locks: { lock: number; amount: string; withdraw_round: number }[];
}

export interface Winner {
  sender: string;
  nonce: number;
  face_value_wei: string;
  state: "pending" | "submitted" | "paid" | "dead";
  transaction: string | null;
  reason: string | null;
  accepted_ms: number;
}

export interface Sums {
  tickets: number;
  value_wei: string;
}

export interface Earnings {
  winners: Winner[];
  omitted: number;
  sums: Record<"pending" | "submitted" | "paid" | "dead", Sums>;
  sessions: { session: string; sender: string; credit_wei: string; held_wei: string; tickets: number }[];
  sessions_omitted: number;
  chain: {
    account: string;
    fees_wei: string;
    stake: string;
    symbol: string;
    rounds: number;
    recent_fees_wei: string;
    recent_rewards: string;
  } | null;
}

export interface DisputeRow {
  id: number;
  challenger: string;
  accused: string;
  fault: string;
  status: string;
  verdict: string | null;
  bond: string;
  next: string;
  jury: { id: number; size: number; seats: number; votes: [number, number, number] } | null;
}

export interface Disputes {
  symbol: string;
  disputes: DisputeRow[];
  omitted: number;
}
