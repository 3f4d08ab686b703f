//! Machine: what this process may have of it, memory and processors' time, the budget that everything large takes its bytes from
//! before it allocates them, and whether predictions are asked for.

mod budget;
mod groups;
mod traffic;

pub use crate::machine::budget::{Budget, Reservation, Short, Use};
pub use crate::machine::groups::{LEAST_MIB, default_mib, processor_quota};
pub use crate::machine::traffic::{is_predicting, note_prediction};
