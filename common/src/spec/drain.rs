//! When a drain takes an instance.

wire_enum! {
    /// An addition to Drove's specs: a drain takes who comes first, and waits for its end before it takes the next. Those
    /// of one policy go together.
    pub enum DrainPolicy {
        /// Before all others: who feeds them, so that they have nothing under way when they stop.
        First = "FIRST",
        /// After those, and before who is last.
        Normal = "NORMAL",
        /// When nothing else is left: what others need until their end, as a log shipper or a proxy is.
        Last = "LAST",
        /// Not at all while the node stays; after all others where it is to be emptied.
        Keep = "KEEP",
    }
}
