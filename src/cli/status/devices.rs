//! Owns what `upscaled status` says of the devices and of memory.

use jiff::Timestamp;

use crate::cli::out::{ago, bytes};
use crate::status::{BuildingDocument, DeviceDocument, MemoryDocument};

/// A line for the device or for each of several, for what the process holds, and for engines that are being built.
pub(super) fn lines(
    only: &DeviceDocument,
    several: &[DeviceDocument],
    memory: &MemoryDocument,
    now: Timestamp,
) -> Vec<String> {
    let mut parts = Vec::new();
    // Several have a line each.
    if several.is_empty() {
        parts = device_parts(only, memory.device_budget_bytes);
    }
    if let Some(budget) = memory.host_budget_bytes {
        parts.push(format!("decoding and encoding {}", bytes(budget)));
    }
    if let Some(resident) = memory.resident_bytes {
        parts.push(format!("{} resident", bytes(resident)));
    }
    let mut lines: Vec<String> = (!parts.is_empty())
        .then(|| parts.join(", "))
        .into_iter()
        .collect();
    lines.extend(several.iter().map(one_of_several));
    let only = several.is_empty().then_some(only);
    let buildings = only
        .into_iter()
        .chain(several)
        .filter_map(|device| device.building.as_ref());
    lines.extend(buildings.map(|building| building_line(building, now)));
    lines
}

fn device_parts(device: &DeviceDocument, budget_bytes: Option<u64>) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(name) = &device.device {
        parts.push(format!("device {name}"));
    }
    if let Some(model) = &device.model {
        parts.push(format!("model {model}"));
    }
    if let Some(budget) = budget_bytes {
        parts.push(format!("inference may hold {}", bytes(budget)));
    }
    parts
}

fn one_of_several(device: &DeviceDocument) -> String {
    let number = device.device_id.unwrap_or_default();
    if let Some(reason) = &device.out_of_use {
        return format!("device {number} is out of use: {reason}");
    }
    let parts = device_parts(device, device.budget_bytes);
    if parts.is_empty() {
        return format!("device {number}: no picture yet");
    }
    parts.join(", ")
}

fn building_line(building: &BuildingDocument, now: Timestamp) -> String {
    let since = ago(building.since, now);
    format!("TensorRT builds its engine for {}, begun {since}", building.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_being_built_has_a_line_of_its_own() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let device = |device_id, building: Option<&str>| DeviceDocument {
            device: Some("cuda:0".to_owned()),
            device_id,
            building: building.map(|model| BuildingDocument {
                model: model.to_owned(),
                since: Timestamp::from_second(999_958).unwrap(),
            }),
            ..DeviceDocument::default()
        };
        let memory = MemoryDocument::default();
        let told = "TensorRT builds its engine for span-x4, begun 42 s ago";
        assert_eq!(
            lines(&device(None, Some("span-x4")), &[], &memory, now),
            ["device cuda:0", told]
        );
        assert_eq!(
            lines(
                &device(None, Some("span-x4")),
                &[device(Some(0), Some("span-x4")), device(Some(1), None)],
                &memory,
                now
            ),
            ["device cuda:0", "device cuda:0", told]
        );
    }
}
