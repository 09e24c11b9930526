//! One module per story.

mod browser;
mod clips;
mod demo;
mod kill_and_restart;
mod long_run;
mod separate_processes;
mod workspace_shape;
