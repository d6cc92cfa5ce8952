//! Owns the way through a model to every node and tensor that ONNX Runtime would load: the graph, the graphs inside
//! nodes (`If`, `Loop`, `Scan`) and the functions. Never looks at what it finds.
//!
//! Graphs of training are left out: inference does not load them.

use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// What a model consists of, wherever it stands.
#[derive(Default)]
pub(super) struct Parts<'a> {
    /// All nodes, an outer one before those in its graphs.
    pub(super) nodes: Vec<&'a NodeProto>,
    /// All tensors: weights, and the values of attributes.
    pub(super) tensors: Vec<&'a TensorProto>,
}

impl<'a> Parts<'a> {
    /// Everything in the model. Depth is bounded by the decoder.
    pub(super) fn of(model: &'a ModelProto) -> Self {
        let mut parts = Self::default();
        model.graph.iter().for_each(|graph| parts.graph(graph));
        for function in &model.functions {
            parts.nodes(&function.node);
            parts.attributes(&function.attribute_proto);
        }
        parts
    }

    /// Everything in these nodes.
    pub(super) fn of_nodes(nodes: &'a [NodeProto]) -> Self {
        let mut parts = Self::default();
        parts.nodes(nodes);
        parts
    }

    fn graph(&mut self, graph: &'a GraphProto) {
        self.tensors.extend(&graph.initializer);
        graph
            .sparse_initializer
            .iter()
            .for_each(|sparse| self.sparse(sparse));
        self.nodes(&graph.node);
    }

    fn nodes(&mut self, nodes: &'a [NodeProto]) {
        for node in nodes {
            self.nodes.push(node);
            self.attributes(&node.attribute);
        }
    }

    fn attributes(&mut self, attributes: &'a [AttributeProto]) {
        for attribute in attributes {
            self.tensors.extend(attribute.t.as_deref());
            self.tensors.extend(&attribute.tensors);
            let sparse = attribute.sparse_tensor.as_deref().into_iter();
            sparse
                .chain(&attribute.sparse_tensors)
                .for_each(|sparse| self.sparse(sparse));
            let graphs = attribute.g.as_deref().into_iter();
            graphs
                .chain(&attribute.graphs)
                .for_each(|graph| self.graph(graph));
        }
    }

    fn sparse(&mut self, sparse: &'a SparseTensorProto) {
        self.tensors.extend(&sparse.values);
        self.tensors.extend(&sparse.indices);
    }
}

/// All tensors of a model, to be changed: those of [`Parts::tensors`].
pub(super) fn tensors_mut(model: &mut ModelProto) -> Vec<&mut TensorProto> {
    let mut found = Vec::new();
    model
        .graph
        .iter_mut()
        .for_each(|graph| graph_mut(graph, &mut found));
    for function in &mut model.functions {
        function
            .node
            .iter_mut()
            .for_each(|node| attributes_mut(&mut node.attribute, &mut found));
        attributes_mut(&mut function.attribute_proto, &mut found);
    }
    found
}

fn graph_mut<'a>(graph: &'a mut GraphProto, found: &mut Vec<&'a mut TensorProto>) {
    found.extend(&mut graph.initializer);
    graph
        .sparse_initializer
        .iter_mut()
        .for_each(|sparse| sparse_mut(sparse, found));
    graph
        .node
        .iter_mut()
        .for_each(|node| attributes_mut(&mut node.attribute, found));
}

fn attributes_mut<'a>(attributes: &'a mut [AttributeProto], found: &mut Vec<&'a mut TensorProto>) {
    for attribute in attributes {
        found.extend(attribute.t.as_deref_mut());
        found.extend(&mut attribute.tensors);
        let sparse = attribute.sparse_tensor.as_deref_mut().into_iter();
        sparse
            .chain(&mut attribute.sparse_tensors)
            .for_each(|sparse| sparse_mut(sparse, found));
        let graphs = attribute.g.as_deref_mut().into_iter();
        graphs
            .chain(&mut attribute.graphs)
            .for_each(|graph| graph_mut(graph, found));
    }
}

fn sparse_mut<'a>(sparse: &'a mut SparseTensorProto, found: &mut Vec<&'a mut TensorProto>) {
    found.extend(&mut sparse.values);
    found.extend(&mut sparse.indices);
}
