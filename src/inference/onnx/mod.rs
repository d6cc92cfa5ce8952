//! Owns the reading and rewriting of ONNX files, without ONNX Runtime. Never runs one.

pub mod proto;
