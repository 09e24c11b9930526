//! What a card says of itself while it works, by NVIDIA's management library (NVML).

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_uint, c_ulonglong, c_void},
    ptr::null_mut,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libloading::{Library, Symbol};

use crate::{GpuError, Memory, device::bus_id};

#[cfg(windows)]
const LIBRARY: &str = "nvml.dll";
#[cfg(not(windows))]
const LIBRARY: &str = "libnvidia-ml.so.1";

/// How NVML answers: zero is success.
type Status = c_int;

/// How NVML names a card.
type Handle = *mut c_void;

/// The answer of NVML that it has nothing: of processes, that none has used the card.
const NOT_FOUND: Status = 6;

/// NVML's number of the sensor in the card's processor.
const PROCESSOR_SENSOR: c_uint = 0;

/// How far back a process's use of the card is looked for. Drivers look at processes every second or so.
const PROCESS_WINDOW: Duration = Duration::from_secs(2);

/// Processes of one card that are told of. With more, nothing is known of any.
const MAX_PROCESSES: usize = 256;

/// One look at a card. What the card or its driver does not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Time in which anybody's kernels ran on the streaming multiprocessors (SM), in percent.
    pub sm_percent: Option<u32>,
    /// SM time of the one process that was asked for, in percent.
    pub process_sm_percent: Option<u32>,
    /// Time in which the video encoder was busy, in percent.
    pub encoder_percent: Option<u32>,
    /// Time in which the video decoder was busy, in percent.
    pub decoder_percent: Option<u32>,
    /// Memory, whoever has taken it.
    pub memory: Option<Memory>,
    /// Temperature of the processor, in degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// What the whole card draws, in milliwatts.
    pub power_milliwatts: Option<u32>,
}

/// A card that can be looked at. A driver that hangs lets calls wait for as long: make them where nobody else waits.
#[derive(Debug)]
pub struct CardTelemetry {
    nvml: Nvml,
    card: Handle,
}

impl CardTelemetry {
    /// Finds the card that CUDA knows under this index. NVML counts cards in another order; the two agree on the place on the bus.
    ///
    /// # Errors
    /// Why there is no such card, or no telemetry of it.
    pub fn open(ordinal: u32) -> Result<Self, GpuError> {
        let place = bus_id(ordinal)?;
        let nvml = Nvml::open(LIBRARY.as_ref())?;
        let card = nvml.card_at(&place)?;
        Ok(Self { nvml, card })
    }

    /// Looks at the card, and at what `process` takes of it.
    ///
    /// # Errors
    /// What the driver says, when it tells nothing at all.
    pub fn sample(&self, process: Option<u32>) -> Result<Telemetry, GpuError> {
        let memory = self.memory();
        let telemetry = Telemetry {
            sm_percent: self.sm_percent().ok(),
            process_sm_percent: process.and_then(|process| self.sm_percent_of(process).ok()),
            encoder_percent: self.engine_percent("nvmlDeviceGetEncoderUtilization").ok(),
            decoder_percent: self.engine_percent("nvmlDeviceGetDecoderUtilization").ok(),
            memory: memory.as_ref().ok().copied(),
            temperature_celsius: self.temperature_celsius().ok(),
            power_milliwatts: self.power_milliwatts().ok(),
        };
        match memory {
            Err(error) if telemetry == Telemetry::default() => Err(error),
            _ => Ok(telemetry),
        }
    }

    fn sm_percent(&self) -> Result<u32, GpuError> {
        const CALL: &str = "nvmlDeviceGetUtilizationRates";
        type Ask = unsafe extern "C" fn(Handle, *mut Rates) -> Status;
        let ask = self.nvml.function::<Ask>(CALL)?;
        let mut rates = Rates::default();
        // SAFETY: nvml.h declares the function so; the handle is NVML's own and the pointer is to a live structure.
        let status = unsafe { ask(self.card, &mut rates) };
        self.nvml.check(CALL, status)?;
        Ok(rates.gpu)
    }

