//! A small, safe wrapper over FFmpeg: probe, demux, decode, scale, encode, mux and segment media that lies in memory.
