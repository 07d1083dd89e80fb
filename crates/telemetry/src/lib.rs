//! What a process lets its operator see.
//!
//! [`logs`] sets up the log lines, and sees to it that no secret gets into them. [`Prometheus`] and [`Emf`] count what workers
//! report ([`worker::Observer`]): the one for whoever scrapes a process that stays, the other for CloudWatch, which reads the
//! metrics of functions out of their output.

mod emf;
pub mod logs;
mod prometheus;
mod scrub;

pub use emf::Emf;
pub use prometheus::Prometheus;
