//! Names and shapes of every network's tensors, as their weights files have them.

use super::Architecture;
use super::architecture::{VGG_PENULTIMATE, VGG_TAGS};
use voisin_kernels::musicnn;

/// Channels of OpenL3 before and after each of the eight convolutions, as published. A network may
/// be narrower.
pub(crate) const OPENL3_CHANNELS: [usize; 9] = [1, 64, 64, 128, 128, 256, 256, 512, 512];

/// Filters of every convolution of the VGG.
pub(crate) const VGG_CHANNELS: usize = 128;
/// Names of the VGG's convolutions.
pub(crate) const VGG_CONVOLUTIONS: [&str; 5] = ["1CNN", "2CNN", "3CNN", "4CNN", "5CNN"];

/// Name of the VGG's batch norm `i`: of the input, then of each convolution.
pub(crate) fn vgg_norm(i: usize) -> String {
    if i == 0 {
        "batch_normalization".to_owned()
    } else {
        format!("batch_normalization_{i}")
    }
}

impl Architecture {
    /// Name and shape of every tensor of the architecture; none of [`Layers`](Self::Layers) and [`Clap`](Self::Clap), which
    /// only a manifest knows.
    pub fn tensors(self) -> Vec<(String, Vec<usize>)> {
        let mut list = Vec::new();
        let mut add = |name: String, shape: &[usize]| list.push((name, shape.to_vec()));
        let norms: Vec<(String, usize)> = match self {
            Self::Layers | Self::Clap => return list,
            Self::OpenL3 => return openl3_tensors(&OPENL3_CHANNELS),
            Self::Musicnn => return musicnn_tensors(false),
            Self::Vgg => {
                let channels = VGG_CHANNELS;
                for (i, name) in VGG_CONVOLUTIONS.iter().enumerate() {
                    add(
                        format!("{name}.weight"),
                        &[channels, if i == 0 { 1 } else { channels }, 3, 3],
                    );
                    add(format!("{name}.bias"), &[channels]);
                }
                add("dense.weight".to_owned(), &[VGG_TAGS, VGG_PENULTIMATE]);
                add("dense.bias".to_owned(), &[VGG_TAGS]);
                (0..6)
                    .map(|i| (vgg_norm(i), if i == 0 { 1 } else { channels }))
                    .collect()
            }
        };
        list.extend(norm_tensors(norms));
        list
    }
}

/// Tensors of a MusiCNN whose temporal kernels hear every band, or their mean.
pub(super) fn musicnn_tensors(hears_mean: bool) -> Vec<(String, Vec<usize>)> {
    let mut list = Vec::new();
    for layer in musicnn::convolutions(hears_mean) {
        list.push((format!("{}.weight", layer.name), layer.shape.to_vec()));
        list.push((format!("{}.bias", layer.name), layer.shape[..1].to_vec()));
    }
    for (name, outputs, inputs) in musicnn::DENSE {
        list.push((format!("{name}.weight"), vec![outputs, inputs]));
        list.push((format!("{name}.bias"), vec![outputs]));
    }
    list.extend(norm_tensors(
        musicnn::NORMS.map(|(name, channels)| (name.to_owned(), channels)),
    ));
    list
}

/// Name of OpenL3's convolution `i` of 0 to 7.
pub(super) fn openl3_layer(i: usize) -> String {
    if i == 7 {
        "audio_embedding_layer".to_owned()
    } else {
        format!("conv2d_{}", i + 1)
    }
}

/// Tensors of an OpenL3-shaped network with these channels before and after each convolution.
pub(super) fn openl3_tensors(channels: &[usize; 9]) -> Vec<(String, Vec<usize>)> {
    let mut list = Vec::new();
    for (i, pair) in channels.windows(2).enumerate() {
        let name = openl3_layer(i);
        list.push((format!("{name}.weight"), vec![pair[1], pair[0], 3, 3]));
        list.push((format!("{name}.bias"), vec![pair[1]]));
    }
    let norms = channels[..8].iter().enumerate();
    list.extend(norm_tensors(
        norms.map(|(i, &c)| (format!("batch_normalization_{}", i + 1), c)),
    ));
    list
}

/// The four tensors of each batch norm.
fn norm_tensors(
    norms: impl IntoIterator<Item = (String, usize)>,
) -> impl Iterator<Item = (String, Vec<usize>)> {
    norms.into_iter().flat_map(|(name, channels)| {
        ["weight", "bias", "running_mean", "running_var"]
            .map(|field| (format!("{name}.{field}"), vec![channels]))
    })
}
