//! Integration tests: one binary, a file per story, all of them against the whole server over HTTP.

mod crash;
mod history;
mod interruptions;
mod jobs;
mod load;
mod models;
mod server;
mod table_jobs;
mod tables;
mod versions;
mod xor;
