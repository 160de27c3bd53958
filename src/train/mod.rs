//! Training: data sets, splits, augmentation, fitting.
