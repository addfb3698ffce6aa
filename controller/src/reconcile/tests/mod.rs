//! Plans as tables, and as properties over executors that fill, fail and fall silent at random.

mod convergence;
mod property;
mod rollout;
mod simulated;
mod task;
mod waves;
