//! Evaluation: metrics, cross-validation of the genre engine beside its rivals, reports and plots.
