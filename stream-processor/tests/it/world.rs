//! A processor and a log that the test writes by hand.

use std::sync::Arc;

use forewarn_bus::{Cause, Stage};
use forewarn_features::FeatureSets;
use forewarn_messages::{ProcessedMetric, SampleBatch, SystemMetric, Tick};
use forewarn_stream_processor::{Processor, StepConfig};
use forewarn_types::{LogId, LogTime, Src};

pub(crate) struct World {
    pub(crate) processor: Processor,
    offset: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(StepConfig::default())
    }

    pub(crate) fn with(config: StepConfig) -> Self {
        let processor = Processor::new(Arc::new(FeatureSets::standard()), config);
        Self {
            processor,
            offset: 0,
        }
    }

    pub(crate) fn samples(&mut self, log_time: i64, batch: &SampleBatch) -> Vec<ProcessedMetric> {
        self.apply(log_time, SystemMetric::Samples(batch.clone()))
    }

    pub(crate) fn tick(&mut self, log_time: i64) -> Vec<ProcessedMetric> {
        self.apply(
            log_time,
            SystemMetric::Tick(Tick {
                log: log(),
                genesis: false,
            }),
        )
    }

    pub(crate) fn apply(&mut self, log_time: i64, input: SystemMetric) -> Vec<ProcessedMetric> {
        let cause = Cause {
            src: Src::root(log(), 0, self.offset),
            log_time: LogTime(log_time),
        };
        self.offset += 1;
        let mut out = Vec::new();
        self.processor.apply(input, &cause, &mut out);
        out
    }
}

fn log() -> LogId {
    LogId(uuid::Uuid::from_u128(1))
}
