//! Building blocks of networks: convolutions and their gradients, recurrent layers, MusiCNN's
//! front, products of matrices.

pub mod conv;
pub mod conv1;
pub mod lstm;
pub mod musicnn;
pub mod rows;
pub mod simd;
mod team;
pub mod transformer;
