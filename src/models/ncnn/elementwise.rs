//! Owns the layers that compute each value from the values at its place: activations, `UnaryOp`, `BinaryOp`, `Eltwise`.
//! Never changes an image's size.

use super::super::error::ImportError;
use super::super::graph::{Value, float, int};
use super::param::Layer;
use super::translate::{Blob, Layout, Translation, moving};

/// √(2/π), as the fast GELU has it.
const GELU_FAST: f32 = 0.797_884_5;

/// The activation that is fused into a layer, its type in setting 9 and its parameters in setting 10.
pub(super) fn fused_activation(
    t: &mut Translation<'_>,
    layer: &Layer,
    x: Value,
) -> Result<Value, ImportError> {
    let kind = layer.int(9, 0)?;
    let parameters = layer.floats(10)?;
    let g = &mut t.graph;
    Ok(match (kind, parameters.as_slice()) {
        (0, _) => x,
        (1, _) => g.relu(&x),
        (2, [slope, ..]) => g.leaky_relu(&x, *slope),
        (3, [least, most, ..]) => clip(t, &x, *least, *most),
        (4, _) => g.sigmoid(&x),
        (5, _) => mish(t, &x),
        (6, [alpha, beta, ..]) => hard_swish(t, layer, &x, *alpha, *beta)?,
        _ => {
            let count = parameters.len();
            return Err(layer.refused(format!("fused with activation {kind} of {count} parameters")));
        }
    })
}

fn clip(t: &mut Translation<'_>, x: &Value, least: f32, most: f32) -> Value {
    let [least, most] = [least, most].map(|bound| t.graph.scalar(bound));
    t.graph.node("Clip", &[x, &least, &most], Vec::new())
}

fn mish(t: &mut Translation<'_>, x: &Value) -> Value {
    let soft = t.graph.node("Softplus", &[x], Vec::new());
    let gate = t.graph.node("Tanh", &[&soft], Vec::new());
    t.graph.mul(x, &gate)
}

fn hard_sigmoid(
    t: &mut Translation<'_>,
    layer: &Layer,
    x: &Value,
    alpha: f32,
    beta: f32,
) -> Result<Value, ImportError> {
    // A slope that falls would turn the two flat sides round.
    if alpha <= 0.0 {
        return Err(layer.refused("a hard activation that falls"));
    }
    let attributes = vec![float("alpha", alpha), float("beta", beta)];
    Ok(t.graph.node("HardSigmoid", &[x], attributes))
}

fn hard_swish(
    t: &mut Translation<'_>,
    layer: &Layer,
    x: &Value,
    alpha: f32,
    beta: f32,
) -> Result<Value, ImportError> {
    let gate = hard_sigmoid(t, layer, x, alpha, beta)?;
    Ok(t.graph.mul(x, &gate))
}

fn gelu(t: &mut Translation<'_>, x: &Value, fast: bool) -> Value {
    let g = &mut t.graph;
    let gate = if fast {
        let square = g.mul(x, x);
        let cube = g.mul(&square, x);
        let cube = g.scale(&cube, 0.044_715);
        let sum = g.add(x, &cube);
        let sum = g.scale(&sum, GELU_FAST);
        g.node("Tanh", &[&sum], Vec::new())
    } else {
        let scaled = g.scale(x, std::f32::consts::FRAC_1_SQRT_2);
        g.node("Erf", &[&scaled], Vec::new())
    };
    let one = g.scalar(1.0);
    let gate = g.add(&gate, &one);
    let half = g.scale(x, 0.5);
    g.mul(&half, &gate)
}

fn power(t: &mut Translation<'_>, layer: &Layer, x: &Value) -> Result<Value, ImportError> {
    let (power, scale, shift) = (layer.float(0, 1.0)?, layer.float(1, 1.0)?, layer.float(2, 0.0)?);
    let scaled = t.graph.scale(x, scale);
    let shift = t.graph.scalar(shift);
    let sum = t.graph.add(&scaled, &shift);
    if power == 1.0 {
        return Ok(sum);
    }
    let power = t.graph.scalar(power);
    Ok(t.graph.node("Pow", &[&sum, &power], Vec::new()))
}

