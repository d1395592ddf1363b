//! The rules against a gateway made of a few vectors.

mod gateway;
mod rules;
mod storm;
