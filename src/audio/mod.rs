//! From a file to mono samples: decoding, resampling, tags.
