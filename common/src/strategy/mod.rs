//! Generators of domain values for property tests, here and in the crates above. What they make is within
//! every limit of the domain, but for what is [`damaged`]; nothing else of the program uses them.

mod command;
mod damage;
mod executor;
mod id;
mod instance;
mod operation;
mod slot;
mod spec;

pub use command::command_end;
pub use damage::{damaged, damaged_document, thorough};
pub use executor::executor_record;
pub use id::{executor_id, instance_id, operation_id, service_id, slot_id, timestamp};
pub use instance::{evidence, instance_record, local_info, probe_record, reason, resources, transition};
pub use operation::operation_request;
pub use slot::{slot_assignment, slot_status, slot_table};
pub use spec::{local_service_spec, tag_expression};

use proptest::prelude::*;

/// Any of the variants that a `wire_enum!` lists.
fn any_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> + Clone {
    proptest::sample::select(all)
}

/// Short texts of all kinds of characters.
fn text() -> impl Strategy<Value = String> + Clone {
    "\\PC{0,40}"
}