    fn engine_percent(&self, call: &'static str) -> Result<u32, GpuError> {
        type Ask = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint) -> Status;
        let ask = self.nvml.function::<Ask>(call)?;
        let (mut percent, mut period) = (0, 0);
        // SAFETY: nvml.h declares both callers' functions so; the handle is NVML's own and the pointers are to live integers.
        let status = unsafe { ask(self.card, &mut percent, &mut period) };
        self.nvml.check(call, status)?;
        Ok(percent)
    }

    fn temperature_celsius(&self) -> Result<u32, GpuError> {
        const CALL: &str = "nvmlDeviceGetTemperature";
        type Ask = unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> Status;
        let ask = self.nvml.function::<Ask>(CALL)?;
        let mut degrees = 0;
        // SAFETY: nvml.h declares the function so; the handle is NVML's own and the pointer is to a live integer.
        let status = unsafe { ask(self.card, PROCESSOR_SENSOR, &mut degrees) };
        self.nvml.check(CALL, status)?;
        Ok(degrees)
    }

    fn power_milliwatts(&self) -> Result<u32, GpuError> {
        const CALL: &str = "nvmlDeviceGetPowerUsage";
        type Ask = unsafe extern "C" fn(Handle, *mut c_uint) -> Status;
        let ask = self.nvml.function::<Ask>(CALL)?;
        let mut milliwatts = 0;
        // SAFETY: nvml.h declares the function so; the handle is NVML's own and the pointer is to a live integer.
        let status = unsafe { ask(self.card, &mut milliwatts) };
        self.nvml.check(CALL, status)?;
        Ok(milliwatts)
    }

    fn memory(&self) -> Result<Memory, GpuError> {
        const CALL: &str = "nvmlDeviceGetMemoryInfo";
        type Ask = unsafe extern "C" fn(Handle, *mut MemoryInfo) -> Status;
        let ask = self.nvml.function::<Ask>(CALL)?;
        let mut memory = MemoryInfo::default();
        // SAFETY: nvml.h declares the function so; the handle is NVML's own and the pointer is to a live structure.
        let status = unsafe { ask(self.card, &mut memory) };
        self.nvml.check(CALL, status)?;
        Ok(Memory { unused: memory.free, total: memory.total })
    }

    fn sm_percent_of(&self, process: u32) -> Result<u32, GpuError> {
        const CALL: &str = "nvmlDeviceGetProcessUtilization";
        type Ask = unsafe extern "C" fn(Handle, *mut ProcessUse, *mut c_uint, c_ulonglong) -> Status;
        let ask = self.nvml.function::<Ask>(CALL)?;
        let mut samples = vec![ProcessUse::default(); MAX_PROCESSES];
        let mut count = MAX_PROCESSES as c_uint;
        // SAFETY: nvml.h declares the function so; the handle is NVML's own, and it is told how many structures the pointer leads to.
        let status =
            unsafe { ask(self.card, samples.as_mut_ptr(), &mut count, microseconds_ago(PROCESS_WINDOW)) };
        if status == NOT_FOUND {
            return Ok(0);
        }
        self.nvml.check(CALL, status)?;
        Ok(newest_of(process, samples.iter().take(count as usize)))
    }
}

/// `nvmlUtilization_t`.
#[repr(C)]
#[derive(Default)]
struct Rates {
    gpu: c_uint,
    _memory: c_uint,
}

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
struct MemoryInfo {
    total: c_ulonglong,
    free: c_ulonglong,
    _used: c_ulonglong,
}

/// `nvmlProcessUtilizationSample_t`.
#[repr(C)]
#[derive(Clone, Default)]
struct ProcessUse {
    process: c_uint,
    /// Microseconds since 1970.
    taken_at: c_ulonglong,
    sm: c_uint,
    _memory: c_uint,
    _encoder: c_uint,
    _decoder: c_uint,
}

/// A process that is not told of has not used the card.
fn newest_of<'a>(process: u32, samples: impl Iterator<Item = &'a ProcessUse>) -> u32 {
    let own = samples.filter(|sample| sample.process == process);
    own.max_by_key(|sample| sample.taken_at).map_or(0, |sample| sample.sm)
}

