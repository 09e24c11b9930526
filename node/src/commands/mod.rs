//! One module per command.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod broadcaster;
pub(crate) mod config;
pub(crate) mod court;
pub(crate) mod devices;
pub(crate) mod devnet;
pub(crate) mod dispute;
pub(crate) mod doctor;
pub(crate) mod earnings;
pub(crate) mod generate;
pub(crate) mod governance;
pub(crate) mod gpu_worker;
pub(crate) mod load;
pub(crate) mod orchestrator;
pub(crate) mod stake;
pub(crate) mod tickets;
pub(crate) mod transcode;
pub(crate) mod transcoder;
pub(crate) mod verify;
pub(crate) mod wallet;
