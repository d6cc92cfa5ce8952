"""Makes the small networks beside it: `python make.py DIRECTORY`. Needs the packages onnx and numpy."""
import os, sys
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper as nh, save, checker

out = sys.argv[1]
F, H = T.FLOAT, T.FLOAT16

def const(name, values, kind=np.float32):
    return nh.from_array(np.asarray(values, dtype=kind), name)

def save_model(name, inputs, outputs, nodes, inits=()):
    graph = h.make_graph(nodes, name, inputs, outputs, list(inits))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], producer_name="upscaled-tests")
    model.ir_version = 8
    checker.check_model(model, full_check=True)
    path = os.path.join(out, name + ".onnx")
    save(model, path)
    print(name, os.path.getsize(path))

def pic(name, c=3, kind=F, n="n", hh="h", ww="w", nhwc=False):
    return h.make_tensor_value_info(name, kind, [n, hh, ww, c] if nhwc else [n, c, hh, ww])

def kernel(c, k=3, groups=True, kind=np.float32):
    """A mild blur of each plane by itself: every weight non-zero, so that its radius is k // 2."""
    w = np.full((k, k), 0.4 / (k * k - 1)); w[k // 2, k // 2] = 0.6
    return const("w", np.broadcast_to(w, (c, 1, k, k)), kind)

def conv(x, y, c, k=3, pad=True, w="w"):
    p = k // 2 if pad else 0
    return h.make_node("Conv", [x, w], [y], kernel_shape=[k, k], pads=[p] * 4, group=c)

def resize(x, y, mode="nearest"):
    extra = dict(coordinate_transformation_mode="asymmetric", nearest_mode="floor") if mode == "nearest" else \
        dict(coordinate_transformation_mode="half_pixel")
    return h.make_node("Resize", [x, "", "s"], [y], mode=mode, **extra)

def scales(f, nhwc=False):
    return const("s", [1, f, f, 1] if nhwc else [1, 1, f, f])

x2 = scales(2)
# Plain ×2, radius 1.
save_model("plain-x2", [pic("x")], [pic("y", hh="h2", ww="w2")], [conv("x", "a", 3), resize("a", "y")], [kernel(3), x2])
# NHWC ×2, radius 1.
save_model("nhwc-x2", [pic("x", nhwc=True)], [pic("y", nhwc=True, hh="h2", ww="w2")],
    [h.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), conv("t", "a", 3), resize("a", "b"),
     h.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1])], [kernel(3), x2])
# One channel ×2, radius 2.
save_model("grey-x2", [pic("x", 1)], [pic("y", 1, hh="h2", ww="w2")], [conv("x", "a", 1, 5), resize("a", "y")], [kernel(1, 5), x2])
# Values of 0 to 255: a gamma curve and a clip, which make no sense in 0..1.
save_model("range255-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [conv("x", "a", 3), h.make_node("Add", ["a", "off"], ["b"]), h.make_node("Round", ["b"], ["c"]),
     h.make_node("Sub", ["c", "off"], ["c2"]), h.make_node("Clip", ["c2", "lo", "hi"], ["d"]), resize("d", "y")],
    [kernel(3), const("off", 8.0), const("lo", 0.0), const("hi", 255.0), x2])
# Half precision in and out.
save_model("half-x2", [pic("x", kind=H)], [pic("y", kind=H, hh="h2", ww="w2")], [conv("x", "a", 3), resize("a", "y")],
    [kernel(3, kind=np.float16), x2])
# Gives 4 pixels less on each side of the input, and takes even sides only (it goes through half the resolution).
save_model("crop4-even-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [h.make_node("SpaceToDepth", ["x"], ["a"], blocksize=2), conv("a", "b", 12, 5, pad=False),
     h.make_node("DepthToSpace", ["b"], ["c"], blocksize=2, mode="DCR"), resize("c", "y")], [kernel(12, 5), x2])
