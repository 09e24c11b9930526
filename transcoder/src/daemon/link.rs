//! The life of the connection to the orchestrator: dial, serve, lose, wait, dial again, drain, stop.
//!
//! Sans-I/O: inputs and the clock come in, things to do come out.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// A connection that lasted this long, or brought a job, counts as good: the next loss starts the back-off from its
/// shortest wait.
const STABLE: Duration = Duration::from_secs(10);

/// Something that happened to the connection or to the jobs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Time passed.
    Tick,
    /// The orchestrator accepted us.
    Connected,
    /// An attempt failed, or the connection broke.
    Lost,
    /// The orchestrator does not accept our token.
    Unauthorized,
    /// The operator wants us to finish and stop.
    Drain,
    /// A job was admitted.
    JobStarted,
    /// A job ended, however it ended.
    JobEnded,
}

/// What the driver must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Try to reach the orchestrator.
    Dial,
    /// Tell the orchestrator to send nothing more.
    AnnounceDrain,
    /// Close the connection; nothing follows.
    Stop(Stop),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Everything in flight was finished.
    Drained,
    /// Jobs were still running when the drain time was over.
    DrainTimedOut {
        /// Jobs cut off.
        jobs: usize,
    },
    /// The orchestrator never accepted the token.
    Unauthorized,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing,
    Serving { since: Instant },
    Draining { until: Instant },
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Link {
    state: State,
    backoff: Backoff,
    drain_timeout: Duration,
    jobs: usize,
    /// Once the token was good, a refusal is the orchestrator's passing trouble and not a reason to give up.
    ever_served: bool,
}

impl Link {
    /// A link that dials at its first tick.
    pub(crate) fn new(now: Instant, drain_timeout: Duration) -> Self {
        Self {
            state: State::Waiting { until: now },
            backoff: Backoff::default(),
            drain_timeout,
            jobs: 0,
            ever_served: false,
        }
    }

    /// Takes one input. `random` places the next wait within its jitter.
    pub(crate) fn step(&mut self, now: Instant, input: Input, random: u32) -> Option<Output> {
        match input {
            Input::JobStarted => {
                self.jobs += 1;
                // A connection that brings work is good, however soon it ends.
                self.backoff.reset();
            }
            Input::JobEnded => self.jobs = self.jobs.saturating_sub(1),
            _ => {}
        }
        match (self.state, input) {
            (State::Stopped, _) => None,
            (State::Draining { until }, _) => self.drained(now, until),
            (_, Input::Drain) => self.drain(now),
            (State::Waiting { until }, _) if now >= until => {
                self.state = State::Dialing;
                Some(Output::Dial)
            }
            (State::Dialing, Input::Unauthorized) if !self.ever_served => self.stop(Stop::Unauthorized),
            (State::Dialing, Input::Connected) => {
                self.state = State::Serving { since: now };
                self.ever_served = true;
                None
            }
            (State::Dialing, Input::Lost | Input::Unauthorized) => self.wait(now, random),
            (State::Serving { since }, Input::Lost | Input::Unauthorized) => {
                if now.saturating_duration_since(since) >= STABLE {
                    self.backoff.reset();
                }
                self.wait(now, random)
            }
            _ => None,
        }
    }

