//! NVENC and NVDEC: which of the driver's video libraries are installed, and what the encoder library speaks.

use std::ffi::OsStr;

use libloading::Library;

use crate::Version;

#[cfg(windows)]
const ENCODER_LIBRARY: &str = "nvEncodeAPI64.dll";
#[cfg(windows)]
const DECODER_LIBRARY: &str = "nvcuvid.dll";
#[cfg(not(windows))]
const ENCODER_LIBRARY: &str = "libnvidia-encode.so.1";
#[cfg(not(windows))]
const DECODER_LIBRARY: &str = "libnvcuvid.so.1";

/// What the installed driver offers for encoding and decoding video, apart from CUDA itself.
///
/// Containers often see a GPU for computing and not its video engines, so this is asked separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoEngines {
    /// Highest NVENC interface version the driver speaks; `None` if its library is not installed.
    pub nvenc: Option<Version>,
    /// Whether NVDEC's library is installed.
    pub nvdec: bool,
}

impl VideoEngines {
    /// Looks for the libraries with the system's loader.
    pub fn find() -> Self {
        Self {
            nvenc: encoder_version(ENCODER_LIBRARY.as_ref()),
            nvdec: open(DECODER_LIBRARY.as_ref()).is_some(),
        }
    }

    /// Why these engines cannot transcode, or `None` if they can.
    pub fn blocker(&self) -> Option<String> {
        let missing = match (self.nvenc, self.nvdec) {
            (Some(_), true) => return None,
            (None, true) => ENCODER_LIBRARY.to_owned(),
            (Some(_), false) => DECODER_LIBRARY.to_owned(),
            (None, false) => format!("{ENCODER_LIBRARY} and {DECODER_LIBRARY}"),
        };
        Some(format!(
            "the driver's video engines are not reachable: {missing} not found; \
             install the full driver, or start the container with NVIDIA_DRIVER_CAPABILITIES=compute,video,utility"
        ))
    }
}

fn open(name: &OsStr) -> Option<Library> {
    // SAFETY: the initialisers run here are those of the vendor's driver, found on the system's own search path,
    // exactly as if the program were linked against it.
    unsafe { Library::new(name) }.ok()
}

fn encoder_version(name: &OsStr) -> Option<Version> {
    type MaxSupportedVersion = unsafe extern "C" fn(*mut u32) -> i32;

    let library = open(name)?;
    // SAFETY: nvEncodeAPI.h declares `NVENCSTATUS NvEncodeAPIGetMaxSupportedVersion(uint32_t*)`, NVENCSTATUS being a C enum.
    let ask = unsafe { library.get::<MaxSupportedVersion>(b"NvEncodeAPIGetMaxSupportedVersion\0") }.ok()?;
    let mut packed = 0_u32;
    // SAFETY: the library is loaded for the whole call and the pointer is to a live u32.
    let status = unsafe { ask(&mut packed) };
    (status == 0).then(|| unpack_encoder_version(packed))
}

/// NVENC packs its version as `major << 4 | minor`.
fn unpack_encoder_version(packed: u32) -> Version {
    Version { major: packed >> 4, minor: packed & 0xf }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_the_encoder_version() {
        assert_eq!(unpack_encoder_version(0xc2), Version { major: 12, minor: 2 });
    }

    #[test]
    fn a_missing_library_is_no_encoder() {
        assert_eq!(encoder_version("libframemill-no-such-library.so.1".as_ref()), None);
    }

    #[test]
    fn names_every_missing_library() {
        let none = VideoEngines { nvenc: None, nvdec: false };
        let text = none.blocker().expect("two libraries are missing");
        assert!(text.contains(ENCODER_LIBRARY) && text.contains(DECODER_LIBRARY), "{text}");
        let both = VideoEngines { nvenc: Some(Version { major: 12, minor: 2 }), nvdec: true };
        assert_eq!(both.blocker(), None);
    }
}
