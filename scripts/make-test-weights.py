#!/usr/bin/env python3
"""Makes tests/fixtures/models/pth-*.pth and st-*.safetensors: `scripts/make-test-weights.py [DIRECTORY]`.

Needs the packages torch, numpy and safetensors; only whoever changes the files runs it. All hold the same small tensors,
whose values are exact in every precision, so that a test can tell each of them:
`a.weight` (2 x 3 x 1 x 1) counts from -3, `a.bias` (2) is 0.5 and -1.25, `n` is the whole number 7.
"""

import collections
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file


def tensors(kind=torch.float32):
    weight = (torch.arange(6, dtype=torch.float32) - 3).reshape(2, 3, 1, 1)
    return collections.OrderedDict(
        [("a.weight", weight.to(kind)), ("a.bias", torch.tensor([0.5, -1.25]).to(kind)), ("n", torch.tensor(7))]
    )


def renamed(prefix):
    return collections.OrderedDict((prefix + name, value) for name, value in tensors().items())


class Net(torch.nn.Module):
    """Its state_dict has the attribute _metadata."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Conv2d(3, 2, 1)
        self.register_buffer("n", torch.tensor(7))
        self.load_state_dict(tensors())


def shared():
    """One storage for all; the weight is transposed, so that its values do not follow one another."""
    storage = torch.tensor([9.0, -3.0, 0.0, -2.0, 1.0, -1.0, 2.0, 0.5, -1.25])
    weight = storage.as_strided((2, 3, 1, 1), (1, 2, 1, 1), 1)
    return {"a.weight": weight, "a.bias": storage[7:], "n": torch.tensor(7)}


def parameters():
    return {name: torch.nn.Parameter(value, requires_grad=value.is_floating_point()) for name, value in tensors().items()}


def checkpoint():
    """What trainers save beside the network: counters, an optimiser, and the weights before they were averaged."""
    old = {name: value * 0 for name, value in tensors().items()}
    state = {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}
    return {
        "epoch": 3,
        "best": numpy.float64(31.5),
        "optimizer": {"state": state, "param_groups": [{"lr": 2e-4, "betas": (0.9, 0.99), "params": [0]}]},
        "params": old,
        "params_ema": {"module." + name: value for name, value in tensors().items()},
        "big": 1 << 80,
        "none": None,
        "device": torch.device("cpu"),
        "kind": torch.float32,
        "size": torch.Size([1, 2]),
    }


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "tests/fixtures/models")
    out.mkdir(parents=True, exist_ok=True)

    def save(name, value, **settings):
        torch.save(value, out / f"pth-{name}.pth", **settings)

    save("zip", tensors())
    save("legacy", tensors(), _use_new_zipfile_serialization=False)
    save("protocol4", tensors(), pickle_protocol=4)
    save("module", Net().state_dict())
    save("half", tensors(torch.float16))
    save("bfloat", tensors(torch.bfloat16))
    save("double", tensors(torch.float64))
    save("shared", shared())
    save("shared-legacy", shared(), _use_new_zipfile_serialization=False)
    save("parameters", parameters())
    save("checkpoint", checkpoint())
    save("checkpoint-legacy", checkpoint(), _use_new_zipfile_serialization=False)
    save("flag", {**tensors(), "pro": True, "epoch": 7})
    save("nested", {"state_dict": {"model": renamed("netG.module.")}})
    # Refused: a whole module is code, and so is TorchScript.
    torch.save(torch.nn.PReLU(), out / "pth-code.pth")
    torch.jit.script(torch.nn.PReLU()).save(out / "pth-script.pth")

    save_file(tensors(), out / "st-plain.safetensors", metadata={"format": "pt"})
    save_file(tensors(torch.float16), out / "st-half.safetensors")
    save_file(tensors(torch.bfloat16), out / "st-bfloat.safetensors")
    both = {f"params.{name}": value * 0 for name, value in tensors().items()}
    both |= {f"params_ema.{name}": value for name, value in tensors().items()}
    save_file(both, out / "st-both.safetensors")
    for path in sorted([*out.glob("pth-*"), *out.glob("st-*")]):
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
