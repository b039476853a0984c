//! Time to failure: when a limit will be reached, as a distribution, or that it will not.