/// A layer that is one activation. All types that nothing translates end here.
pub(super) fn activation_layer(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let known = [
        "AbsVal",
        "Clip",
        "Dropout",
        "ELU",
        "GELU",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Power",
        "ReLU",
        "Sigmoid",
        "Softplus",
        "Swish",
        "TanH",
    ];
    if !known.contains(&layer.kind.as_str()) {
        return Err(layer.refused(format!("of the type {}", super::param::shown(&layer.kind))));
    }
    let blob = t.one_moving(layer)?;
    let x = &blob.value;
    let value = match layer.kind.as_str() {
        "AbsVal" => t.graph.node("Abs", &[x], Vec::new()),
        "Clip" => {
            let (least, most) = (layer.float(0, f32::MIN)?, layer.float(1, f32::MAX)?);
            clip(t, x, least, most)
        }
        "Dropout" => match layer.float(0, 1.0)? {
            1.0 => x.clone(),
            kept => t.graph.scale(x, kept),
        },
        "ELU" => t
            .graph
            .node("Elu", &[x], vec![float("alpha", layer.float(0, 0.1)?)]),
        "GELU" => gelu(t, x, layer.flag(0)?),
        "HardSigmoid" => hard_sigmoid(t, layer, x, layer.float(0, 0.2)?, layer.float(1, 0.5)?)?,
        "HardSwish" => hard_swish(t, layer, x, layer.float(0, 0.2)?, layer.float(1, 0.5)?)?,
        "Mish" => mish(t, x),
        "Power" => power(t, layer, x)?,
        "ReLU" => match layer.float(0, 0.0)? {
            0.0 => t.graph.relu(x),
            slope => t.graph.leaky_relu(x, slope),
        },
        "Sigmoid" => t.graph.sigmoid(x),
        "Softplus" => t.graph.node("Softplus", &[x], Vec::new()),
        "Swish" => t.graph.silu(x),
        _ => t.graph.node("Tanh", &[x], Vec::new()),
    };
    Ok(blob.with(value))
}

/// Operators of `UnaryOp` that ONNX has under one name, by ncnn's numbers.
const UNARY: [(i64, &str); 19] = [
    (0, "Abs"),
    (1, "Neg"),
    (2, "Floor"),
    (3, "Ceil"),
    (5, "Sqrt"),
    (7, "Exp"),
    (8, "Log"),
    (9, "Sin"),
    (10, "Cos"),
    (11, "Tan"),
    (12, "Asin"),
    (13, "Acos"),
    (14, "Atan"),
    (15, "Reciprocal"),
    (16, "Tanh"),
    (18, "Round"),
    (20, "Sign"),
    (22, "Sinh"),
    (24, "Cosh"),
];

/// `UnaryOp`.
pub(super) fn unary(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    let (x, g) = (&blob.value, &mut t.graph);
    let operation = layer.int(0, 0)?;
    let value = match operation {
        4 => g.mul(x, x),
        6 => {
            let root = g.node("Sqrt", &[x], Vec::new());
            g.node("Reciprocal", &[&root], Vec::new())
        }
        17 => {
            let log = g.node("Log", &[x], Vec::new());
            g.scale(&log, std::f32::consts::LOG10_E)
        }
        19 => {
            let [sign, size] = ["Sign", "Abs"].map(|operator| g.node(operator, &[x], Vec::new()));
            let whole = g.node("Floor", &[&size], Vec::new());
            g.mul(&sign, &whole)
        }
        _ => match UNARY.iter().find(|(known, _)| *known == operation) {
            Some((_, operator)) => g.node(operator, &[x], Vec::new()),
            None => return Err(layer.refused(format!("the UnaryOp {operation}"))),
        },
    };
    Ok(blob.with(value))
}

/// `BinaryOp` of two blobs, or of one and a number.
pub(super) fn binary(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let operation = layer.int(0, 0)?;
    if layer.flag(1)? {
        let blob = t.one_moving(layer)?;
        let number = t.graph.scalar(layer.float(2, 0.0)?);
        let value = operate(t, layer, operation, &blob.value, &number)?;
        return Ok(blob.with(value));
    }
    let [a, b] = t.two(layer)?;
    let (layout, channels) = broadcast(layer, &a, &b)?;
    let value = operate(t, layer, operation, &a.value, &b.value)?;
    Ok(Blob {
        value,
        layout,
        channels,
    })
}

