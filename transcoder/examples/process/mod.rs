//! Processes that are asked line by line, and may die of a question.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// What every answer starts with, since a test harness says things of its own around it.
const ANSWER: &str = "answer\t";
/// How much a process that died may say about it.
const LAST_WORDS: usize = 2_000;

/// A process that [`serve`]s.
pub(crate) struct Helper {
    child: Child,
    questions: ChildStdin,
    lines: Receiver<String>,
    words: File,
}

impl Helper {
    /// Starts one; what it says on standard error is kept for when it dies.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let words = tempfile::tempfile()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(words.try_clone()?);
        let mut child = command.spawn()?;
        let (Some(questions), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        let (sender, lines) = channel();
        // Ends with the process, whose output it reads.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).find(Result::is_err)
        });
        Ok(Self { child, questions, lines, words })
    }

    /// The answer to a question of one line, or how the process died of it.
    pub(crate) fn ask(&mut self, question: &str, patience: Duration) -> Result<String, String> {
        if writeln!(self.questions, "{question}").is_err() {
            return Err(self.death());
        }
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => {
                    if let Some((_, answer)) = line.split_once(ANSWER) {
                        return Ok(answer.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("hangs for {patience:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.death()),
            }
        }
    }

    fn death(&mut self) -> String {
        let how = match self.child.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("died by signal {signal}"),
                None => format!("ended with {status}"),
            },
            Err(error) => error.to_string(),
        };
        format!("{how}: {}", self.last_words().unwrap_or_default())
    }

    fn last_words(&mut self) -> io::Result<String> {
        let mut words = Vec::new();
        self.words.rewind()?;
        self.words.read_to_end(&mut words)?;
        let start = words.len().saturating_sub(LAST_WORDS);
        Ok(String::from_utf8_lossy(&words[start..]).trim().replace('\n', " / "))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end: answers each line of standard input with a line.
pub(crate) fn serve(mut answer: impl FnMut(&str) -> io::Result<String>) -> io::Result<()> {
    for question in io::stdin().lock().lines() {
        println!("{ANSWER}{}", answer(&question?)?);
        io::stdout().flush()?;
    }
    Ok(())
}
