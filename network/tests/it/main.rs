//! Real nodes over loopback, and peers that do what no honest peer does.

mod hostile_client;
mod hostile_server;
mod lifecycle;
mod quote;
mod raw;
mod segment;
mod support;
mod work;
