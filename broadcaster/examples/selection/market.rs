//! A market in virtual time around the broadcaster's own decisions: panel, draw, plan, copies, suspensions, attention.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use framemill_broadcaster::simulation::hedge::{HedgeBudget, HedgePolicy, Strain};
use framemill_broadcaster::simulation::panel;
use framemill_broadcaster::simulation::plan::{GiveUp, Outlook, PlanLimits, SegmentPlan, Setback, Step};
use framemill_broadcaster::simulation::scoreboard::{
    Delivery, Scoreboard, Severity, Standing, SuspensionPolicy,
};
use framemill_broadcaster::simulation::select::{Merit, SelectionPolicy};
use framemill_broadcaster::simulation::spare::{Fitness, Spare};
use framemill_verification::policy::attention::{AttentionBook, AttentionConfig, Sight};
use framemill_verification::{Policy, Tier};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::figures::Figures;
use crate::seller::{Honesty, Seller, Service, Tampering};

/// Of the video in a segment.
pub(crate) const SEGMENT: Duration = Duration::from_secs(2);

/// From a segment's arrival to its loss: the broadcaster's default.
const DEADLINE: Duration = Duration::from_secs(8);

/// Offer, answer and upload, before an orchestrator's own time counts; a copy that was stopped later is paid.
const UPLOAD: Duration = Duration::from_millis(150);

/// An answer of "busy".
const ANSWER: Duration = Duration::from_millis(40);

/// A judgement, which is no orchestrator's time.
const JUDGED: Duration = Duration::from_millis(60);

/// The broadcaster's defaults.
const QUOTES: usize = 16;
const WARM: usize = 4;
const MAY_OWE: usize = 4;
const UNPROVEN: usize = 2;

/// A session that nobody used for this long is over.
const QUOTE_LIFE: Duration = Duration::from_secs(300);

/// Places of the panel that fell free are filled this often.
const TOP_UP: Duration = Duration::from_secs(60);

/// Pixels of a segment's renditions; all streams are alike.
const PIXELS: u64 = 100_000_000;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) sellers: usize,
    pub(crate) streams: usize,
    /// Segments of each stream.
    pub(crate) segments: usize,
    /// Every frame of every result, or as each record asks for.
    pub(crate) full: bool,
    pub(crate) hedging: HedgePolicy,
    pub(crate) seed: u64,
}

struct Session {
    seller: usize,
    key: u32,
    price: f64,
    chance: f64,
    used: Instant,
    out: usize,
}

struct Stream {
    sessions: Vec<Session>,
    asked: Instant,
    spare: Spare<u32>,
    hedges: HedgeBudget,
}

/// An attempt under way.
struct Attempt {
    key: u32,
    seller: usize,
    price: f64,
    began: Instant,
    late_at: Instant,
    ends: Instant,
    end: End,
    noted: bool,
}

/// How an attempt ends if it is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Refused,
    Broken,
    Late,
    Delivered(Option<Tampering>),
}

struct Segment {
    arrived: Instant,
    plan: SegmentPlan<u32>,
    running: Vec<Attempt>,
    tried: usize,
    done: bool,
}

/// The market as it runs.
pub(crate) struct Market {
    scenario: Scenario,
    start: Instant,
    sellers: Vec<Seller>,
    next_key: u32,
    board: Scoreboard<u32>,
    book: AttentionBook<u32>,
    strain: Strain<u32>,
    streams: Vec<Stream>,
    segments: HashMap<(usize, usize), Segment>,
    events: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    rng: StdRng,
    figures: Figures,
}

impl Market {
    pub(crate) fn run(scenario: Scenario) -> Figures {
        let mut market = Self::new(scenario);
        while let Some(Reverse((now, stream, number))) = market.events.pop() {
            market.wake(now, (stream, number));
        }
        let end = market.start + SEGMENT * scenario.segments as u32;
        let merit =
            |(index, seller): (usize, &Seller)| market.merit(end, index, seller.key, seller.price, 1.0);
        let merits: Vec<Merit> = market.sellers.iter().enumerate().map(merit).collect();
        market.figures.earned(&market.sellers, &SelectionPolicy::default().weights(&merits));
        market.figures
    }