    /// When the next [`Input::Tick`] is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } | State::Draining { until } => Some(until),
            State::Dialing | State::Serving { .. } | State::Stopped => None,
        }
    }

    /// Whether a job may be taken now.
    pub(crate) fn takes_jobs(&self) -> bool {
        matches!(self.state, State::Serving { .. })
    }

    fn wait(&mut self, now: Instant, random: u32) -> Option<Output> {
        self.state = State::Waiting { until: now + self.backoff.next(random) };
        None
    }

    fn drain(&mut self, now: Instant) -> Option<Output> {
        if self.jobs == 0 {
            return self.stop(Stop::Drained);
        }
        let announce = self.takes_jobs();
        self.state = State::Draining { until: now + self.drain_timeout };
        announce.then_some(Output::AnnounceDrain)
    }

    fn drained(&mut self, now: Instant, until: Instant) -> Option<Output> {
        if self.jobs == 0 {
            return self.stop(Stop::Drained);
        }
        if now >= until {
            return self.stop(Stop::DrainTimedOut { jobs: self.jobs });
        }
        None
    }

    fn stop(&mut self, how: Stop) -> Option<Output> {
        self.state = State::Stopped;
        Some(Output::Stop(how))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::{FIRST, LONGEST};

    const DRAIN: Duration = Duration::from_secs(30);

    fn serving(now: Instant) -> Link {
        let mut link = Link::new(now, DRAIN);
        assert_eq!(link.step(now, Input::Tick, 0), Some(Output::Dial));
        assert_eq!(link.step(now, Input::Connected, 0), None);
        assert!(link.takes_jobs());
        link
    }

    #[test]
    fn dials_at_once() {
        let now = Instant::now();
        let mut link = Link::new(now, DRAIN);
        assert_eq!(link.step(now, Input::Tick, 0), Some(Output::Dial));
        assert_eq!(link.wake_at(), None);
    }

    #[test]
    fn dials_again_after_the_wait() {
        let now = Instant::now();
        let mut link = serving(now);
        assert_eq!(link.step(now, Input::Lost, u32::MAX), None);
        assert!(!link.takes_jobs());
        assert_eq!(link.wake_at(), Some(now + FIRST));
        assert_eq!(link.step(now, Input::Tick, 0), None);
        assert_eq!(link.step(now + FIRST, Input::Tick, 0), Some(Output::Dial));
    }

    #[test]
    fn waits_longer_while_the_orchestrator_stays_away() {
        let mut now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::Lost, u32::MAX);
        for _ in 0..20 {
            now = link.wake_at().expect("a lost link waits");
            assert_eq!(link.step(now, Input::Tick, 0), Some(Output::Dial));
            link.step(now, Input::Lost, u32::MAX);
        }
        assert_eq!(link.wake_at(), Some(now + LONGEST));
    }

    #[test]
    fn a_connection_that_breaks_at_once_does_not_reset_the_wait() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::Lost, u32::MAX);
        link.step(now + FIRST, Input::Tick, 0);
        link.step(now + FIRST, Input::Connected, 0);
        link.step(now + FIRST, Input::Lost, u32::MAX);
        assert_eq!(link.wake_at(), Some(now + FIRST + FIRST * 2));
    }

    #[test]
    fn a_connection_that_lasted_resets_the_wait() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::Lost, u32::MAX);
        link.step(now + FIRST, Input::Tick, 0);
        link.step(now + FIRST, Input::Connected, 0);
        let later = now + FIRST + STABLE;
        link.step(later, Input::Lost, u32::MAX);
        assert_eq!(link.wake_at(), Some(later + FIRST));
    }

    #[test]
    fn a_connection_that_brought_a_job_resets_the_wait() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::Lost, u32::MAX);
        link.step(now + FIRST, Input::Tick, 0);
        link.step(now + FIRST, Input::Connected, 0);
        link.step(now + FIRST, Input::JobStarted, 0);
        link.step(now + FIRST, Input::Lost, u32::MAX);
        assert_eq!(link.wake_at(), Some(now + FIRST * 2));
    }

    #[test]
    fn gives_up_on_a_token_that_was_never_good() {
        let now = Instant::now();
        let mut link = Link::new(now, DRAIN);
        link.step(now, Input::Tick, 0);
        assert_eq!(link.step(now, Input::Unauthorized, 0), Some(Output::Stop(Stop::Unauthorized)));
    }

    #[test]
    fn keeps_trying_with_a_token_that_was_good_before() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::Lost, 0);
        let later = now + FIRST;
        link.step(later, Input::Tick, 0);
        assert_eq!(link.step(later, Input::Unauthorized, 0), None);
        assert!(link.wake_at().is_some());
    }

    #[test]
    fn stops_at_once_when_nothing_is_in_flight() {
        let now = Instant::now();
        assert_eq!(serving(now).step(now, Input::Drain, 0), Some(Output::Stop(Stop::Drained)));
    }

    #[test]
    fn finishes_what_is_in_flight_before_it_stops() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::JobStarted, 0);
        link.step(now, Input::JobStarted, 0);
        assert_eq!(link.step(now, Input::Drain, 0), Some(Output::AnnounceDrain));
        assert!(!link.takes_jobs());
        assert_eq!(link.step(now, Input::JobEnded, 0), None);
        assert_eq!(link.step(now, Input::JobEnded, 0), Some(Output::Stop(Stop::Drained)));
    }

    #[test]
    fn a_drain_ends_though_a_job_does_not() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::JobStarted, 0);
        link.step(now, Input::Drain, 0);
        assert_eq!(link.step(now, Input::Tick, 0), None);
        assert_eq!(
            link.step(now + DRAIN, Input::Tick, 0),
            Some(Output::Stop(Stop::DrainTimedOut { jobs: 1 }))
        );
    }

    #[test]
    fn a_drain_survives_the_loss_of_the_connection() {
        let now = Instant::now();
        let mut link = serving(now);
        link.step(now, Input::JobStarted, 0);
        link.step(now, Input::Drain, 0);
        assert_eq!(link.step(now, Input::Lost, 0), None);
        assert_eq!(link.step(now, Input::JobEnded, 0), Some(Output::Stop(Stop::Drained)));
    }
}
