//! Owns the names that trainers put around a network: dictionaries such as `params_ema`, and prefixes such as `module.`.
//! Never knows the names inside a network, but that those of the first ESRGAN really begin with `model.`.

/// Dictionaries, or first parts of names, that hold the network to use, the best first. Others may stand beside them:
/// the other half of an adversarial pair, the state of an optimiser.
pub(super) const HOLDERS: [&str; 14] = [
    // The average over the last steps of training is what is published.
    "params_ema",
    "net_g_ema",
    "netG_ema",
    "generator_ema",
    "g_ema",
    "params",
    "net_g",
    "netG",
    "generator",
    "state_dict",
    "model_state_dict",
    "model",
    "weights",
    "net",
];

/// First parts of names that mean something only where all names have them.
const PREFIXES: [&str; 5] = ["module", "_orig_mod", "model", "net", "weights"];

/// Wrappers within wrappers. `state_dict` holding `module.model.` is three.
pub(super) const DEPTH_MAX: usize = 5;

/// What all names of the network begin with; tensors whose names do not are no part of it.
pub(in crate::models) fn prefix<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut prefix = String::new();
    for _ in 0..DEPTH_MAX {
        let inner = names
            .clone()
            .filter_map(|name| name.strip_prefix(prefix.as_str()));
        let Some(part) = wrapper(inner) else {
            break;
        };
        prefix.push_str(part);
        prefix.push('.');
    }
    prefix
}

/// The first part of these names that is a wrapper.
fn wrapper<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let first = names.clone().next()?;
    let inside = |part: &'static str| {
        let names = names.clone();
        names.filter_map(move |name| name.strip_prefix(part)?.strip_prefix('.'))
    };
    let common = |part: &&'static str| {
        let with = first.starts_with(part) && inside(part).count() == names.clone().count();
        // `model.0.weight` and `model.1.sub.0.RDB1.conv1.0.weight` are whole names.
        with && !inside(part).all(|name| name.starts_with(|char: char| char.is_ascii_digit()))
    };
    // Of those that mean something alone, only words that no layer is called by.
    let telling = HOLDERS.iter().filter(|part| !PREFIXES.contains(part));
    telling
        .copied()
        .find(|part| inside(part).next().is_some())
        .or_else(|| PREFIXES.iter().find(|part| common(part)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix_of(names: &[&str]) -> String {
        prefix(names.iter().copied())
    }

    #[test]
    fn names_without_wrappers_stay() {
        assert_eq!(prefix_of(&["conv_first.weight", "body.0.rdb1.conv1.weight"]), "");
        assert_eq!(prefix_of(&["body.0.weight", "body.1.weight"]), "");
        assert_eq!(prefix_of(&[]), "");
        assert_eq!(prefix_of(&["model", "model"]), "");
    }

    #[test]
    fn prefixes_of_all_names_are_taken_off() {
        assert_eq!(prefix_of(&["module.a.weight", "module.b.weight"]), "module.");
        assert_eq!(prefix_of(&["module.a.weight", "b.weight"]), "");
        assert_eq!(prefix_of(&["_orig_mod.module.a.weight"]), "_orig_mod.module.");
        assert_eq!(prefix_of(&["model.conv.weight", "model.body.0.weight"]), "model.");
    }

    /// The first ESRGAN's own names begin with `model.`, and its files may be wrapped once more.
    #[test]
    fn the_first_esrgan_keeps_its_model() {
        let names = [
            "model.0.weight",
            "model.1.sub.0.RDB1.conv1.0.weight",
            "model.10.bias",
        ];
        assert_eq!(prefix_of(&names), "");
        let wrapped = names.map(|name| format!("netG.module.model.{name}"));
        let wrapped: Vec<_> = wrapped.iter().map(String::as_str).collect();
        assert_eq!(prefix_of(&wrapped), "netG.module.model.");
    }

    /// A flat file may hold the average beside the last step, or a critic beside the network.
    #[test]
    fn the_network_is_chosen_among_others() {
        assert_eq!(
            prefix_of(&["params.a.weight", "params_ema.a.weight"]),
            "params_ema."
        );
        assert_eq!(
            prefix_of(&["netD.a.weight", "netG.module.a.weight"]),
            "netG.module."
        );
    }
}
