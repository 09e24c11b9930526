//! The miner's worker: encode engines behind one interface, and the daemon that offers them to an orchestrator.
