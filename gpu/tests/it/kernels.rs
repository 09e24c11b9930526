//! The committed PTX, and what happens with it on the machine the tests run on.

#[path = "../../examples/kernels/compile.rs"]
mod compile;

use std::path::{Path, PathBuf};
use std::process::Command;

use framemill_gpu::GpuError;
use framemill_gpu::lattice::{Cells, LatticeKernels, PlaneShape, Samples, Work, twin};
use sha2::{Digest, Sha256};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels").join(name)
}

fn kernel(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("a committed file")
}

#[test]
fn the_ptx_is_of_the_source_beside_it() {
    let hash: String =
        Sha256::digest(kernel("lattice.cu")).iter().map(|byte| format!("{byte:02x}")).collect();
    let ptx = kernel("lattice.ptx");
    assert_eq!(ptx.lines().next(), Some(&*format!("// of source {hash}")), "run `make kernels`");
}

/// Where the process below leaves what it compiled.
const REBUILT: &str = "FRAMEMILL_REBUILT_PTX";

#[test]
fn the_ptx_is_what_nvrtc_makes_of_the_source() {
    let nvrtc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nvrtc/nvidia/cuda_nvrtc/lib");
    if !nvrtc.join("libnvrtc.so.12").exists() {
        return eprintln!("skipped: no NVRTC; run scripts/setup kernels");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let rebuilt = folder.join(format!("rebuilt-{}.ptx", std::process::id()));
    // The loader looks at its path when a process begins.
    let process = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "kernels::compiles_in_a_process_of_its_own"])
        .env("LD_LIBRARY_PATH", nvrtc)
        .env(REBUILT, &rebuilt)
        .output()
        .expect("this program starts");
    assert!(process.status.success(), "{}", String::from_utf8_lossy(&process.stdout));
    let ptx = std::fs::read_to_string(&rebuilt).expect("what it compiled");
    std::fs::remove_file(&rebuilt).expect("a file of ours");
    assert!(
        ptx == kernel("lattice.ptx"),
        "gpu/kernels/lattice.ptx is not what its source makes: run `make kernels`"
    );
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn compiles_in_a_process_of_its_own() {
    let target = std::env::var_os(REBUILT).expect("said by the test above");
    let ptx = compile::compile(&path("lattice.cu")).expect("a kernel that compiles");
    std::fs::write(target, ptx).expect("a folder for it");
}

#[test]
fn the_ptx_needs_nothing_but_a_driver_of_the_first_cuda_12() {
    let ptx = kernel("lattice.ptx");
    assert!(ptx.contains("\n.version 8.0\n") && ptx.contains("\n.target sm_61\n"));
    assert!(!ptx.contains(".extern .func"), "nothing to link against");
    for name in ["means_of_bytes", "means_of_words", "means_of_quads"] {
        assert!(ptx.contains(&format!(".visible .entry {name}(")), "{name}");
    }
}

/// Planes of noise, and a work for each of the kernels.
fn works() -> Vec<(Work, Vec<u8>)> {
    let shape = |width, pitch, samples, channels| PlaneShape { width, height: 97, pitch, samples, channels };
    let shapes = [
        shape(320, 320, Samples::Bytes, 1),
        shape(427, 448, Samples::Bytes, 1),
        shape(213, 432, Samples::Bytes, 2),
        shape(107, 432, Samples::HighWords(10), 2),
        shape(201, 416, Samples::Words(12), 1),
    ];
    let noise = |work: &Work| (0..work.plane_bytes()).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let works = shapes.map(|shape| Work::new(shape, Cells { cols: 80, rows: 45 }).expect("it fits"));
    works.into_iter().map(|work| (work, noise(&work))).collect()
}

#[test]
fn a_device_computes_what_its_twin_does_or_says_why_there_is_none() {
    match LatticeKernels::open(0) {
        Ok(kernels) => {
            for (work, plane) in works() {
                let planes = [&plane[..], &plane[..]];
                assert_eq!(kernels.means(&work, &planes).expect("a launch"), twin::means(&work, &planes));
            }
        }
        Err(reason @ (GpuError::NoDriver | GpuError::NoDevice)) => {
            eprintln!("skipped: no CUDA device: {reason}");
        }
        Err(broken) => panic!("{broken}"),
    }
}
