//! From samples to mel spectrograms: windows, STFT, mel bands, decibels. Pure mathematics.
