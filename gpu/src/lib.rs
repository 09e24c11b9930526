//! CUDA devices, engine capacity and telemetry, found at run time so that one binary serves machines with and without a GPU.
