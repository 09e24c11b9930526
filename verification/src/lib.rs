//! Decides whether a rendition is a faithful encode of its source segment, in integer arithmetic that gives every machine the same answer.
