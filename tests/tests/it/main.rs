//! One module per story.

mod workspace_shape;
