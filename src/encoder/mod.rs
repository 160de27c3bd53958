//! From mel spectrograms to embeddings: the networks, their weights, devices and pooling.

pub mod conv;
