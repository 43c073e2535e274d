//! What every process tells of itself, whatever it does: which build it is, and what became of its spans.

use crate::spans::Spans;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::fmt;

/// To be registered where there is no prefix.
#[derive(Debug)]
pub struct Process {
    version: &'static str,
    spans: Spans,
}

// === impl Process ===

impl Process {
    /// Of that version, with these spans.
    pub fn new(version: &'static str, spans: Spans) -> Process {
        Process { version, spans }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Which build it is; always 1";
        let mut family = encoder.encode_descriptor("portico_build_info", help, None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(family.encode_family(&[("version", self.version)])?)?;
        if !self.spans.is_on() {
            return Ok(());
        }
        let help =
            "Spans of traces, by what became of them: dropped, there was no room; failed, the collector was away";
        let mut family = encoder.encode_descriptor("portico_spans", help, None, MetricType::Counter)?;
        let spans = &self.spans;
        for (result, n) in [("exported", spans.exported()), ("dropped", spans.dropped()), ("failed", spans.failed())] {
            ConstCounter::new(n).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
