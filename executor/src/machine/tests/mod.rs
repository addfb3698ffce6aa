//! The machine's tests: the table of all pairs, every way up and down, checks, and what must hold always.

mod checks;
mod fixture;
mod recovery;
mod table;
mod ways;
