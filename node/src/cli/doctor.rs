//! The command line of `framemill doctor`.

use clap::Args;

use crate::dashboard::Role;

/// `framemill doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Roles that are to run here [default: those that the configuration says something of]
    #[arg(value_enum)]
    pub roles: Vec<Role>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}
