//! The libp2p wire between roles: identity, discovery, and the quote, segment and work protocols with bounds, deadlines and typed errors.
