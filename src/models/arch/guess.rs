//! Owns the words about tensors that no network took: which network they are most likely of, and which do not fit.
//! Never decides whether a network is built.

use super::super::error::ImportError;
use super::super::weights::Weights;

/// Names that are listed; the others are counted.
const LISTED: usize = 2;

/// Letters of a name that are shown: names come from strangers.
const NAME_SHOWN: usize = 80;

/// A network that people bring.
struct Known {
    name: &'static str,
    /// Parts of names, each of them in some tensor's, that together tell it from the others.
    parts: &'static [&'static str],
}

const fn known(name: &'static str, parts: &'static [&'static str]) -> Known {
    Known { name, parts }
}

/// The first whose parts are all found is the guess, so those that have more come before those that they grew from.
const KNOWN: &[Known] = &[
    // Not upscalers, or more than one network.
    known("a diffusion checkpoint", &["diffusion_model."]),
    known("a LoRA of a diffusion network", &["lora_"]),
    known("GFPGAN (a network for faces)", &["stylegan_decoder"]),
    known(
        "CodeFormer (a network for faces)",
        &["quantize.embedding.weight", "position_emb"],
    ),
    known(
        "RestoreFormer (a network for faces)",
        &["quantize.embedding.weight"],
    ),
    known(
        "a discriminator (the upscaler is the generator, often named net_g)",
        &["weight_orig", "conv9.weight"],
    ),
    known(
        "a discriminator (the upscaler is the generator, often named net_g)",
        &["conv0_0.weight", "linear1.weight"],
    ),
    // Transformers.
    known("HAT", &["residual_group.overlap_attn."]),
    known("ATD", &["attn_atd."]),
    known("CRAFT", &["residual_group.hf_blocks."]),
    known("SRFormer", &["attn.aligned_bias_table"]),
    known("SRFormer", &["residual_group.blocks.0.attn.q.weight"]),
    known("DRCT", &["swin1.attn.", "adjust1."]),
    known("GRL", &["attn_transform", "norm_start."]),
    known("RGT", &["before_RG.", "blocks.0.gamma"]),
    known("DAT", &["before_RG."]),
    known("Swin2SR", &["residual_group.blocks.0.attn.logit_scale"]),
    known("SwinIR", &["residual_group.blocks.0.attn."]),
    known("OmniSR", &["residual_layer.0.residual_layer."]),
    known("waifu2x swin_unet", &["unet.swin1."]),
    known("SCUNet", &["m_head.0.", "m_tail.0."]),
    known("Uformer", &["encoderlayer_0.blocks."]),
    // Convolutions.
    known("RealPLKSR", &["feats.1.channel_mixer.", "feats.1.norm."]),
    known("PLKSR", &["feats.1.lk."]),
    known("SAFMN", &["safm.mfr."]),
    known("SeemoRe", &["local_block.block.moe_layer."]),
    known("MoSR", &["gblocks.0."]),
    known("MoESR", &["in_to_dim.", "msg.gated."]),
    known("FDAT", &["groups.0.blocks.0.inter."]),
    known("AuraSR", &["mid_block2.block1.proj."]),
    known("RCAN", &["conv_du.0.weight"]),
    known("EDSR", &["head.0.weight", "body.0.body.0.weight", "tail.0."]),
    known("DRUNet", &["m_head.", "m_down1.0.res.", "m_tail."]),
    known("NAFNet", &["middle_blks.0.sca."]),
    known("Swift-SRGAN", &["initial.cnn.depthwise."]),
    known("SRGAN (SRResNet)", &["conv_first.", "body.0.conv1.", "upconv1."]),
    // Those that are built, when they are not quite what they should be.
    known("ESRGAN", &["RDB1.conv1."]),
    known("ESRGAN", &["rdb1.conv1."]),
    known("SPAN", &["c1_r.", "conv_cat."]),
    known(
        "SRVGG Compact",
        &["body.0.weight", "body.1.weight", "body.2.weight"],
    ),
];

/// Why these tensors are refused.
pub fn unknown(weights: &Weights) -> ImportError {
    let names: Vec<&str> = weights.names().collect();
    if names.is_empty() {
        return ImportError::UnknownNetwork("there are none".to_owned());
    }
    let has = |part: &&str| names.iter().any(|name| name.contains(part));
    let guess = KNOWN.iter().find(|known| known.parts.iter().all(has));
    let Some(known) = guess else {
        return ImportError::UnknownNetwork(format!("{} not fit any", listed(&names)));
    };
    let translated = if super::names().any(|name| name == known.name) {
        ""
    } else {
        ", which is not translated"
    };
    // The telling names first.
    let (mut telling, others): (Vec<&str>, Vec<&str>) = names
        .iter()
        .partition(|name| known.parts.iter().any(|part| name.contains(part)));
    telling.extend(others);
    ImportError::UnknownNetwork(format!(
        "closest to {}{translated}; {} not fit",
        known.name,
        listed(&telling)
    ))
}

/// `"a" does`, `"a" and "b" do`, `"a", "b" and 412 more do`.
pub fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(LISTED);
    match (shown.as_slice(), more) {
        ([one], 0) => format!("{one} does"),
        (all, 0) => format!("{} do", all.join(" and ")),
        (all, more) => format!("{} and {more} more do", all.join(", ")),
    }
}

/// On one line and not too long.
fn quoted(name: &str) -> String {
    let cut: String = name.chars().take(NAME_SHOWN).collect();
    let dots = if cut.len() < name.len() { "…" } else { "" };
    format!("{:?}", cut + dots)
}
