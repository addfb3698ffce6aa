//! Which columns each kind of thing has. Pure: typed answers in, cells out.

mod event;
mod executor;
mod instance;
mod member;
mod operation;
mod placement;
mod service;

#[cfg(test)]
mod tests;

pub(crate) use instance::Ended;
pub(crate) use operation::progress;
