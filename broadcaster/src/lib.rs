//! Buys transcoding: cuts a live stream into segments, pays for renditions segment by segment, verifies them and publishes HLS; an embeddable library.
