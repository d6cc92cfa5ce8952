//! The bare session: a picture through the model in one run, and nothing around it. What results are measured against.

use std::path::PathBuf;

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::{Model, OrtUpscaler, Planes, SessionSettings, Upscaler};
use upscaled::size::Size;

/// A built-in model on the processor.
pub struct Whole {
    session: OrtUpscaler,
}

impl Whole {
    pub fn open(model: &str) -> Self {
        let settings = SessionSettings {
            providers: vec![Provider::Cpu],
            device_id: 0,
            threads: None,
            precision: Precision::Auto,
            engines_dir: PathBuf::from("/nonexistent"),
            choices: ProviderChoices::default(),
        };
        let model = Model::built_in(model).expect("a built-in model");
        let (session, _) = OrtUpscaler::open(&super::runtime(), model, settings, 4 << 30).expect("a session");
        Self { session }
    }

    /// What the model makes of a picture: plane by plane, row by row; values as they come, 0..1 and a little beyond.
    pub fn run(&mut self, planes: &[f32], size: Size) -> Vec<f32> {
        self.session.prepare(size, 1, 4 << 30).expect("a session for it");
        let mut values = Vec::new();
        let mut take = |result: Planes<'_>| values = result.data.to_vec();
        self.session
            .upscale(Planes::new(planes, size), &mut take)
            .expect("a run");
        values
    }
}
