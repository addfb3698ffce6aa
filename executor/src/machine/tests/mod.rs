//! The machine's tests: the table of all pairs, every way up and down, and what must hold always.

mod fixture;
mod recovery;
mod table;
mod ways;
