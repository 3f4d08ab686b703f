//! Machine: what this process may have of it, memory and processors' time, and the budget that everything large takes its bytes from
//! before it allocates them.

mod budget;
mod groups;

pub use crate::machine::budget::{Budget, Reservation, Short, Use};
pub use crate::machine::groups::{LEAST_MIB, default_mib, processor_quota};