/// The axes of what two blobs give. Rows and columns are as ONNX has them, so only channels are looked at.
fn broadcast(layer: &Layer, a: &Blob, b: &Blob) -> Result<(Layout, usize), ImportError> {
    use Layout::{Constant, Image, Pixel, Vector};
    let layout = match (a.layout, b.layout) {
        (Constant(_), Constant(_)) => return Err(layer.refused("a BinaryOp of constants")),
        (Vector, Constant(2..)) | (Constant(2..), Vector) => {
            return Err(layer.refused("a BinaryOp of a vector and an image of constants"));
        }
        (Image, _) | (_, Image) => Image,
        // Constants may have more pixels than the one that they meet.
        (Pixel, Constant(2..)) | (Constant(2..), Pixel) => Image,
        (Pixel, _) | (_, Pixel) => Pixel,
        (Vector, _) | (Constant(_), Vector) => Vector,
    };
    let channels = a.channels.max(b.channels);
    let flat = |blob: &Blob| matches!(blob.layout, Vector | Constant(1));
    for (blob, other) in [(a, b), (b, a)] {
        // ncnn lays a vector that is not as long as there are channels along the columns.
        if flat(blob) && !flat(other) && blob.channels != 1 && blob.channels != other.channels {
            return Err(layer.refused("a BinaryOp of a vector along the columns"));
        }
        if blob.channels != 1 && blob.channels != channels {
            return Err(layer.damaged(format_args!("joins {} and {} channels", a.channels, b.channels)));
        }
    }
    Ok((layout, channels))
}

/// `a` and `b` joined by the operation of ncnn's number.
fn operate(
    t: &mut Translation<'_>,
    layer: &Layer,
    operation: i64,
    a: &Value,
    b: &Value,
) -> Result<Value, ImportError> {
    let g = &mut t.graph;
    let plain = |operator| (operator, [a, b]);
    let turned = |operator| (operator, [b, a]);
    let (operator, sides) = match operation {
        0 => plain("Add"),
        1 => plain("Sub"),
        2 => plain("Mul"),
        3 => plain("Div"),
        4 => plain("Max"),
        5 => plain("Min"),
        6 => plain("Pow"),
        7 => turned("Sub"),
        8 => turned("Div"),
        9 => turned("Pow"),
        12 => return Ok(g.node("Mod", &[a, b], vec![int("fmod", 1)])),
        13 => return Ok(g.node("Mod", &[b, a], vec![int("fmod", 1)])),
        15 | 16 => {
            let sides = if operation == 15 { [a, b] } else { [b, a] };
            let quotient = g.node("Div", &sides, Vec::new());
            return Ok(g.node("Floor", &[&quotient], Vec::new()));
        }
        17 | 18 => {
            let [x, y] = if operation == 17 { [a, b] } else { [b, a] };
            let quotient = g.node("Div", &[x, y], Vec::new());
            // ONNX rounds halves to even, as C's remainder does.
            let whole = g.node("Round", &[&quotient], Vec::new());
            let multiple = g.mul(&whole, y);
            return Ok(g.sub(x, &multiple));
        }
        _ => return Err(layer.refused(format!("the BinaryOp {operation}"))),
    };
    Ok(g.node(operator, &sides, Vec::new()))
}

/// `Eltwise`: the product, the weighted sum or the maximum of blobs of one shape.
pub(super) fn eltwise(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blobs: Vec<Blob> = t.inputs(layer)?.into_iter().cloned().collect();
    let [first, others @ ..] = blobs.as_slice() else {
        return Err(layer.damaged("takes nothing"));
    };
    if others.is_empty() {
        return Err(layer.damaged("takes 1 blob where 2 make sense"));
    }
    for other in &blobs {
        moving(layer, other)?;
        if other.channels != first.channels || other.layout != first.layout {
            return Err(layer.refused("an Eltwise of different shapes"));
        }
    }
    let (operator, factors) = match layer.int(0, 0)? {
        0 => ("Mul", Vec::new()),
        1 => ("Add", layer.floats(1)?),
        2 => ("Max", Vec::new()),
        other => return Err(layer.refused(format!("the Eltwise {other}"))),
    };
    if !factors.is_empty() && factors.len() != blobs.len() {
        return Err(layer.damaged(format_args!(
            "has {} factors for {} blobs",
            factors.len(),
            blobs.len()
        )));
    }
    let mut terms = blobs.iter().enumerate().map(|(at, blob)| match factors.get(at) {
        None | Some(1.0) => blob.value.clone(),
        Some(factor) => t.graph.scale(&blob.value, *factor),
    });
    let mut joined = terms.next().unwrap_or_else(|| first.value.clone());
    let terms: Vec<Value> = terms.collect();
    for term in &terms {
        joined = t.graph.node(operator, &[&joined, term], Vec::new());
    }
    Ok(first.with(joined))
}
