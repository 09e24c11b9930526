//! The same tests on the shared store: every file of theirs once more, above another `store`.

#[path = "../accept.rs"]
mod accept;
#[path = "../audit.rs"]
mod audit;
#[path = "../books.rs"]
mod books;
#[path = "../chain.rs"]
mod chain;
#[path = "../child.rs"]
mod child;
#[path = "../common.rs"]
#[allow(dead_code, reason = "some helpers are for tests of the embedded store alone")]
mod common;
#[path = "../earned.rs"]
mod earned;
#[path = "../kill.rs"]
mod kill;
mod migration;
mod processes;
#[path = "../reasons.rs"]
mod reasons;
#[path = "../redeem.rs"]
mod redeem;
#[path = "../sender.rs"]
mod sender;
#[allow(unreachable_pub, reason = "the stories of the tests crate start servers, too")]
mod server;
mod shared;
#[path = "../sides.rs"]
mod sides;
#[path = "../steps.rs"]
mod steps;
mod store;
#[path = "../works.rs"]
mod works;
