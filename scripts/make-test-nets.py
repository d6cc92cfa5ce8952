#!/usr/bin/env python3
"""Makes tiny networks of every kind that can be imported, for tests/import_nets.rs.

    pip install torch spandrel safetensors
    scripts/make-test-nets.py [NAME...]

Writes below tests/fixtures/models/ for each network: its weights, random but the same each time, as NAME.safetensors
or NAME.pth, and NAME.expected.safetensors with an `input` and the `output` that PyTorch makes of it. A network is a
function with the decorator `net` that gives a module, a function from it to the tensors to write, and the input's size
(rows, columns) and channels.
"""

import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "models"
NETS = {}


def net(name, form="safetensors", wrapper=None):
    """Registers a network. form: safetensors, pth (a zip) or legacy (a .pth before PyTorch 1.6)."""

    def register(make):
        NETS[name] = (make, form, wrapper)
        return make

    return register


def randomise(module, last, channels, gain=1.5):
    """Random weights that keep what flows at about the same size, so that no part of a network is too faint to be
    missed. `last`, the convolution of which the output is made, is scaled so that the output is about 0..1 wide."""
    for name, tensor in sorted(module.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        if tensor.dim() >= 2:
            tensor.normal_(0, (gain / tensor[0].numel()) ** 0.5)
        elif name.endswith("bias"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("weight"):
            tensor.uniform_(0.05, 0.5)
    if last is not None:
        spread = module(torch.rand(1, channels, 8, 8)).std()
        last.weight.data /= spread * 3
        last.bias.data /= spread * 3
    return module


def write(name):
    make, form, wrapper = NETS[name]
    torch.manual_seed(sum(name.encode()))
    module, tensors, (rows, columns), channels = make()
    picture = torch.rand(1, channels, rows, columns)
    # Before the tensors are written: a module may merge its branches when it runs.
    output = module(picture)
    tensors = {key: value.detach().clone().contiguous() for key, value in tensors(module).items()}
    save_file({"input": picture, "output": output.contiguous()}, FOLDER / f"{name}.expected.safetensors")
    if form == "safetensors":
        save_file(tensors, FOLDER / f"{name}.safetensors")
    else:
        content = {wrapper: tensors} if wrapper else tensors
        torch.save(content, FOLDER / f"{name}.pth", _use_new_zipfile_serialization=form == "pth")
    print(f"{name}: output {tuple(output.shape)}, {output.min():.2f} to {output.max():.2f}")


# ESRGAN


def esrgan(scale, blocks=1, plus=False, shuffle=None, channels=3):
    from spandrel.architectures.__arch_helpers import block
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    features, growth = 4, 2
    inputs = channels * (shuffle or 1) ** 2
    module = RRDBNet(
        in_nc=inputs,
        out_nc=channels,
        num_filters=features,
        num_blocks=blocks,
        scale=scale,
        plus=plus,
        shuffle_factor=shuffle,
    ).eval()
    for index in range(blocks):
        module.model[1].sub[index] = block.RRDB(nf=features, gc=growth, plus=plus)
    return randomise(module.eval(), module.model[-1], channels)


def renamed(rules):
    """The tensors of a module with ESRGAN's first names under later ones."""

    def rename(name):
        layer, kind = name.rsplit(".", 1)
        for pattern, new in rules:
            if re.fullmatch(pattern, layer):
                return f"{re.sub(pattern, new, layer)}.{kind}"
        return name

    return lambda module: {rename(name): tensor for name, tensor in module.state_dict().items()}


def rules(dense, first, trunk, doubling, fine, last, doublings):
    blocks = r"model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0"
    after = 3 * doublings
    return [
        (blocks, dense),
        (r"model\.0", first),
        (r"model\.1\.sub\.\d+", trunk),
        *[(rf"model\.{3 * number}", f"{doubling}{number}") for number in range(1, doublings + 1)],
        (rf"model\.{after + 2}", fine),
        (rf"model\.{after + 4}", last),
    ]


def body_names(doublings=2):
    return renamed(
        rules(r"body.\1.rdb\2.\3", "conv_first", "conv_body", "conv_up", "conv_hr", "conv_last", doublings)
    )


def trunk_names(doublings):
    return renamed(
        rules(r"RRDB_trunk.\1.RDB\2.\3", "conv_first", "trunk_conv", "upconv", "HRconv", "conv_last", doublings)
    )


def own_names(module):
    return module.state_dict()


@net("esrgan-x4", "pth", "params_ema")
def _():
    return esrgan(4, blocks=2), body_names(), (12, 10), 3


@net("esrgan-first-names-x4", "legacy")
def _():
    return esrgan(4, blocks=2), own_names, (12, 10), 3


@net("esrgan-first-names-x1")
def _():
    return esrgan(1), own_names, (12, 10), 3


@net("esrgan-first-names-x8")
def _():
    return esrgan(8), own_names, (6, 5), 3


@net("esrgan-plus-x4")
def _():
    return esrgan(4, plus=True), own_names, (6, 10), 3


@net("esrgan-trunk-names-x2")
def _():
    return esrgan(2), trunk_names(1), (12, 10), 3


@net("esrgan-unshuffle-x2")
def _():
    return esrgan(4, shuffle=2), body_names(), (12, 10), 3


@net("esrgan-unshuffle-x1")
def _():
    return esrgan(4, shuffle=4), body_names(), (12, 8), 3


@net("esrgan-x8")
def _():
    return esrgan(8), body_names(3), (6, 5), 3


# SRVGG Compact


def compact(scale, convolutions, channels=3):
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    module = SRVGGNetCompact(
        num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=convolutions, upscale=scale
    )
    return randomise(module.eval(), module.body[-1], channels)


@net("compact-x4", "pth", "params")
def _():
    return compact(4, 3), own_names, (12, 10), 3


@net("compact-grey-x2")
def _():
    return compact(2, 2, channels=1), own_names, (12, 10), 1


@net("compact-x1")
def _():
    return compact(1, 4), own_names, (12, 10), 3


# SPAN


def span(scale, norm=True):
    from spandrel.architectures.SPAN.__arch.span import SPAN

    module = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=3, upscale=scale, norm=norm).eval()
    return randomise(module, module.upsampler[0], 3, gain=0.6)


def with_stale_merge(module):
    """The training branches, and what was merged before they were trained further."""
    stale = {name: tensor + 1 for name, tensor in module.state_dict().items() if ".eval_conv." in name}
    return module.state_dict() | stale


def merged_only(module):
    branches = (".sk.", ".conv.")
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not any(branch in name for branch in branches)
    }


@net("span-x4")
def _():
    return span(4), with_stale_merge, (12, 10), 3


@net("span-merged-x2", "pth", "params")
def _():
    return span(2), merged_only, (12, 10), 3


@net("span-no-norm-x4")
def _():
    return span(4, norm=False), merged_only, (12, 10), 3


def main():
    unknown = set(sys.argv[1:]) - set(NETS)
    if unknown:
        sys.exit(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(NETS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name in sys.argv[1:] or NETS:
            write(name)


if __name__ == "__main__":
    main()
