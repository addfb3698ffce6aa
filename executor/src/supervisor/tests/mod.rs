//! The supervisor on a real journal, with a node whose workloads are entries in a map, in paused time.

mod crash;
mod life;
