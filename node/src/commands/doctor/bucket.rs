//! The bucket that a broadcaster copies everything to.

use super::report::{Finding, Report};
use crate::{
    buyer::{self, Bucket},
    config::Config,
};

const KEY: &str = "broadcaster.s3_bucket";

/// Has the bucket, where one is configured, take a small object, which is removed again.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    report.extend(match buyer::bucket(&config.broadcaster).await {
        Ok(bucket) => bucket.as_ref().map(probed),
        Err(error) => {
            let remedy = "mend what is named; docs/egress.md says what a bucket needs";
            Some(Finding::fail(KEY, format!("{error:#}"), remedy))
        }
    });
}

/// One that cannot be reached now may be there when it is needed.
fn probed(bucket: &Bucket) -> Finding {
    let address = &bucket.address;
    match &bucket.probed {
        Ok(()) => Finding::ok(KEY, format!("{address} can be written to")),
        Err(error) if error.is_refusal() => {
            let found = format!("{address} refuses to be written: {error}");
            Finding::fail(KEY, found, "check bucket, key and what the key may do")
        }
        Err(error) => {
            let found = format!("{address} cannot be reached now: {error}");
            Finding::warn(KEY, found, "check broadcaster.s3_endpoint and that its server runs")
        }
    }
}
