//! The pure part of the HTTP mapping (PROTOCOL §9).
