//! Every device of the machine works on pictures of its own.

use std::collections::BTreeMap;

use upscaled::machine::nvidia;

use super::report::Seen;
use super::support::site::Site;

/// Enough that nobody is through before the others have begun.
const PICTURES_PER_DEVICE: usize = 6;

pub fn check() -> Seen {
    let count = nvidia::survey().map_or(0, |survey| survey.devices.len());
    if count < 2 {
        return vec![format!("{count} device(s) in this machine: nothing to share.")];
    }
    let site = Site::new("");
    let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    site.run_on(&format!(
        "providers = [\"cuda\", \"cpu\"]\ndevice_id = [{}]",
        numbers.join(", ")
    ));
    let names: Vec<String> = (0..count * PICTURES_PER_DEVICE)
        .map(|index| format!("{index}.png"))
        .collect();
    for (index, name) in names.iter().enumerate() {
        // Each with a content of its own.
        site.drop_photo(name, 1200 + index as u32, 900);
    }
    let daemon = site.daemon();
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for name in &names {
        let document = site.wait_for_state(name, "done");
        let device = document["plan"]["device"].as_str().unwrap_or_default();
        *done.entry(device.to_owned()).or_default() += 1;
    }
    daemon.stop();
    let told: Vec<String> = done
        .iter()
        .map(|(device, pictures)| format!("{device} did {pictures}"))
        .collect();
    assert_eq!(done.len(), count, "{told:?}");
    vec![format!("{} pictures: {}.", names.len(), told.join(", "))]
}
