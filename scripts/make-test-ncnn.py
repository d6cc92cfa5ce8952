#!/usr/bin/env python3
"""Makes tiny ncnn networks of every layer that is translated, for tests/import_nets.rs.

    pip install ncnn numpy safetensors
    scripts/make-test-ncnn.py [NAME...]

Writes below tests/fixtures/models/ for each network: ncnn-NAME.param and ncnn-NAME.bin, with weights that are random
but the same each time, and ncnn-NAME.pictures.safetensors with an `input` and the `output` that ncnn itself makes of it.
A network is a function with the decorator `net`, which adds layers to a `Net` and gives the blob that is the result.
"""

import sys
from pathlib import Path

import ncnn
import numpy as np
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "models"
NETS = {}

# How weights are stored: in turn, so that most networks mix them.
STORAGES = ["zero", "half", "full", "table"]
HALF, FULL = 0x01306B47, 0x0002C056


def net(name, rows=10, columns=14):
    """Registers a network and the size of the picture that it is tried on, whose sides must differ."""

    def register(make):
        NETS[name] = (make, rows, columns)
        return make

    return register


class Net:
    """A network in the making. Blobs are names."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.lines = []
        self.bin = bytearray()
        self.blobs = 0
        self.stored = 0
        self.taken = {}
        self.input = self.add("Input", [])

    def add(self, kind, inputs, settings="", outputs=1):
        """Adds a layer; gives its blob, or a list of several."""
        made = [f"b{self.blobs + i}" for i in range(outputs)]
        self.blobs += outputs
        inputs = [inputs] if isinstance(inputs, str) else inputs
        for blob in inputs:
            self.taken[blob] = self.taken.get(blob, 0) + 1
        self.lines.append([kind, f"{kind.lower()}{len(self.lines)}", inputs, made, settings])
        return made[0] if outputs == 1 else made

    def plain(self, values):
        self.bin += np.asarray(values, "<f4").tobytes()

    def tagged(self, values, storage=None):
        values = np.asarray(values, np.float32).ravel()
        if storage is None:
            storage = STORAGES[self.stored % len(STORAGES)]
            self.stored += 1
        if storage == "half":
            data = np.uint32(HALF).tobytes() + values.astype("<f2").tobytes()
        elif storage == "table":
            table = np.linspace(values.min(), values.max(), 256, dtype="<f4")
            indices = np.abs(values[:, None] - table).argmin(1).astype(np.uint8)
            data = np.uint32(0x00C0FFEE).tobytes() + table.tobytes() + indices.tobytes()
        else:
            data = np.uint32(FULL if storage == "full" else 0).tobytes() + values.astype("<f4").tobytes()
        self.bin += data + bytes(-len(data) % 4)

    def some(self, *shape):
        return self.random.normal(0, 1, shape)

    def weigh(self, outputs, fan_in, area, storage=None):
        self.tagged(self.some(outputs, fan_in * area) / np.sqrt(fan_in * area), storage)
        self.plain(self.some(outputs) * 0.1)

    def conv(self, x, inputs, outputs, kernel=1, settings="", storage=None, kind="Convolution", groups=1):
        rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weights = outputs * (inputs // groups) * rows * columns
        if groups > 1:
            settings = f"7={groups} {settings}"
        x = self.add(kind, x, f"0={outputs} 1={columns} 11={rows} 5=1 6={weights} {settings}")
        self.weigh(outputs, inputs // groups, rows * columns, storage)
        return x

    def depthwise(self, x, inputs, outputs, groups, kernel, settings=""):
        return self.conv(x, inputs, outputs, kernel, settings, kind="ConvolutionDepthWise", groups=groups)

    def deconv(self, x, inputs, outputs, kernel, settings="", groups=1):
        kind = "Deconvolution" if groups == 1 else "DeconvolutionDepthWise"
        return self.conv(x, inputs, outputs, kernel, settings, kind=kind, groups=groups)

    def inner(self, x, inputs, outputs, settings=""):
        x = self.add("InnerProduct", x, f"0={outputs} 1=1 2={inputs * outputs} {settings}")
        self.weigh(outputs, inputs, 1)
        return x

    def memory(self, *lengths):
        settings = " ".join(f"{id}={length}" for id, length in enumerate(lengths))
        blob = self.add("MemoryData", [], settings)
        self.plain(self.some(int(np.prod(lengths))))
        return blob

    def join(self, branches, channels):
        """One picture of all branches, so that nothing in any of them goes unseen."""
        return self.conv(self.add("Concat", branches), channels * len(branches), 3, storage="zero")

    def write(self, stem):
        """Writes .param and .bin. ncnn wants a Split wherever a blob is taken more than once."""
        uses = {blob: iter(range(count)) for blob, count in self.taken.items() if count > 1}
        lines = []
        blobs = 0
        for kind, name, inputs, made, settings in self.lines:
            inputs = [f"{blob}_{next(uses[blob])}" if blob in uses else blob for blob in inputs]
            parts = [kind, name, len(inputs), len(made), *inputs, *made, *settings.split()]
            lines.append(" ".join(map(str, parts)))
            blobs += len(made)
            for blob in made:
                count = self.taken.get(blob, 0)
                if count > 1:
                    copies = [f"{blob}_{i}" for i in range(count)]
                    lines.append(" ".join(["Split", f"split_{blob}", "1", str(count), blob, *copies]))
                    blobs += count
        text = "\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n"
        stem.with_suffix(".param").write_text(text)
        stem.with_suffix(".bin").write_bytes(self.bin)


@net("storage")
def storage(n):
    """Every way to store weights, with every fused activation."""
    fused = ["", "9=1", "9=2 -23310=1,0.2", "9=3 -23310=2,-0.3,0.4", "9=4", "9=5", "9=6 -23310=2,0.1666667,0.5"]
    x = n.conv(n.input, 3, 5, 3, "4=1", storage="half")
    return n.join([n.conv(x, 5, 3, 3, f"4=1 {how}") for how in fused], 3)


@net("convolution", 12, 16)
def convolution(n):
    x = n.input
    same = [
        n.conv(x, 3, 4, 3, "2=2 4=2"),
        n.conv(x, 3, 4, (3, 5), "4=2 14=1"),
        n.conv(x, 3, 4, (4, 2), "4=0 15=1 14=2 16=1"),
        n.conv(x, 3, 4, 4, "4=-233"),
        n.conv(x, 3, 4, 4, "4=-234"),
        n.conv(x, 3, 4, 3, "4=1 18=0.7"),
    ]
    x = n.conv(n.add("Concat", same), 24, 4)
    half = [
        n.conv(x, 4, 4, 3, "3=2 4=1"),
        n.conv(x, 4, 4, 3, "3=2 4=-233"),
        n.conv(x, 4, 4, 3, "3=2 4=-234"),
        n.depthwise(x, 4, 4, 4, 3, "3=2 4=1"),
        n.depthwise(x, 4, 8, 2, 3, "3=2 4=1 9=1"),
    ]
    x = n.conv(n.add("Concat", half), 24, 12)
    return n.add("PixelShuffle", x, "0=2")


@net("deconvolution", 6, 8)
def deconvolution(n):
    x = n.conv(n.input, 3, 4)
    branches = [
        n.deconv(x, 4, 4, 4, "3=2 4=1"),
        n.deconv(x, 4, 4, 2, "3=2 9=2 -23310=1,0.1"),
        n.deconv(x, 4, 4, 3, "3=2 4=1 18=1"),
        n.deconv(x, 4, 4, (4, 2), "3=2 4=0 14=1"),
        n.deconv(x, 4, 4, 3, "3=2 2=2 4=1 15=2 14=2 16=1"),
        n.deconv(x, 4, 4, 4, "3=2 4=1", groups=4),
        n.deconv(x, 4, 4, 4, "3=2 4=1", groups=2),
    ]
    return n.join(branches, 4)


@net("interp", 8, 12)
def interp(n):
    x = n.input
    twice = [n.add("Interp", x, f"0={kind} 1=2.0 2=2.0 6={corners}") for kind in (1, 2, 3) for corners in (0, 1)]
    larger = [n.add("Interp", x, f"0={kind} 1=1.300000e+00 2=1.37") for kind in (1, 2, 3)]
    larger = [n.add("Interp", y, f"0={kind} 3=16 4=24") for y, kind in zip(larger, (1, 2, 3))]
    target = n.add("Interp", n.add("Interp", x, "0=2 1=0.6 2=0.6"), "0=1 1=4.0 2=4.0")
    target = n.add("Crop", target, "-23309=2,0,0 -23310=2,16,24 -23311=2,1,2")
    to_blob = n.add("Interp", [x, target], "0=3 5=1")
    return n.join([*twice, *larger, target, to_blob], 3)


@net("shuffle", 8, 12)
def shuffle(n):
    x = n.input
    branches = [n.conv(n.add("Reorg", x, f"0=2 1={mode}"), 12, 12, 3, "4=1") for mode in (0, 1)]
    return n.join([n.add("PixelShuffle", x, f"0=2 1={mode}") for x, mode in zip(branches, (0, 1))], 3)


@net("crop", 16, 20)
def crop(n):
    x = n.conv(n.input, 3, 6)
    small = n.conv(x, 6, 3, 5)
    branches = [
        n.add("Crop", n.conv(x, 6, 3), "-23309=2,2,2 -23310=2,-2,-2 -23311=2,-2,-1"),
        n.add("Crop", n.conv(x, 6, 3), "9=2,1 10=14,-3 11=1,2"),
        n.add("Crop", x, "-23309=3,1,4,2 -23310=3,-2,-233,-2"),
        n.add("Crop", x, "0=1 1=3 2=2 3=16 4=12 5=3"),
        n.add("Crop", x, "0=1 1=3 2=2 3=-233 4=-233 5=-233 6=3 7=1 8=1"),
        n.add("Crop", [x, small], "0=2 1=1 2=3"),
        small,
    ]
    return n.join(branches, 3)


@net("padding")
def padding(n):
    x = n.input
    each = n.add("Padding", x, "0=1 1=1 2=1 3=1 6=3")
    n.plain(n.some(3))
    branches = [
        n.conv(n.add("Padding", x, "0=1 1=1 2=1 3=1 4=0 5=0.4"), 3, 3, 3),
        n.conv(n.add("Padding", x, "0=2 1=0 2=2 3=0 4=1"), 3, 3, 3),
        n.conv(n.add("Padding", x, "0=0 1=4 2=3 3=1 4=2"), 3, 3, 5),
        n.conv(n.add("Padding", x, "0=1 1=1 2=1 3=1 5=0.2 7=1 8=2"), 6, 3, 3),
        n.conv(each, 3, 3, 3),
    ]
    return n.join(branches, 3)


@net("pooling", 9, 13)
def pooling(n):
    x = n.conv(n.input, 3, 4)

    def excite(x, pool):
        gate = n.inner(n.add("Pooling", x, pool), 4, 2, "9=1")
        return n.inner(gate, 2, 4, "9=4")

    point = n.add("Pooling", x, "0=1 7=1 8=1")
    vector = n.add("Pooling", x, "0=0 4=1")
    halved = n.add("Pooling", x, "0=0 1=2 2=2")
    more = [
        n.add("Scale", [x, excite(x, "0=1 4=1")], "0=-233"),
        n.add("BinaryOp", [excite(x, "0=0 4=1"), x], "0=2"),
        n.add("BinaryOp", [x, n.conv(point, 4, 4, 1, "9=4")], "0=2"),
        n.add("BinaryOp", [x, n.conv(n.add("Reshape", vector, "0=1 1=1 2=4"), 4, 4)]),
        n.add("BinaryOp", [x, n.inner(n.add("Flatten", point), 4, 4)]),
        n.add("BinaryOp", [x, n.add("Reduction", x, "0=3 1=0 -23303=2,1,2 4=1 5=1")]),
        n.add("BinaryOp", [x, n.add("Reduction", x, "0=4 1=0 -23303=2,-1,-2 4=0 5=1")]),
        n.add("Pooling", x, "0=0 1=3 3=1 5=1"),
        n.add("Pooling", x, "0=1 1=3 3=1 5=1"),
        n.add("Pooling", x, "0=1 1=3 3=1 5=0 6=1"),
        n.add("Pooling", x, "0=0 1=2 5=2"),
        n.add("Crop", [n.add("Interp", halved, "0=1 1=2.0 2=2.0"), x]),
        n.add("Crop", [n.add("Interp", n.add("Pooling", x, "0=1 1=3 2=2 3=1"), "0=1 1=2.0 2=2.0"), x]),
        n.add("Crop", [n.add("Interp", n.add("Pooling", x, "0=0 1=3 2=2 5=2"), "0=1 1=2.0 2=2.0"), x]),
        n.add("Padding", n.add("Interp", n.add("Pooling", x, "0=1 1=3 2=2 5=1"), "0=1 1=2.0 2=2.0"), "1=1 3=1"),
    ]
    return n.join(more, 4)


@net("binary")
def binary(n):
    a = n.conv(n.input, 3, 3, 3, "4=1 9=4")
    b = n.add("BinaryOp", n.conv(n.input, 3, 3, 3, "4=1 9=4"), "0=0 1=1 2=0.5")
    known = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 18]
    branches = [n.add("BinaryOp", [a, b], f"0={kind}") for kind in known]
    branches += [n.add("BinaryOp", a, f"0={kind} 1=1 2=3.700000e-01") for kind in known]
    one = n.conv(n.input, 3, 1, 3, "4=1")
    vector = n.add("Pooling", a, "0=1 4=1")
    branches += [
        n.add("BinaryOp", [n.memory(3), a], "0=1"),
        n.add("BinaryOp", [a, n.memory(1)], "0=3"),
        n.add("BinaryOp", [a, n.memory(1, 1, 3)], "0=1"),
        n.add("BinaryOp", [a, n.memory(1, 3)], "0=1"),
        n.add("BinaryOp", [one, n.memory(1, 1, 3)], "0=2"),
        n.add("BinaryOp", [one, a], "0=7"),
        n.add("BinaryOp", [a, n.add("BinaryOp", [vector, n.memory(3)])], "0=1"),
        n.add("BinaryOp", [a, n.inner(vector, 3, 1)], "0=2"),
    ]
    return n.join(branches, 3)


@net("unary")
def unary(n):
    x = n.add("Clip", n.conv(n.input, 3, 3, 3, "4=1 9=4"), "0=0.1 1=0.9")
    signed = n.conv(n.input, 3, 3, 3, "4=1")
    tame = n.add("BinaryOp", signed, "0=2 1=1 2=3.3")
    positive = [5, 6, 8, 13, 15, 17]
    either = [0, 1, 2, 3, 4, 7, 9, 10, 14, 16, 18, 19, 20, 22, 24]
    branches = [n.add("UnaryOp", x, f"0={kind}") for kind in positive + [11, 12]]
    return n.join(branches + [n.add("UnaryOp", tame, f"0={kind}") for kind in either], 3)


@net("pointwise")
def pointwise(n):
    x = n.conv(n.input, 3, 3, 3, "4=1")
    kinds = [
        ("AbsVal", ""), ("Clip", "0=-0.2 1=0.3"), ("Clip", "1=0.1"), ("Dropout", ""), ("Dropout", "0=0.5"),
        ("ELU", "0=0.7"), ("GELU", ""), ("GELU", "0=1"), ("HardSigmoid", ""), ("HardSwish", "0=1.6e-01 1=0.5"),
        ("Mish", ""), ("Noop", ""), ("Power", "0=2.0 1=0.5 2=0.25"), ("Power", "1=0.5 2=0.25"), ("ReLU", ""),
        ("ReLU", "0=0.1"), ("Sigmoid", ""), ("Softplus", ""), ("Swish", ""), ("TanH", ""),
    ]
    branches = [n.add(kind, x, settings) for kind, settings in kinds]
    for kind, settings, stored in [
        ("PReLU", "0=3", [n.some(3)]),
        ("PReLU", "0=1", [n.some(1)]),
        ("Scale", "0=3", [n.some(3)]),
        ("Scale", "0=3 1=1", [n.some(3), n.some(3)]),
        ("Bias", "0=3", [n.some(3)]),
        ("BatchNorm", "0=3 1=1.000000e-05", [n.some(3), n.some(3), np.abs(n.some(3)), n.some(3)]),
    ]:
        branches.append(n.add(kind, x, settings))
        for values in stored:
            n.plain(values)
    y = n.conv(n.input, 3, 3)
    sums = ["0=0", "0=1", "0=2", "0=1 -23301=3,0.2,1.000000e+00,-0.5"]
    branches += [n.add("Eltwise", [x, y, n.input], settings) for settings in sums]
    return n.join(branches, 3)


@net("slice")
def slice_(n):
    x = n.conv(n.input, 3, 8, 3, "4=1")
    parts = n.add("Slice", x, "-23300=3,3,-233,-233", outputs=3)
    parts = n.add("Concat", [parts[1], parts[0], parts[2]])
    cuts = n.add("Slice", x, "-23302=2,3,-2", outputs=3)
    cuts = n.add("Concat", [cuts[2], cuts[0], cuts[1]], "0=-3")
    rows = n.add("Slice", x, "-23300=2,4,-233 1=1", outputs=2)
    rows = n.add("Concat", rows[::-1], "0=1")
    columns = n.add("Slice", x, "-23302=2,4,9 1=-1", outputs=3)
    columns = n.add("Concat", columns[::-1], "0=2")
    first, second = n.add("Slice", n.add("Pooling", x, "4=1"), "-23300=2,-233,-233", outputs=2)
    vector = n.add("Concat", [second, first])
    return n.join([parts, cuts, rows, columns, n.add("BinaryOp", [x, vector])], 8)


def run(stem, picture):
    """What ncnn makes of a picture, in full precision and without its shortcuts."""
    runtime = ncnn.Net()
    options = runtime.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = options.use_winograd_convolution = False
    runtime.opt = options
    assert runtime.load_param(str(stem.with_suffix(".param"))) == 0
    assert runtime.load_model(str(stem.with_suffix(".bin"))) == 0
    extractor = runtime.create_extractor()
    extractor.input(runtime.input_names()[0], ncnn.Mat(picture))
    failed, output = extractor.extract(runtime.output_names()[-1])
    assert failed == 0
    return np.array(output)


def write(name):
    make, rows, columns = NETS[name]
    stem = FOLDER / f"ncnn-{name}"
    built = Net(sum(name.encode()))
    make(built)
    built.write(stem)
    picture = built.random.random((3, rows, columns), np.float32)
    output = run(stem, picture)
    assert output.shape[0] == 3 and np.isfinite(output).all(), name
    pictures = {"input": picture[None], "output": output[None].astype(np.float32)}
    save_file({key: np.ascontiguousarray(value) for key, value in pictures.items()}, f"{stem}.pictures.safetensors")
    print(f"{name}: {picture.shape} to {output.shape}, values {output.min():.2f} to {output.max():.2f}")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or NETS:
        write(name)


if __name__ == "__main__":
    main()
