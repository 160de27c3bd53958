//! Joins the parts: add, search, classify.
