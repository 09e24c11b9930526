//! `framemill gpu-worker`: the process that has a card. The transcoder starts one for each and speaks to it on its standard input
//! and output; it ends when that closes.

use std::ffi::OsString;
use std::path::PathBuf;

use framemill_transcoder::{WorkerProgram, work_on_gpu};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::GpuWorkerArgs;

/// Runs the command.
pub(crate) fn run(args: GpuWorkerArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // What stops the transcoder stops its processes too, by closing their input, when it has drained: the signals that a
        // terminal or a service manager sends to all of them would cut off segments in flight. SIGHUP stops nobody: it
        // has the transcoder read its configuration again.
        let _interrupt = signal(SignalKind::interrupt())?;
        let _terminate = signal(SignalKind::terminate())?;
        let _hangup = signal(SignalKind::hangup())?;
        work_on_gpu(args.device).await?;
        anyhow::Ok(())
    })
}

/// How the transcoder starts this command.
pub(crate) fn program() -> anyhow::Result<WorkerProgram> {
    /// The program that runs, also after an update has put another file in its place.
    const SELF: &str = "/proc/self/exe";
    let program = if cfg!(target_os = "linux") { PathBuf::from(SELF) } else { std::env::current_exe()? };
    let arguments = ["gpu-worker", "--device"].map(OsString::from).to_vec();
    Ok(WorkerProgram { program, arguments, environment: Vec::new() })
}
