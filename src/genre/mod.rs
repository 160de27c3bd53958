//! Genre: labels, neighbours that vote, the trained head, their fusion and calibration.