    fn new(scenario: Scenario) -> Self {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(scenario.seed));
        let kinds = Honesty::ALL.iter().flat_map(|(honesty, of_thousand)| {
            std::iter::repeat_n(*honesty, of_thousand * scenario.sellers / 1_000)
        });
        let sellers: Vec<Seller> =
            (0..).zip(kinds).map(|(key, honesty)| Seller::new(key, honesty, &mut rng)).collect();
        let stream = |_| Stream {
            sessions: Vec::new(),
            asked: start,
            spare: Spare::new(start),
            hedges: HedgeBudget::new(scenario.hedging),
        };
        let step = SEGMENT.div_f64(scenario.streams as f64);
        let first = |stream: usize| Reverse((start + step * stream as u32, stream, 0));
        Self {
            next_key: sellers.len() as u32,
            board: Scoreboard::new(SuspensionPolicy::default()),
            book: AttentionBook::new(AttentionConfig::default(), []),
            strain: Strain::default(),
            streams: (0..scenario.streams).map(stream).collect(),
            segments: HashMap::new(),
            events: (0..scenario.streams).map(first).collect(),
            figures: Figures::new(&sellers),
            sellers,
            scenario,
            start,
            rng,
        }
    }

    fn seconds(&self, now: Instant) -> f64 {
        (now - self.start).as_secs_f64()
    }

    /// A segment arrives, an attempt on it may have ended, or a copy is due.
    fn wake(&mut self, now: Instant, id: (usize, usize)) {
        if !self.segments.contains_key(&id) {
            self.arrive(now, id);
        }
        let mut segment = self.segments.remove(&id).expect("it has arrived");
        self.end_attempts(now, id.0, &mut segment);
        if !segment.done {
            self.decide(now, id, &mut segment);
        }
        if !segment.done || !segment.running.is_empty() {
            self.segments.insert(id, segment);
        }
    }

    fn arrive(&mut self, now: Instant, (stream, number): (usize, usize)) {
        self.streams[stream].hedges.earn();
        let plan = SegmentPlan::new(now + DEADLINE, PlanLimits::default());
        let segment = Segment { arrived: now, plan, running: Vec::new(), tried: 0, done: false };
        self.segments.insert((stream, number), segment);
        if number + 1 < self.scenario.segments {
            self.events.push(Reverse((now + SEGMENT, stream, number + 1)));
        }
    }

    /// The broadcaster's own loop for one segment.
    fn decide(&mut self, now: Instant, (stream, number): (usize, usize), segment: &mut Segment) {
        while !segment.done {
            let (open, more) = self.look(now, stream, segment);
            let keys = open.iter().map(|&place| self.streams[stream].sessions[place].key);
            let candidates: Vec<_> = keys.map(|key| (key, self.board.standing(&key, now))).collect();
            let may_hedge = self.streams[stream].hedges.has_one() && !self.strain.is_ours();
            let again = match segment.plan.next(now, &candidates, Outlook { more, may_hedge }) {
                Step::Attempt { among, budget } => {
                    let among: Vec<usize> = among.into_iter().map(|index| open[index]).collect();
                    self.attempt(now, stream, segment, &among, budget);
                    continue;
                }
                Step::Hedge { among, budget } => {
                    let among: Vec<usize> = among.into_iter().map(|index| open[index]).collect();
                    self.attempt(now, stream, segment, &among, budget);
                    self.streams[stream].hedges.spend();
                    self.figures.hedges += 1;
                    continue;
                }
                Step::Await(time) => {
                    let end = segment.running.iter().map(|attempt| attempt.ends).min();
                    let end = end.expect("a plan awaits only what runs");
                    time.map_or(end, |time| end.min(now + time))
                }
                Step::Wait(time) => now + time,
                Step::GiveUp(GiveUp::NobodyLeft) if more && segment.plan.deadline() > now => now + ANSWER,
                Step::GiveUp(_) => {
                    segment.done = true;
                    self.figures.lost += 1;
                    return;
                }
            };
            self.events.push(Reverse((again.max(now + Duration::from_micros(1)), stream, number)));
            return;
        }
    }

    /// Places of the sessions that can take the segment, after a round of quotes where it takes one.
    fn look(&mut self, now: Instant, stream: usize, segment: &Segment) -> (Vec<usize>, bool) {
        let Stream { sessions, asked, .. } = &mut self.streams[stream];
        sessions.retain(|session| session.out > 0 || now - session.used < QUOTE_LIFE);
        let untried = sessions.iter().filter(|session| !segment.plan.was_tried(&session.key)).count();
        let short = (untried == 0 || sessions.len() < WARM) && segment.running.is_empty();
        if short || (sessions.len() < QUOTES && now - *asked >= TOP_UP) {
            self.refill(now, stream);
        }
        let has_room = |session: &Session| {
            let unproven = self.board.performance(&session.key, now).is_unknown();
            session.out < if unproven { UNPROVEN } else { MAY_OWE }
        };
        let sessions = &self.streams[stream].sessions;
        let open: Vec<usize> = (0..sessions.len()).filter(|&place| has_room(&sessions[place])).collect();
        let full = open.len() < sessions.len();
        (open, full)
    }

    fn refill(&mut self, now: Instant, stream: usize) {
        let held: Vec<u32> = self.streams[stream].sessions.iter().map(|session| session.key).collect();
        let open = |seller: &Seller| {
            !held.contains(&seller.key) && self.board.standing(&seller.key, now) == Standing::Good
        };
        let good: Vec<usize> = (0..self.sellers.len()).filter(|&index| open(&self.sellers[index])).collect();
        let prospect = |&index: &usize| self.merit(now, index, self.sellers[index].key, 0.0, 1.0);
        let merits: Vec<Merit> = good.iter().map(prospect).collect();
        let fit = held.iter().filter(|key| self.board.standing(key, now) == Standing::Good).count();
        let places = QUOTES.saturating_sub(fit).max(WARM);
        self.streams[stream].asked = now;
        for asked in panel::choose(&SelectionPolicy::default(), &merits, (places, QUOTES), &mut self.rng) {
            self.figures.quotes += 1;
            let seller = good[asked.index];
            let price = self.sellers[seller].quote();
            let key = self.sellers[seller].key;
            let session = Session { seller, key, price, chance: asked.chance, used: now, out: 0 };
            self.streams[stream].sessions.push(session);
        }
    }

    fn merit(&self, now: Instant, seller: usize, key: u32, price: f64, chance: f64) -> Merit {
        let performance = self.board.performance(&key, now);
        Merit { stake: self.sellers[seller].stake, price, share: 1.0, demand: 0.0, chance, performance }
    }

    fn attempt(
        &mut self,
        now: Instant,
        stream: usize,
        segment: &mut Segment,
        among: &[usize],
        budget: Duration,
    ) {
        let first = segment.tried == 0;
        segment.tried += 1;
        let place = self.choose(now, stream, among, first);
        let session = &mut self.streams[stream].sessions[place];
        let (seller, key, price) = (session.seller, session.key, session.price);
        session.used = now;
        session.out += 1;
        if first {
            self.keep_spare(now, stream, key);
        }
        let (now_s, run_s) = (self.seconds(now), self.scenario.segments as f64 * SEGMENT.as_secs_f64());
        let service = self.sellers[seller].serve(stream, now_s, run_s, &mut self.rng);
        let (after, end) = match service {
            Service::Refuses => (ANSWER, End::Refused),
            Service::Breaks(seconds) => (Duration::from_secs_f64(seconds), End::Broken),
            Service::Delivers { slowness, tampering } => {
                (UPLOAD + SEGMENT.mul_f64(slowness), End::Delivered(tampering))
            }
        };
        let (after, end) = if after > budget { (budget, End::Late) } else { (after, end) };
        let usual = self.scenario.hedging.after(&self.board.performance(&key, now), SEGMENT);
        segment.plan.started(&key, now + usual);
        segment.running.push(Attempt {
            key,
            seller,
            price,
            began: now,
            late_at: now + usual,
            ends: now + after,
            end,
            noted: false,
        });
    }

    fn choose(&mut self, now: Instant, stream: usize, among: &[usize], first: bool) -> usize {
        let held = self.streams[stream].spare.held().copied();
        let sessions = &self.streams[stream].sessions;
        let spare = among.iter().find(|&&place| Some(sessions[place].key) == held);
        if let (false, Some(&place)) = (first, spare) {
            return place;
        }
        let policy = SelectionPolicy::default();
        let policy = if first { policy } else { policy.for_spare() };
        self.draw(now, stream, &policy, among)
    }

    fn draw(&mut self, now: Instant, stream: usize, policy: &SelectionPolicy, among: &[usize]) -> usize {
        let sessions = &self.streams[stream].sessions;
        let merit = |&place: &usize| {
            let Session { seller, key, price, chance, .. } = sessions[place];
            self.merit(now, seller, key, price, chance)
        };
        let merits: Vec<Merit> = among.iter().map(merit).collect();
        among[policy.choose(&merits, &mut self.rng).expect("somebody is among them")]
    }

    fn keep_spare(&mut self, now: Instant, stream: usize, first: u32) {
        let fitness = |session: &Session| {
            let good = self.board.standing(&session.key, now) == Standing::Good;
            (session.key, Fitness { good, tail: self.board.performance(&session.key, now).tail })
        };
        let candidates: Vec<_> = self.streams[stream].sessions.iter().map(fitness).collect();
        let mut spare = self.streams[stream].spare.clone();
        spare.settle(now, Some(&first), &candidates, |among| {
            self.draw(now, stream, &SelectionPolicy::default().for_spare(), among)
        });
        if let Some(due) = spare.due(now) {
            self.renew(now, stream, due);
        }
        self.streams[stream].spare = spare;
    }

    fn renew(&mut self, now: Instant, stream: usize, key: u32) {
        self.figures.renewals += 1;
        for session in self.streams[stream].sessions.iter_mut().filter(|session| session.key == key) {
            session.price = self.sellers[session.seller].quote();
            session.used = now;
        }
    }

    /// Takes in attempts whose time has come, and notes who is late.
    fn end_attempts(&mut self, now: Instant, stream: usize, segment: &mut Segment) {
        for attempt in &mut segment.running {
            if now >= attempt.late_at && attempt.ends > now && !attempt.noted {
                attempt.noted = true;
                self.strain.note(attempt.key, true);
            }
        }
        while let Some(place) = segment.running.iter().position(|attempt| attempt.ends <= now) {
            let attempt = segment.running.remove(place);
            self.release(stream, attempt.key);
            if !attempt.noted && !matches!(attempt.end, End::Refused) {
                self.strain.note(attempt.key, attempt.ends > attempt.late_at);
            }
            if self.conclude(now, stream, segment, &attempt) {
                self.see_off(now, stream, segment, attempt.began);
                return;
            }
        }
    }

    fn release(&mut self, stream: usize, key: u32) {
        for session in self.streams[stream].sessions.iter_mut().filter(|session| session.key == key) {
            session.out -= 1;
        }
    }

    /// What an attempt that ended means; true when the segment is published.
    fn conclude(&mut self, now: Instant, stream: usize, segment: &mut Segment, attempt: &Attempt) -> bool {
        let now_s = self.seconds(now);
        let setback = match attempt.end {
            End::Refused => Setback::Busy(Duration::from_millis(200)),
            End::Broken | End::Late => {
                self.figures.failures += 1;
                self.board.failed(&attempt.key, now, Severity::Unavailable);
                segment.plan.began();
                Setback::Failed
            }
            End::Delivered(tampering) => {
                segment.plan.began();
                self.figures.served(&self.sellers[attempt.seller], now_s);
                self.figures.paid += attempt.price;
                let tier = self.look_at(attempt.key, now_s);
                if tampering.is_none_or(|tampering| !is_seen(tampering, tier)) {
                    let took = attempt.ends - attempt.began;
                    let delivery = Delivery { took, duration: SEGMENT, pixels: PIXELS };
                    self.board.delivered(&attempt.key, now, &delivery);
                    self.book.see(&attempt.key, now_s as u64, Sight::Clean(tier));
                    let delay = now + JUDGED - segment.arrived;
                    self.figures.published(&self.sellers[attempt.seller], tampering.is_some(), delay);
                    return true;
                }
                self.catch(now, stream, attempt);
                Setback::Excluded
            }
        };
        segment.plan.set_back(&attempt.key, now, setback);
        false
    }

    /// How deep a result is looked at.
    fn look_at(&mut self, key: u32, now_s: f64) -> Tier {
        let rates = if self.scenario.full { Policy::FULL } else { self.book.rates(&key, now_s as u64) };
        let tier = rates.tier_at(self.rng.random_range(0..framemill_verification::PPM));
        self.figures.looks(tier);
        tier
    }

    fn catch(&mut self, now: Instant, stream: usize, attempt: &Attempt) {
        let seller = attempt.seller;
        self.figures.caught(&self.sellers[seller], attempt.price);
        self.board.failed(&attempt.key, now, Severity::Dishonest);
        self.book.see(&attempt.key, self.seconds(now) as u64, Sight::Wrong);
        self.streams[stream].sessions.retain(|session| session.key != attempt.key || session.out > 0);
        // Results of an identity that was thrown away may still come in.
        if self.sellers[seller].key == attempt.key {
            self.sellers[seller].caught(self.next_key);
            self.next_key += 1;
        }
    }

    /// Another delivered first: whoever still works is stopped, paid if it has the source, and not blamed.
    fn see_off(&mut self, now: Instant, stream: usize, segment: &mut Segment, winner: Instant) {
        segment.done = true;
        let late = segment.running.iter().any(|loser| loser.began < winner);
        self.figures.spare_won += usize::from(late);
        for loser in std::mem::take(&mut segment.running) {
            self.release(stream, loser.key);
            self.figures.outpaced += 1;
            if now - loser.began >= UPLOAD {
                self.figures.paid_in_vain(&self.sellers[loser.seller], loser.price);
            }
            if !matches!(loser.end, End::Broken | End::Refused) {
                self.board.outpaced(&loser.key, now, now - loser.began, SEGMENT);
            }
        }
    }
}

fn is_seen(tampering: Tampering, tier: Tier) -> bool {
    match tampering {
        Tampering::Picture => tier >= Tier::FirstFrame,
        Tampering::Motion => tier == Tier::Whole,
    }
}