# Pads to multiples of 4 by itself and forgets to cut: runs at every size, right only at multiples of 4.
save_model("silent4-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [h.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1),
     h.make_node("Resize", ["p", "", "s8"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
    [const("s8", [1, 1, 8, 8])])
# One shape only.
save_model("fixed64-x2", [pic("x", n=1, hh=64, ww=64)], [pic("y", n=1, hh=128, ww=128)], [conv("x", "a", 3), resize("a", "y")], [kernel(3), x2])
# ×1.5.
save_model("times1.5", [pic("x")], [pic("y", hh="h2", ww="w2")], [conv("x", "a", 3), resize("a", "y", "linear")], [kernel(3), scales(1.5)])
# ×4/3: sides are multiples of 3.
save_model("times1.33", [pic("x")], [pic("y", hh="h2", ww="w2")], [conv("x", "a", 3),
    h.make_node("Shape", ["a"], ["sh"]), h.make_node("Mul", ["sh", "four"], ["m"]), h.make_node("Div", ["m", "three"], ["d"]),
    h.make_node("Resize", ["a", "", "", "d"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
    [kernel(3), const("four", [1, 1, 4, 4], np.int64), const("three", [1, 1, 3, 3], np.int64)])
# Squeeze and excite: every plane is scaled by a function of its mean.
save_model("squeeze-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [conv("x", "a", 3), h.make_node("GlobalAveragePool", ["a"], ["g"]), h.make_node("Sub", ["g", "half"], ["g2"]),
     h.make_node("Sigmoid", ["g2"], ["e"]), h.make_node("Add", ["e", "half"], ["f"]),
     h.make_node("Mul", ["a", "f"], ["b"]), resize("b", "y")], [kernel(3), const("half", 0.5), x2])
# A radius of 60: too much for a halo.
save_model("wide60-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [h.make_node("Conv", ["x", "wh"], ["a"], kernel_shape=[1, 121], pads=[0, 60, 0, 60], group=3),
     h.make_node("Conv", ["a", "wv"], ["b"], kernel_shape=[121, 1], pads=[60, 0, 60, 0], group=3),
     resize("b", "y")],
    [const("wh", np.where(np.arange(121) == 60, 0.76, 0.002) * np.ones((3, 1, 1, 1))),
     const("wv", (np.where(np.arange(121) == 60, 0.76, 0.002) * np.ones((3, 1, 1, 1))).reshape(3, 1, 121, 1)), x2])
# Has a shape burnt in that its interface does not tell: a batch of one.
save_model("one-by-one-x2", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [h.make_node("Reshape", ["x", "one"], ["r"]), conv("r", "a", 3), resize("a", "y")],
    [kernel(3), x2, const("one", [1, 3, 64, 64], np.int64)])
# No upscalers.
save_model("classifier", [pic("x")], [h.make_tensor_value_info("y", F, ["n", 3])],
    [h.make_node("GlobalAveragePool", ["x"], ["g"]), h.make_node("Flatten", ["g"], ["y"])])
save_model("nan", [pic("x")], [pic("y")], [h.make_node("Neg", ["x"], ["a"]), h.make_node("Sub", ["a", "one"], ["b"]), h.make_node("Sqrt", ["b"], ["y"])], [const("one", 1.0)])
save_model("constant", [pic("x")], [pic("y")], [h.make_node("Mul", ["x", "zero"], ["y"])], [const("zero", 0.0)])
save_model("unlike", [pic("x")], [pic("y")], [h.make_node("Sub", ["one", "x"], ["y"])], [const("one", 1.0)])
save_model("two-inputs", [pic("x"), pic("z")], [pic("y")], [h.make_node("Add", ["x", "z"], ["y"])])
save_model("four-channels", [pic("x", 4)], [pic("y", 4)], [h.make_node("Relu", ["x"], ["y"])])
save_model("rank3", [h.make_tensor_value_info("x", F, [3, "h", "w"])], [h.make_tensor_value_info("y", F, [3, "h", "w"])], [h.make_node("Relu", ["x"], ["y"])])
save_model("bytes", [pic("x", kind=T.UINT8)], [pic("y", kind=T.UINT8)], [h.make_node("Identity", ["x"], ["y"])])
save_model("quarter", [pic("x")], [pic("y", hh="h2", ww="w2")], [h.make_node("AveragePool", ["x"], ["y"], kernel_shape=[4, 4], strides=[4, 4])])
save_model("aspect", [pic("x")], [pic("y", hh="h2", ww="w2")], [resize("x", "y")], [const("s", [1, 1, 2, 4])])
save_model("never", [pic("x")], [pic("y", hh="h2", ww="w2")],
    [h.make_node("Reshape", ["x", "odd"], ["y"])], [const("odd", [1, 3, 7, 11], np.int64)])
save_model("grey-out", [pic("x")], [pic("y", 1)], [h.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)])
