//! Whether a recipient's parameters make sense.
