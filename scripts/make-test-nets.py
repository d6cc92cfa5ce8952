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


def randomise(module, last, channels, gain=1.5, size=(8, 8)):
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
        spread = module(torch.rand(1, channels, *size)).std()
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


# UpCunet: RealCUGAN and waifu2x's cunet. The known modules have one width, which is too large for a test, and pad their
# input; these have the same names.


class Squeeze(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, max(channels // 8, 1), 1)
        self.conv2 = nn.Conv2d(max(channels // 8, 1), channels, 1)

    def forward(self, x):
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.conv2(torch.relu(self.conv1(means))))


class TwoConvs(nn.Module):
    def __init__(self, inputs, middle, outputs, squeeze=True):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, middle, 3), nn.LeakyReLU(0.1), nn.Conv2d(middle, outputs, 3), nn.LeakyReLU(0.1)
        )
        if squeeze:
            self.seblock = Squeeze(outputs)

    def forward(self, x):
        x = self.conv(x)
        return self.seblock(x) if hasattr(self, "seblock") else x


def leaky(x):
    return nn.functional.leaky_relu(x, 0.1)


def cut(x, pixels):
    return x[:, :, pixels:-pixels, pixels:-pixels]


class FirstUnet(nn.Module):
    def __init__(self, inputs, outputs, scale):
        super().__init__()
        self.conv1 = TwoConvs(inputs, 3, 4, squeeze=False)
        self.conv1_down = nn.Conv2d(4, 4, 2, 2)
        self.conv2 = TwoConvs(4, 8, 4)
        self.conv2_up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.conv3 = nn.Conv2d(4, 4, 3)
        self.conv_bottom = {
            1: lambda: nn.Conv2d(4, outputs, 3),
            2: lambda: nn.ConvTranspose2d(4, outputs, 4, 2, 3),
            3: lambda: nn.ConvTranspose2d(4, outputs, 5, 3, 2),
        }[scale]()

    def forward(self, x):
        across = self.conv1(x)
        x = self.conv2(leaky(self.conv1_down(across)))
        x = cut(across, 4) + leaky(self.conv2_up(x))
        return self.conv_bottom(leaky(self.conv3(x)))


class SecondUnet(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = TwoConvs(channels, 3, 4, squeeze=False)
        self.conv1_down = nn.Conv2d(4, 4, 2, 2)
        self.conv2 = TwoConvs(4, 4, 8)
        self.conv2_down = nn.Conv2d(8, 8, 2, 2)
        self.conv3 = TwoConvs(8, 10, 8)
        self.conv3_up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.conv4 = TwoConvs(8, 4, 4)
        self.conv4_up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.conv5 = nn.Conv2d(4, 4, 3)
        self.conv_bottom = nn.Conv2d(4, channels, 3)

    def forward(self, x):
        high = self.conv1(x)
        middle = self.conv2(leaky(self.conv1_down(high)))
        low = self.conv3(leaky(self.conv2_down(middle)))
        middle = self.conv4(cut(middle, 4) + leaky(self.conv3_up(low)))
        high = cut(high, 16) + leaky(self.conv4_up(middle))
        return self.conv_bottom(leaky(self.conv5(high)))


class Cunet(nn.Module):
    """shuffle: the net's last step is a pixel shuffle, as of the x4 and the fast one."""

    def __init__(self, scale, shuffle=False, fast=False, pro=False):
        super().__init__()
        self.shuffle, self.fast, self.pro_range = shuffle, fast, pro
        middle = 5 if shuffle else 3
        self.unet1 = FirstUnet(12 if fast else 3, middle, scale)
        self.unet2 = SecondUnet(middle)
        if shuffle:
            self.conv_final = nn.Conv2d(middle, 12, 3)
        if pro:
            self.register_buffer("pro", torch.zeros(1))

    def forward(self, picture):
        if self.pro_range:
            picture = picture * 0.7 + 0.15
        x = nn.functional.pixel_unshuffle(picture, 2) if self.fast else picture
        first = self.unet1(x)
        x = self.unet2(first) + cut(first, 20)
        if self.shuffle:
            x = nn.functional.pixel_shuffle(cut(self.conv_final(x), 1), 2)
            margin, times = (38, 2) if self.fast else (19, 4)
            x = x + nn.functional.interpolate(cut(picture, margin), scale_factor=times, mode="nearest")
        return (x - 0.15) / 0.7 if self.pro_range else x


def cunet(rows, columns, *sizes, **kinds):
    module = Cunet(*sizes, **kinds).eval()
    return randomise(module, module.unet2.conv_bottom, 3, size=(rows, columns)), own_names, (rows, columns), 3


@net("upcunet-x2")
def _():
    return cunet(40, 44, 2)


@net("upcunet-pro-x2", "pth")
def _():
    return cunet(40, 44, 2, pro=True)


@net("upcunet-x3")
def _():
    return cunet(36, 32, 3)


@net("upcunet-x4")
def _():
    return cunet(42, 44, 2, shuffle=True)


@net("upcunet-pro-x4")
def _():
    return cunet(42, 44, 2, shuffle=True, pro=True)


@net("upcunet-fast-x2")
def _():
    return cunet(80, 84, 2, shuffle=True, fast=True)


@net("cunet-x1")
def _():
    return cunet(60, 64, 1)


# waifu2x


def waifu2x(widths, scale):
    layers = []
    for inputs, outputs in zip(widths, widths[1:-1]):
        layers += [nn.Conv2d(inputs, outputs, 3), nn.LeakyReLU(0.1)]
    last = nn.ConvTranspose2d(widths[-2], 3, 4, 2, 3) if scale == 2 else nn.Conv2d(widths[-2], 3, 3)
    module = nn.Sequential(*layers, last).eval()
    return randomise(module, last, 3, size=(20, 20))


def prefixed(prefix):
    return lambda module: {prefix + name: tensor for name, tensor in module.state_dict().items()}


@net("upconv-7-x2", "pth", "state_dict")
def _():
    return waifu2x([3, 2, 4, 4, 6, 6, 8, 3], 2), prefixed("net."), (20, 22), 3


@net("upconv-7-port-x2")
def _():
    return waifu2x([3, 2, 4, 4, 6, 6, 8, 3], 2), prefixed("Sequential."), (20, 22), 3


@net("vgg-7-x1")
def _():
    return waifu2x([3, 4, 4, 4, 4, 6, 6, 3], 1), prefixed("net."), (20, 22), 3


# Transformers. Their weights are written in half precision, so that the files are small.


def halved(module):
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in module.state_dict().items()
    }


def transformer(module, last, channels=3, size=(16, 16)):
    """A module whose weights are what half precision leaves of random ones."""
    buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
    module = randomise(module.eval(), None, channels)
    for name, tensor in module.state_dict().items():
        if name.endswith("temperature"):
            tensor.uniform_(1, 2)
        if name.endswith("rpe_biases") or ".attn_mask" in name:
            # No weights, but what follows from the window.
            tensor.copy_(buffers[name])
    spread = module(torch.rand(1, channels, *size)).std()
    last.weight.data /= spread * 3
    last.bias.data /= spread * 3
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    return module


def swinir(upsampler, scale, window=4, resi="1conv", channels=3):
    from spandrel.architectures.SwinIR.__arch.SwinIR import SwinIR

    module = SwinIR(
        img_size=2 * window,
        in_chans=channels,
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=window,
        mlp_ratio=2,
        upscale=scale,
        img_range=255.0 if window == 7 else 1.0,
        upsampler=upsampler,
        resi_connection=resi,
    )
    if upsampler in ("pixelshuffle", "nearest+conv"):
        narrow(module, scale, channels)
    last = module.upsample[0] if upsampler == "pixelshuffledirect" else module.conv_last
    return transformer(module, last, channels)


def narrow(module, scale, channels):
    """Enlarges in 6 features instead of 64, which the module has built in."""
    conv = lambda inputs, outputs: nn.Conv2d(inputs, outputs, 3, padding=1)
    module.conv_before_upsample[0] = conv(8, 6)
    if hasattr(module, "conv_hr"):
        module.conv_up1, module.conv_up2, module.conv_hr = conv(6, 6), conv(6, 6), conv(6, 6)
    else:
        module.upsample = nn.Sequential(conv(6, 6 * scale**2), nn.PixelShuffle(scale))
    module.conv_last = conv(6, channels)


@net("swinir-x2")
def _():
    return swinir("pixelshuffle", 2), halved, (8, 12), 3


@net("swinir-light-x3", "pth", "params")
def _():
    return swinir("pixelshuffledirect", 3), halved, (8, 12), 3


@net("swinir-real-x4", "pth", "params_ema")
def _():
    return swinir("nearest+conv", 4, resi="3conv"), halved, (4, 8), 3


@net("swinir-jpeg-x1")
def _():
    return swinir("", 1, window=7), halved, (12, 16), 3


@net("swinir-grey-x1")
def _():
    return swinir("", 1, channels=1), halved, (8, 12), 1


@net("hat-x2")
def _():
    from spandrel.architectures.HAT.__arch.HAT import HAT

    module = HAT(
        img_size=8,
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=4,
        compress_ratio=2,
        squeeze_factor=4,
        overlap_ratio=0.5,
        mlp_ratio=2,
        upscale=2,
        num_feat=8,
    )
    return transformer(module, module.conv_last), halved, (8, 12), 3


@net("omnisr-x2")
def _():
    from spandrel.architectures.OmniSR.__arch.OmniSR import OmniSR

    module = OmniSR(num_feat=8, block_num=1, window_size=4, res_num=1, up_scale=2)
    return transformer(module, module.up[0]), halved, (16, 20), 3


@net("dat-x2")
def _():
    from spandrel.architectures.DAT.__arch.DAT import DAT

    module = DAT(
        img_size=8,
        embed_dim=32,
        split_size=[2, 4],
        depth=[1, 2],
        num_heads=[2, 2],
        expansion_factor=1,
        upscale=2,
        resi_connection="3conv",
        upsampler="pixelshuffledirect",
    )
    return transformer(module, module.upsample[0]), halved, (8, 12), 3


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
