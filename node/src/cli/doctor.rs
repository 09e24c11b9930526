//! The command line of `framemill doctor`.

use clap::Args;

use super::RoleArg;
use crate::dashboard::Role;

/// `framemill doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Roles that are to run here [default: those that the configuration says something of]
    #[arg(value_enum)]
    pub roles: Vec<RoleArg>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Broadcaster => Self::Broadcaster,
            RoleArg::Orchestrator => Self::Orchestrator,
            RoleArg::Transcoder => Self::Transcoder,
        }
    }
}
