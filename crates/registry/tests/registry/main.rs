//! Registries from outside: how versions come in and which one is served.

mod publish;
mod serving;
mod support;
