//! Who was let in to which open stream: the hook is asked once and not for each segment, and again for whoever comes another way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use super::auth::{Admission, AuthRequest};

/// Ways in that are remembered for one stream, those used last: an encoder and its spare have one each, and one whose address
/// is signed anew for each segment is asked about each time.
const MAX_PASSES: usize = 16;

/// What a hook decides by, but for the segment's number: the address with its query, and the name that is asked for. A digest,
/// because the key is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pass(B256);

impl Pass {
    pub(super) fn of(request: &AuthRequest) -> Self {
        let (path, query) = request.url.split_at(request.url.find('?').unwrap_or(request.url.len()));
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // No part can hold a line break.
        let told = [folder, query, &request.manifest].join("\n");
        Self(B256::from_slice(&Sha256::digest(told)))
    }
}

/// The passes of all open streams.
#[derive(Debug, Default)]
pub(super) struct Passes {
    admissions: HashMap<Pass, Arc<Admission>>,
    /// Those of each stream, the one used last at the end.
    streams: HashMap<String, VecDeque<Pass>>,
}

impl Passes {
    /// What this one was let in with.
    pub(super) fn find(&mut self, pass: Pass) -> Option<Arc<Admission>> {
        let admission = Arc::clone(self.admissions.get(&pass)?);
        if let Some(passes) = self.streams.get_mut(&admission.name) {
            passes.retain(|known| *known != pass);
            passes.push_back(pass);
        }
        Some(admission)
    }

    /// Lets it in from now on, as long as the stream is open.
    pub(super) fn add(&mut self, pass: Pass, admission: Arc<Admission>) {
        self.drop_pass(pass);
        let passes = self.streams.entry(admission.name.clone()).or_default();
        passes.push_back(pass);
        let oldest = if passes.len() > MAX_PASSES { passes.pop_front() } else { None };
        self.admissions.insert(pass, admission);
        if let Some(oldest) = oldest {
            self.admissions.remove(&oldest);
        }
    }

    /// The stream has ended.
    pub(super) fn forget(&mut self, stream: &str) {
        for pass in self.streams.remove(stream).unwrap_or_default() {
            self.admissions.remove(&pass);
        }
    }

    /// A hook that was asked twice at once may have named two streams; the last counts.
    fn drop_pass(&mut self, pass: Pass) {
        if let Some(admission) = self.admissions.remove(&pass)
            && let Some(passes) = self.streams.get_mut(&admission.name)
        {
            passes.retain(|known| *known != pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(url: &str, manifest: &str) -> Pass {
        Pass::of(&AuthRequest { url: url.to_owned(), manifest: manifest.to_owned() })
    }

    fn admission(name: &str) -> Arc<Admission> {
        Arc::new(Admission::free(name.to_owned()))
    }

    #[test]
    fn a_pass_is_for_all_segments_of_one_address_and_name() {
        let first = pass("/live/cam/0.ts?key=1", "cam");
        assert_eq!(first, pass("/live/cam/17.mp4?key=1", "cam"));
        for (url, manifest) in [
            ("/live/cam/0.ts", "cam"),
            ("/live/cam/0.ts?", "cam"),
            ("/live/cam/0.ts?key=2", "cam"),
            ("/live/other/0.ts?key=1", "cam"),
            ("/live/cam/0.ts?key=1", "other"),
            ("http://other.example/live/cam/0.ts?key=1", "cam"),
            ("/live/cam/0.ts?key=1/2", "cam"),
        ] {
            assert_ne!(first, pass(url, manifest), "{url} {manifest}");
        }
    }

    #[test]
    fn passes_end_with_their_stream() {
        let mut passes = Passes::default();
        let [cam, spare, other] =
            ["cam", "spare", "other"].map(|key| pass(&format!("/live/x/0.ts?{key}"), "x"));
        passes.add(cam, admission("cam"));
        passes.add(spare, admission("cam"));
        passes.add(other, admission("other"));
        passes.forget("cam");
        assert!(passes.find(cam).is_none() && passes.find(spare).is_none());
        assert_eq!(passes.find(other).unwrap().name, "other");
    }

    #[test]
    fn who_comes_a_new_way_each_time_pushes_nobody_out_who_is_in_use() {
        let mut passes = Passes::default();
        let cam = pass("/live/cam/0.ts?key=1", "cam");
        passes.add(cam, admission("cam"));
        for number in 0..100 {
            passes.add(pass(&format!("/live/cam/0.ts?signed={number}"), "cam"), admission("cam"));
            assert!(passes.find(cam).is_some());
            assert!(passes.admissions.len() <= MAX_PASSES);
        }
    }

    #[test]
    fn a_pass_that_is_given_to_another_stream_leaves_the_first() {
        let mut passes = Passes::default();
        let cam = pass("/live/cam/0.ts", "cam");
        passes.add(cam, admission("one"));
        passes.add(cam, admission("two"));
        passes.forget("one");
        assert_eq!(passes.find(cam).unwrap().name, "two");
    }
}
