//! One module per story.

mod apart;
mod av1;
mod browser;
mod bucket;
mod clips;
mod containers;
mod court;
mod dashboard;
mod demo;
mod dependencies;
mod documents;
#[path = "../../../broadcaster/tests/it/ffplay.rs"]
mod ffplay;
mod first_steps;
mod impostors;
mod kill_and_restart;
mod load;
mod long_run;
mod lose_a_transcoder;
mod lose_the_chain;
mod package;
mod pay_by_quality;
mod refused_broadcasters;
mod reload;
mod restore;
#[path = "../../../broadcaster/tests/it/bucket.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the store's own tests use the rest, and fail where the server fails"
)]
mod seaweed;
mod separate_processes;
mod slow_orchestrator;
mod two_of_each;
mod unusable_input;
mod workspace_shape;
