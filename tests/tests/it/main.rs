//! One module per story.

mod browser;
mod clips;
mod containers;
mod court;
mod dashboard;
mod demo;
mod documents;
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
mod separate_processes;
mod slow_orchestrator;
mod two_of_each;
mod unusable_input;
mod workspace_shape;
