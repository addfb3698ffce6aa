//! Plans as tables, and as properties over executors that fill, fail and fall silent at random.

mod again;
mod canaries;
mod clock;
mod convergence;
mod count;
mod gate;
mod life;
mod proof;
mod property;
mod replay;
mod rollout;
mod simulated;
mod task;
mod unsettled;
mod waves;
mod way_back;
mod world;
mod zones;
