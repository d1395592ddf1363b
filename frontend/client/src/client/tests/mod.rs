//! The rules against a gateway made of a few vectors.

mod changes;
mod files;
mod gateway;
mod kept;
mod looking;
mod rules;
mod storm;
