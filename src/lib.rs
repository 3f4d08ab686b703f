//! gradientd: trains and serves neural networks over HTTP, by backpropagation from first principles.
//!
//! The floors, lowest first; each may import only those that ARCHITECTURE.md allows it.

pub mod machine;

pub mod nn;

pub mod data;

pub mod model;

pub mod train;

pub mod store;

pub mod jobs;

pub mod serve;

pub mod http;

pub mod cli;

pub mod access;

pub mod config;

pub mod limits;

pub mod server;

pub mod maintenance;

pub mod telemetry;