fn microseconds_ago(ago: Duration) -> c_ulonglong {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(ago);
    c_ulonglong::try_from(since.as_micros()).unwrap_or(c_ulonglong::MAX)
}

/// The library, initialised. NVML counts who has opened it, so that others in this process are not disturbed.
#[derive(Debug)]
struct Nvml(Library);

impl Nvml {
    fn open(name: &OsStr) -> Result<Self, GpuError> {
        const CALL: &str = "nvmlInit_v2";
        type Init = unsafe extern "C" fn() -> Status;
        // SAFETY: the initialisers run here are those of the vendor's driver, found on the system's own search path,
        // exactly as if the program were linked against it.
        let library = unsafe { Library::new(name) }.map_err(|_| GpuError::NoTelemetry)?;
        let init = function_of::<Init>(&library, CALL)?;
        // SAFETY: nvml.h declares the function so.
        let status = unsafe { init() };
        check(&library, CALL, status)?;
        Ok(Self(library))
    }

    fn card_at(&self, place: &CStr) -> Result<Handle, GpuError> {
        const CALL: &str = "nvmlDeviceGetHandleByPciBusId_v2";
        type Find = unsafe extern "C" fn(*const c_char, *mut Handle) -> Status;
        let find = self.function::<Find>(CALL)?;
        let mut card = null_mut();
        // SAFETY: nvml.h declares the function so; the text ends with a zero and the pointer is to a live handle.
        let status = unsafe { find(place.as_ptr(), &mut card) };
        self.check(CALL, status)?;
        Ok(card)
    }

    fn function<F>(&self, call: &'static str) -> Result<Symbol<'_, F>, GpuError> {
        function_of(&self.0, call)
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), GpuError> {
        check(&self.0, call, status)
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        type Shutdown = unsafe extern "C" fn() -> Status;
        if let Ok(shutdown) = self.function::<Shutdown>("nvmlShutdown") {
            // SAFETY: nvml.h declares the function so; the library was initialised, and no handle of it outlives this.
            let _ = unsafe { shutdown() };
        }
    }
}

/// A function of NVML. `F` must be how nvml.h declares it, which each caller says where it calls.
fn function_of<'a, F>(library: &'a Library, call: &'static str) -> Result<Symbol<'a, F>, GpuError> {
    // SAFETY: nothing is called here; the type is the caller's word.
    let found = unsafe { library.get(call) };
    found.map_err(|_| GpuError::Telemetry { call, reason: "this driver does not have it".to_owned() })
}

fn check(library: &Library, call: &'static str, status: Status) -> Result<(), GpuError> {
    match status {
        0 => Ok(()),
        status => Err(GpuError::Telemetry { call, reason: words_of(library, status) }),
    }
}

/// The driver's words for what it answers.
fn words_of(library: &Library, status: Status) -> String {
    type Words = unsafe extern "C" fn(Status) -> *const c_char;
    let number = || format!("error {status}");
    let Ok(words) = function_of::<Words>(library, "nvmlErrorString") else { return number() };
    // SAFETY: nvml.h declares the function so.
    let text = unsafe { words(status) };
    if text.is_null() {
        return number();
    }
    // SAFETY: NVML gives a text of its own that ends with a zero and is never freed.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_no_telemetry() {
        let missing = Nvml::open("libframemill-no-such-library.so.1".as_ref());
        assert_eq!(missing.err(), Some(GpuError::NoTelemetry));
    }

    #[test]
    fn a_machine_without_the_card_says_why_there_is_no_telemetry() {
        // An index above every card's.
        let absent = CardTelemetry::open(4_000).map(drop);
        assert!(absent.is_err_and(|error| !error.to_string().is_empty()));
    }

    #[test]
    fn the_newest_sample_of_the_process_counts_and_others_do_not() {
        let sample = |process, taken_at, sm| ProcessUse { process, taken_at, sm, ..ProcessUse::default() };
        let samples = [sample(7, 1, 90), sample(8, 3, 50), sample(7, 2, 20)];
        assert_eq!(newest_of(7, samples.iter()), 20);
        assert_eq!(newest_of(9, samples.iter()), 0);
    }
}
